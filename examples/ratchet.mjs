// The low-level API: two parties, one message, no relay.
import { generateKeyPair, establishSession, encryptMessage, decryptMessage } from '@stvor/sdk/ratchet';

const [aliceIdentity, alicePrekey] = [generateKeyPair(), generateKeyPair()]; // ECDH P-256
const [bobIdentity, bobPrekey] = [generateKeyPair(), generateKeyPair()];

const alice = establishSession(aliceIdentity, alicePrekey, bobIdentity.publicKey, bobPrekey.publicKey);
const bob = establishSession(bobIdentity, bobPrekey, aliceIdentity.publicKey, alicePrekey.publicKey);

const { ciphertext, header } = encryptMessage(alice, 'Hello! 🔐');
// header = 85 bytes (65 pubkey + 4 prevChain + 4 msgNum + 12 nonce)
console.log(`header: ${header.length} bytes`);
console.log(decryptMessage(bob, ciphertext, header).toString());
