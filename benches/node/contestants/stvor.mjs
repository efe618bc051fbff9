// @stvor/sdk/ratchet, as a user calls it.
import * as ratchet from '@stvor/sdk/ratchet';

export const name = 'stvor';

function party() {
  const identity = ratchet.generateKeyPair();
  const prekey = ratchet.generateKeyPair();
  return { identity, prekey, signature: ratchet.ecSign(prekey.publicKey, identity) };
}

function establish(our, their) {
  return ratchet.establishSession(our.identity, our.prekey, their.identity.publicKey, their.prekey.publicKey);
}

function pass(sender, receiver, text) {
  const { ciphertext, header } = ratchet.encryptMessage(sender, text);
  return ratchet.decryptMessage(receiver, ciphertext, header);
}

/** Two sessions that have both sent and received, the first of them sending. */
export function conversation() {
  const [alice, bob] = [party(), party()];
  const [ours, theirs] = [establish(alice, bob), establish(bob, alice)];
  pass(ours, theirs, Buffer.from('hello'));
  pass(theirs, ours, Buffer.from('hello'));
  pass(ours, theirs, Buffer.from('how are you'));
  return [ours, theirs];
}

export function oneWay(text) {
  const [alice, bob] = conversation();
  return (n) => {
    for (let i = 0; i < n; i++) pass(alice, bob, text);
  };
}

/** One-way over many sessions in turn. */
export function oneWayAcross(count, text) {
  const pairs = Array.from({ length: count }, conversation);
  let next = 0;
  return (n) => {
    for (let i = 0; i < n; i++) {
      const [alice, bob] = pairs[next];
      pass(alice, bob, text);
      next = (next + 1) % count;
    }
  };
}

export function pingPong(text) {
  let [sender, receiver] = conversation();
  return (n) => {
    for (let i = 0; i < n; i++) {
      pass(sender, receiver, text);
      [sender, receiver] = [receiver, sender];
    }
  };
}

/** From keys and published bundles to the first message read. In wire 3 both sides check the other's bundle. */
export function setUp(text) {
  const [alice, bob] = [party(), party()];
  const verified = (their) => {
    if (!ratchet.ecVerify(their.prekey.publicKey, their.signature, their.identity.publicKey)) throw new Error('bundle refused');
    return their;
  };
  return (n) => {
    for (let i = 0; i < n; i++) {
      const ours = establish(alice, verified(bob));
      const { ciphertext, header } = ratchet.encryptMessage(ours, text);
      ratchet.decryptMessage(establish(bob, verified(alice)), ciphertext, header);
    }
  };
}
