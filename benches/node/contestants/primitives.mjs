// The primitives that a one-way message cannot do without, called from JavaScript: on each side two
// HMACs (message key, next chain key) and one AES-256-GCM over the text with the header as
// associated data. No header is built or parsed, no state kept beyond the chain key.
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

export const name = 'node:crypto';

const one = Buffer.of(1);
const two = Buffer.of(2);

export function oneWay(text) {
  const header = randomBytes(85);
  let [sending, receiving] = [Buffer.alloc(32, 7), Buffer.alloc(32, 7)];
  return (n) => {
    for (let i = 0; i < n; i++) {
      const nonce = randomBytes(12);
      const sealKey = createHmac('sha256', sending).update(one).digest();
      sending = createHmac('sha256', sending).update(two).digest();
      const seal = createCipheriv('aes-256-gcm', sealKey, nonce).setAAD(header);
      const sealed = [seal.update(text), seal.final()];
      const tag = seal.getAuthTag();

      const openKey = createHmac('sha256', receiving).update(one).digest();
      receiving = createHmac('sha256', receiving).update(two).digest();
      const open = createDecipheriv('aes-256-gcm', openKey, nonce, { authTagLength: 16 }).setAAD(header).setAuthTag(tag);
      Buffer.concat([open.update(sealed[0]), open.final()]);
    }
  };
}
