// @stvor/sdk, as a user calls it: `/ratchet`, and CryptoSessionManager for the set-up.
import { CryptoSessionManager } from '@stvor/sdk';
import * as ratchet from '@stvor/sdk/ratchet';

export const name = 'stvor';

function party() {
  return { identity: ratchet.generateKeyPair(), prekey: ratchet.generateKeyPair() };
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

/**
 * From keys and published bundles to the first message read, by the class that holds a user's keys as
 * libsignal's stores do. In wire 3 both sides verify the other's bundle. Every set-up is with a new peer.
 */
export async function setUp(bytes) {
  const text = bytes.toString();
  const [alice, bob] = [new CryptoSessionManager('alice'), new CryptoSessionManager('bob')];
  await Promise.all([alice.initialize(), bob.initialize()]);
  const bundles = { alice: alice.getPublicKeys(), bob: bob.getPublicKeys() };
  let peer = 0;
  return async (n) => {
    for (let i = 0; i < n; i++) {
      const name = `peer ${(peer += 1)}`;
      await alice.establishSession(name, bundles.bob);
      const { ciphertext, header } = alice.encryptForPeer(name, text);
      await bob.establishSession(name, bundles.alice);
      bob.decryptFromPeer(name, ciphertext, header);
    }
  };
}
