// `@stvor/sdk/ratchet`: the eleven names, their shapes, and what a session shows.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { StvorError } from '@stvor/sdk';
import * as ratchet from '@stvor/sdk/ratchet';
import { pair, party, session } from './support/sessions.mjs';

const { decryptMessage, deserializeSession, ecSign, ecVerify, encryptMessage } = ratchet;
const { establishSession, forceRatchet, generateKeyPair, serializeSession, x3dhSymmetric } = ratchet;

const names = [
  'initializeCrypto', 'generateKeyPair', 'ecSign', 'ecVerify', 'x3dhSymmetric', 'establishSession',
  'encryptMessage', 'decryptMessage', 'forceRatchet', 'serializeSession', 'deserializeSession',
];
const vector = (name) =>
  JSON.parse(readFileSync(new URL(`../crates/protocol/tests/vectors/v3.0.0/${name}.json`, import.meta.url)));
const bytes = (hex) => Buffer.from(hex, 'hex');

/** Runs `call` and returns the StvorError that it throws. */
function thrown(call) {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof StvorError, `not a StvorError: ${error}`);
    return error;
  }
  return assert.fail('nothing was thrown');
}

test('the eleven names are functions, from import, require and load', async () => {
  const required = createRequire(import.meta.url)('@stvor/sdk/ratchet');
  const loaded = await required.load();
  for (const name of names) {
    assert.equal(typeof ratchet[name], 'function', name);
    assert.equal(required[name], ratchet[name], name);
    assert.equal(loaded[name], ratchet[name], name);
  }
});

test('initializeCrypto resolves and is not needed', async () => {
  assert.equal(await ratchet.initializeCrypto(), undefined);
});

test('a key pair is two Buffers of 65 and 32 bytes, new each time', () => {
  const [one, two] = [generateKeyPair(), generateKeyPair()];
  assert.deepEqual(Object.keys(one), ['publicKey', 'privateKey']);
  assert.ok(Buffer.isBuffer(one.publicKey) && Buffer.isBuffer(one.privateKey));
  assert.equal(one.publicKey.length, 65);
  assert.equal(one.publicKey[0], 4);
  assert.equal(one.privateKey.length, 32);
  assert.notDeepEqual(one, two);
});

test('a private key lies in memory of its own', () => {
  const { privateKey } = generateKeyPair();
  assert.equal(privateKey.buffer.byteLength, 97, 'not in the pool that other Buffers share');
});

test('every recorded X3DH agreement gives the recorded secret, short private keys included', () => {
  const { cases } = vector('x3dh');
  assert.ok(cases.length >= 20);
  for (const { id, a, b, sharedSecret } of cases) {
    const keys = (p) => ({ publicKey: bytes(p.publicKey), privateKey: bytes(p.privateKey) });
    const ours = x3dhSymmetric(keys(a.identityKey), keys(a.signedPreKey), bytes(b.identityKey.publicKey), bytes(b.signedPreKey.publicKey));
    assert.equal(ours.toString('hex'), sharedSecret, `case ${id}`);
  }
});

test('every recorded signature verifies or does not, as recorded', () => {
  const { cases } = vector('ecdsa');
  assert.ok(cases.length >= 40);
  for (const { id, message, signature, publicKey, valid, originalThrows } of cases) {
    let verified;
    try {
      verified = ecVerify(bytes(message), bytes(signature), bytes(publicKey));
    } catch (error) {
      assert.ok(originalThrows, `case ${id}: ${error}`);
      assert.equal(error.code, 'INVALID_ARGUMENT');
      verified = false;
    }
    assert.equal(verified, valid, `case ${id}`);
  }
});

test('ecVerify throws for a public key off the curve', () => {
  const { publicKey, ...key } = generateKeyPair();
  const signature = ecSign('data', { publicKey, ...key });
  publicKey[64] ^= 1;
  const error = thrown(() => ecVerify('data', signature, publicKey));
  assert.equal(error.code, 'INVALID_ARGUMENT');
  assert.match(error.message, /^publicKey /);
});

test('a header has 85 bytes: key, previous chain length, message number, nonce', () => {
  const { alice } = pair();
  const first = encryptMessage(alice, 'one');
  const second = encryptMessage(alice, 'two');
  for (const [n, { header }] of [first, second].entries()) {
    assert.equal(header.length, 85);
    assert.deepEqual(header.subarray(0, 65), alice.ratchetPublicKey);
    assert.equal(header.readUInt32BE(65), 0);
    assert.equal(header.readUInt32BE(69), n);
  }
  assert.notDeepEqual(first.header.subarray(73), second.header.subarray(73));
});

test('plaintext may be a Buffer, a Uint8Array or text, and arrives as a Buffer', () => {
  const { alice, bob } = pair();
  const contents = ['text 🔐', '', Buffer.from([0, 255, 1]), new Uint8Array([7]), Buffer.alloc(0), Buffer.alloc(1 << 20, 7)];
  for (const content of contents) {
    const { ciphertext, header } = encryptMessage(alice, content);
    const read = decryptMessage(bob, ciphertext, header);
    assert.ok(Buffer.isBuffer(read));
    assert.ok(read.equals(Buffer.from(content)));
    assert.equal(ciphertext.length, Buffer.from(content).length + 16);
  }
});

test('header and ciphertext may be plain Uint8Arrays, also at an offset', () => {
  const { alice, bob } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'offset');
  const wide = new Uint8Array(200);
  wide.set(ciphertext, 100);
  const read = decryptMessage(bob, wide.subarray(100, 100 + ciphertext.length), new Uint8Array(header));
  assert.equal(read.toString(), 'offset');
});

test('a session shows counts, state and public keys, and they cannot be written', () => {
  const { alice, bob, a, b } = pair();
  const shown = ({ state, sendCount, recvCount, prevSendCount }) => [state, sendCount, recvCount, prevSendCount];
  assert.deepEqual(shown(alice), ['pending', 0, 0, 0]);
  assert.equal(alice.peerRatchetPublicKey, null);
  for (const text of ['one', 'two']) {
    const { ciphertext, header } = encryptMessage(alice, text);
    decryptMessage(bob, ciphertext, header);
  }
  assert.deepEqual(shown(alice), ['initiated', 2, 0, 0]);
  assert.deepEqual(shown(bob), ['established', 0, 2, 0]);
  const { ciphertext, header } = encryptMessage(bob, 'three');
  decryptMessage(alice, ciphertext, header);
  assert.deepEqual(shown(alice), ['established', 0, 1, 2]);
  assert.deepEqual(alice.identityKey, a.identity.publicKey);
  assert.deepEqual(alice.peerIdentityKey, b.identity.publicKey);
  assert.deepEqual(alice.peerRatchetPublicKey, bob.ratchetPublicKey);
  assert.throws(() => { 'use strict'; alice.sendCount = 9; }, TypeError);
  assert.equal(alice.rootKey, undefined);
});

test('printing a session shows no secret', () => {
  const { alice, bob } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'x');
  decryptMessage(bob, ciphertext, header);
  const text = inspect(bob, { depth: null, showHidden: true }) + JSON.stringify(bob) + String(bob);
  assert.match(inspect(bob), /^RatchetSession \{ state: 'established', sendCount: 0, recvCount: 1, prevSendCount: 0 \}$/);
  const { rk, sck, rck, mrk } = JSON.parse(serializeSession(bob).toString());
  for (const secret of [rk, sck, rck, mrk.priv]) {
    const secretBytes = Buffer.from(secret);
    assert.ok(!text.includes(secretBytes.toString('hex')) && !text.includes(secret.slice(0, 8).join(', ')));
  }
});

test('a message is refused, the session unchanged: altered, truncated, foreign, read before', () => {
  const { alice, bob } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'genuine');
  const before = serializeSession(bob);
  const flip = (buffer, at) => Buffer.from(buffer.map((byte, i) => (i === at ? byte ^ 1 : byte)));
  const refused = [
    [flip(ciphertext, 0), header],
    [flip(ciphertext, ciphertext.length - 1), header],
    [ciphertext, flip(header, 10)],
    [ciphertext, flip(header, 70)],
    [ciphertext, flip(header, 84)],
    [ciphertext.subarray(0, 15), header],
    [ciphertext.subarray(0, 4), header],
    [Buffer.alloc(0), header],
    [ciphertext, header.subarray(1)],
    [ciphertext, Buffer.alloc(0)],
    [ciphertext, Buffer.alloc(85)],
    [Buffer.alloc(16), Buffer.concat([bob.identityKey, Buffer.alloc(20)])],
  ];
  for (const [badCiphertext, badHeader] of refused) {
    const error = thrown(() => decryptMessage(bob, badCiphertext, badHeader));
    assert.equal(error.code, 'DECRYPTION_FAILED');
    assert.equal(error.retryable, false);
    assert.deepEqual(serializeSession(bob), before);
  }
  assert.equal(decryptMessage(bob, ciphertext, header).toString(), 'genuine');
  assert.equal(thrown(() => decryptMessage(bob, ciphertext, header)).code, 'DECRYPTION_FAILED');
});

test('a gap of 256 messages is read over, one of 257 is refused', () => {
  const { alice, bob } = pair();
  const sent = Array.from({ length: 515 }, (_, i) => encryptMessage(alice, String(i)));
  const read = (i) => decryptMessage(bob, sent[i].ciphertext, sent[i].header).toString();
  assert.equal(read(256), '256');
  assert.equal(thrown(() => read(514)).code, 'DECRYPTION_FAILED');
  assert.equal(read(513), '513');
  assert.equal(read(0), '0');
});

test('a forced ratchet does not kill the session, whoever forces and whenever', () => {
  for (const order of ['before', 'pending', 'sent', 'received']) {
    const { alice, bob } = pair();
    const deliver = (from, to, text) => {
      const { ciphertext, header } = encryptMessage(from, text);
      assert.equal(decryptMessage(to, ciphertext, header).toString(), text);
      return header.subarray(0, 65).toString('hex');
    };
    if (order === 'before') forceRatchet(alice);
    if (order === 'pending') forceRatchet(bob);
    const first = deliver(alice, bob, 'one');
    if (order === 'sent') forceRatchet(alice);
    if (order === 'received') forceRatchet(bob);
    deliver(alice, bob, 'two');
    deliver(bob, alice, 'three');
    assert.notEqual(deliver(alice, bob, 'four'), first, 'the sender has a new key');
    deliver(bob, alice, 'five');
  }
});

test("the original's saved sessions load, are written back alike and go on", () => {
  const { conversations } = vector('ratchet-serialized');
  let reloaded = 0;
  for (const { messages, steps, note } of conversations) {
    const saved = {};
    for (const step of steps) {
      if (step.op === 'serialize') {
        saved[step.party] = deserializeSession(step.session);
        assert.equal(serializeSession(saved[step.party]).toString(), step.session, note);
        reloaded += 1;
      } else if (step.op === 'decrypt' && saved[step.party] && !step.originalOutcome) {
        const { plaintext, header, ciphertext } = messages[step.message];
        const read = decryptMessage(saved[step.party], bytes(ciphertext), bytes(header));
        assert.equal(read.toString('hex'), plaintext, `${note}: message ${step.message}`);
        // Its own new ratchet key is not the recorded one: it has read what it can.
        delete saved[step.party];
      } else if (step.op === 'encrypt') {
        delete saved[step.party];
      }
    }
  }
  assert.ok(reloaded >= 5);
});

test('data that is no saved session is refused', () => {
  const { alice } = pair();
  const saved = JSON.parse(serializeSession(alice).toString());
  const damaged = ['', '{', 'null', '[]', '{}', '7', JSON.stringify({ ...saved, rk: [1, 2] }),
    JSON.stringify({ ...saved, peerIK: saved.peerIK.map(() => 9) }), JSON.stringify({ ...saved, sc: -1 })];
  for (const data of damaged) {
    for (const form of [data, Buffer.from(data), new Uint8Array(Buffer.from(data))]) {
      const error = thrown(() => deserializeSession(form));
      assert.equal(error.code, 'INVALID_ARGUMENT');
      assert.match(error.message, /^data /);
    }
  }
});

test('wrong arguments are INVALID_ARGUMENT and name the argument', () => {
  const { alice, a, b } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'x');
  const wrongBytes = [undefined, null, 7, {}, [], true, Symbol('x'), () => {}];
  const cases = [
    ...[undefined, null, {}, 'x', { ...alice }, Object.create(Object.getPrototypeOf(alice)).constructor].map((wrong) => [() => encryptMessage(wrong, 'x'), 'session']),
    ...wrongBytes.map((wrong) => [() => encryptMessage(alice, wrong), 'plaintext']),
    ...[...wrongBytes, 'text'].map((wrong) => [() => decryptMessage(alice, wrong, header), 'ciphertext']),
    ...[...wrongBytes, 'text'].map((wrong) => [() => decryptMessage(alice, ciphertext, wrong), 'header']),
    ...wrongBytes.map((wrong) => [() => ecSign(wrong, a.identity), 'data']),
    [() => ecSign('x', undefined), 'keyPair'],
    [() => ecSign('x', { publicKey: a.identity.publicKey }), 'keyPair.privateKey'],
    [() => ecSign('x', { ...a.identity, privateKey: Buffer.alloc(32) }), 'keyPair.privateKey'],
    [() => ecSign('x', { ...a.identity, privateKey: Buffer.alloc(33, 1) }), 'keyPair.privateKey'],
    [() => ecVerify('x', 'text', a.identity.publicKey), 'signature'],
    [() => ecVerify('x', Buffer.alloc(70), null), 'publicKey'],
    [() => ecVerify('x', Buffer.alloc(70), Buffer.alloc(65)), 'publicKey'],
    [() => establishSession(null, a.prekey, b.identity.publicKey, b.prekey.publicKey), 'myIdentityKeyPair'],
    [() => establishSession(a.identity, {}, b.identity.publicKey, b.prekey.publicKey), 'mySignedPreKeyPair.publicKey'],
    [() => establishSession(a.identity, a.prekey, Buffer.alloc(65), b.prekey.publicKey), 'peerIdentityKey'],
    [() => establishSession(a.identity, a.prekey, b.identity.publicKey, Buffer.alloc(64)), 'peerSignedPreKey'],
    [() => establishSession({ ...a.identity, publicKey: b.identity.publicKey }, a.prekey, b.identity.publicKey, b.prekey.publicKey), 'myIdentityKeyPair'],
    [() => establishSession(a.identity, a.prekey, a.identity.publicKey, b.prekey.publicKey), 'peerIdentityKey'],
    [() => serializeSession({}), 'session'],
    [() => forceRatchet(null), 'session'],
    [() => deserializeSession(7), 'data'],
  ];
  for (const [call, argument] of cases) {
    const error = thrown(call);
    assert.equal(error.code, 'INVALID_ARGUMENT', `${call}: ${error.message}`);
    assert.ok(error.message.startsWith(`${argument} `), `${call}: ${error.message}`);
  }
});

test('bytes in shared memory are taken as they are at the call', () => {
  const { alice, bob } = pair();
  const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(65);
  const { ciphertext, header } = encryptMessage(alice, shared);
  assert.equal(decryptMessage(bob, ciphertext, header).toString(), 'AAA');
});

test('both sides may begin: each reads the other only as the one who answers', () => {
  const [a, b] = [party(), party()];
  const [alice, bob] = [session(a, b), session(b, a)];
  const fromAlice = encryptMessage(alice, 'from alice');
  encryptMessage(bob, 'from bob');
  assert.equal(thrown(() => decryptMessage(bob, fromAlice.ciphertext, fromAlice.header)).code, 'DECRYPTION_FAILED');
  const fresh = session(b, a);
  assert.equal(decryptMessage(fresh, fromAlice.ciphertext, fromAlice.header).toString(), 'from alice');
});
