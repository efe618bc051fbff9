// The original's 23 integration checks, against this package. The two that read the root key there
// compare behaviour here: the root key never leaves native memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CryptoSessionManager, StvorError } from '@stvor/sdk';
import {
  decryptMessage,
  deserializeSession,
  ecSign,
  ecVerify,
  encryptMessage,
  generateKeyPair,
  serializeSession,
  x3dhSymmetric,
} from '@stvor/sdk/ratchet';
import { pair, party } from './support/sessions.mjs';

const deliver = (from, to, text) => {
  const { ciphertext, header } = encryptMessage(from, text);
  return decryptMessage(to, ciphertext, header).toString();
};

test('ECDSA 1: a signature verifies', () => {
  const key = generateKeyPair();
  const data = Buffer.from('signed prekey');
  assert.equal(ecVerify(data, ecSign(data, key), key.publicKey), true);
});

test('ECDSA 2: another message does not verify', () => {
  const key = generateKeyPair();
  const signature = ecSign(Buffer.from('one'), key);
  assert.equal(ecVerify(Buffer.from('two'), signature, key.publicKey), false);
});

test("ECDSA 3: another's key does not verify", () => {
  const data = Buffer.from('data');
  assert.equal(ecVerify(data, ecSign(data, generateKeyPair()), generateKeyPair().publicKey), false);
});

test('ECDSA 4: an altered signature does not verify', () => {
  const key = generateKeyPair();
  const data = Buffer.from('data');
  const signature = ecSign(data, key);
  signature[signature.length - 1] ^= 1;
  assert.equal(ecVerify(data, signature, key.publicKey), false);
});

test('X3DH 1: both sides derive the same secret', () => {
  for (let i = 0; i < 10; i += 1) {
    const [a, b] = [party(), party()];
    const ours = x3dhSymmetric(a.identity, a.prekey, b.identity.publicKey, b.prekey.publicKey);
    const theirs = x3dhSymmetric(b.identity, b.prekey, a.identity.publicKey, a.prekey.publicKey);
    assert.equal(ours.length, 32);
    assert.deepEqual(ours, theirs);
  }
});

test('X3DH 2: with another peer the secret is another', () => {
  const [a, b, c] = [party(), party(), party()];
  const withB = x3dhSymmetric(a.identity, a.prekey, b.identity.publicKey, b.prekey.publicKey);
  const withC = x3dhSymmetric(a.identity, a.prekey, c.identity.publicKey, c.prekey.publicKey);
  assert.notDeepEqual(withB, withC);
});

test('ratchet 1: a message arrives', () => {
  const { alice, bob } = pair();
  assert.equal(deliver(alice, bob, 'Hello Bob!'), 'Hello Bob!');
});

test('ratchet 2: the answer arrives', () => {
  const { alice, bob } = pair();
  deliver(alice, bob, 'Hello Bob!');
  assert.equal(deliver(bob, alice, 'Hello Alice!'), 'Hello Alice!');
});

test('ratchet 3: a long conversation arrives', () => {
  const { alice, bob } = pair();
  for (let i = 0; i < 50; i += 1) {
    const [from, to] = i % 3 === 0 ? [alice, bob] : [bob, alice];
    if (i === 0) deliver(alice, bob, 'first');
    assert.equal(deliver(from, to, `message ${i}`), `message ${i}`);
  }
});

test('ratchet 4: messages out of order arrive', () => {
  const { alice, bob } = pair();
  const sent = ['one', 'two', 'three', 'four'].map((text) => encryptMessage(alice, text));
  const read = [3, 0, 2, 1].map((i) => decryptMessage(bob, sent[i].ciphertext, sent[i].header).toString());
  assert.deepEqual(read, ['four', 'one', 'three', 'two']);
});

test('rotation 1: the ratchet key changes whenever the direction does', () => {
  const { alice, bob } = pair();
  const keys = new Set();
  for (let i = 0; i < 6; i += 1) {
    const [from, to] = i % 2 === 0 ? [alice, bob] : [bob, alice];
    const { ciphertext, header } = encryptMessage(from, 'x');
    keys.add(header.subarray(0, 65).toString('hex'));
    decryptMessage(to, ciphertext, header);
  }
  assert.equal(keys.size, 6);
});

test('serialisation 1: a session survives the round trip', () => {
  const { alice, bob } = pair();
  deliver(alice, bob, 'before');
  const text = serializeSession(alice);
  assert.deepEqual(serializeSession(deserializeSession(text)), text);
});

test('serialisation 2: the conversation goes on with restored sessions', () => {
  let { alice, bob } = pair();
  deliver(alice, bob, 'one');
  deliver(bob, alice, 'two');
  [alice, bob] = [alice, bob].map((session) => deserializeSession(serializeSession(session)));
  assert.equal(deliver(alice, bob, 'three'), 'three');
  assert.equal(deliver(bob, alice, 'four'), 'four');
});

test('serialisation 3: restored and kept session have the same root key: both read what comes next', () => {
  const { alice, bob } = pair();
  deliver(alice, bob, 'one');
  const restored = deserializeSession(serializeSession(alice));
  const { ciphertext, header } = encryptMessage(bob, 'two');
  assert.equal(decryptMessage(restored, ciphertext, header).toString(), 'two');
  assert.equal(decryptMessage(alice, ciphertext, header).toString(), 'two');
});

async function managers() {
  const [alice, bob] = [new CryptoSessionManager('alice'), new CryptoSessionManager('bob')];
  await Promise.all([alice.initialize(), bob.initialize()]);
  return { alice, bob };
}

async function established() {
  const { alice, bob } = await managers();
  await alice.establishSession('bob', bob.getPublicKeys());
  await bob.establishSession('alice', alice.getPublicKeys());
  return { alice, bob };
}

test('facade manager 1: it initialises and shows its public keys', async () => {
  const { alice } = await managers();
  const keys = alice.getPublicKeys();
  const fields = ['identityKey', 'signedPreKey', 'signedPreKeySignature', 'oneTimePreKey'];
  assert.deepEqual(Object.keys(keys), fields);
  assert.equal(keys.oneTimePreKey, '');
  assert.equal(Buffer.from(keys.identityKey, 'base64url').length, 65);
  assert.match(keys.identityKey, /^[A-Za-z0-9_-]{87}$/);
});

test('facade manager 2: the signed prekey is signed by the identity key', async () => {
  const { alice } = await managers();
  const [identity, prekey, signature] = Object.values(alice.getPublicKeys()).map((text) => Buffer.from(text, 'base64url'));
  assert.equal(ecVerify(prekey, signature, identity), true);
});

test('facade manager 3: a session is there once it is established', async () => {
  const { alice, bob } = await managers();
  assert.equal(alice.hasSession('bob'), false);
  await alice.establishSessionWithPeer('bob', bob.getPublicKeys());
  assert.equal(alice.hasSession('bob'), true);
});

test('facade manager 4: a message arrives', async () => {
  const { alice, bob } = await established();
  const { ciphertext, header } = alice.encryptForPeer('bob', 'Hello! 🔐');
  assert.equal(bob.decryptFromPeer('alice', ciphertext, header), 'Hello! 🔐');
});

test('facade manager 5: the answer arrives', async () => {
  const { alice, bob } = await established();
  const first = await alice.encryptForPeer('bob', 'ping');
  await bob.decryptFromPeer('alice', first.ciphertext, first.header);
  const second = await bob.encryptForPeer('alice', 'pong');
  assert.equal(await alice.decryptFromPeer('bob', second.ciphertext, second.header), 'pong');
});

test('facade manager 6: header and ciphertext are two base64url texts, the header of 85 bytes', async () => {
  const { alice } = await established();
  const { ciphertext, header } = alice.encryptForPeer('bob', 'x');
  assert.equal(Buffer.from(header, 'base64url').length, 85);
  assert.equal(Buffer.from(ciphertext, 'base64url').length, 17);
  assert.match(header + ciphertext, /^[A-Za-z0-9_-]+$/);
});

test('facade manager 7: an altered prekey signature is refused', async () => {
  const { alice, bob } = await managers();
  const keys = bob.getPublicKeys();
  const signature = Buffer.from(keys.signedPreKeySignature, 'base64url');
  signature[signature.length - 1] ^= 1;
  const altered = { ...keys, signedPreKeySignature: signature.toString('base64url') };
  await assert.rejects(alice.establishSession('bob', altered), { name: 'StvorError', code: 'INVALID_BUNDLE' });
  await assert.rejects(alice.establishSession('bob', { ...keys, signedPreKeySignature: '' }), { code: 'INVALID_BUNDLE' });
  assert.equal(alice.hasSession('bob'), false);
});

test('forward secrecy 1: what was read cannot be read again', () => {
  const { alice, bob } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'once');
  decryptMessage(bob, ciphertext, header);
  assert.throws(() => decryptMessage(bob, ciphertext, header), (error) => error instanceof StvorError && error.code === 'DECRYPTION_FAILED');
});

test('forward secrecy 2: the root key moves on: a later state does not read earlier messages', () => {
  const { alice, bob } = pair();
  deliver(alice, bob, 'first');
  const before = deserializeSession(serializeSession(bob));
  const early = encryptMessage(alice, 'early');
  decryptMessage(bob, early.ciphertext, early.header);
  for (let i = 0; i < 3; i += 1) {
    deliver(bob, alice, 'on');
    deliver(alice, bob, 'and on');
  }
  const later = deserializeSession(serializeSession(bob));
  assert.throws(() => decryptMessage(later, early.ciphertext, early.header), { code: 'DECRYPTION_FAILED' });
  assert.equal(decryptMessage(before, early.ciphertext, early.header).toString(), 'early');
});
