// CryptoSessionManager beyond the original's checks, fingerprints and signed metrics.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CryptoSessionManager, generateFingerprint, verifyMetricsSignature } from '@stvor/sdk';

const vector = (name) =>
  JSON.parse(readFileSync(new URL(`../crates/protocol/tests/vectors/v3.0.0/${name}.json`, import.meta.url)));

const storage = JSON.parse(readFileSync(new URL('./vectors/storage.json', import.meta.url)));

async function manager(name, ...stores) {
  const made = new CryptoSessionManager(name, ...stores);
  await made.initialize();
  return made;
}

async function couple() {
  const [alice, bob] = [await manager('alice'), await manager('bob')];
  await alice.establishSession('bob', bob.getPublicKeys());
  await bob.establishSession('alice', alice.getPublicKeys());
  const carry = (from, to, [sender, recipient], text) => {
    const { ciphertext, header } = from.encryptForPeer(recipient, text);
    return to.decryptFromPeer(sender, ciphertext, header);
  };
  return {
    alice,
    bob,
    toBob: (text) => carry(alice, bob, ['alice', 'bob'], text),
    toAlice: (text) => carry(bob, alice, ['bob', 'alice'], text),
  };
}

test('a bad message does not cost the session', async () => {
  const { alice, bob, toBob, toAlice } = await couple();
  const { ciphertext, header } = alice.encryptForPeer('bob', 'genuine');
  for (const [badCiphertext, badHeader] of [['AAAA', header], [ciphertext, 'AAAA'], ['', ''], [header, header]]) {
    assert.throws(() => bob.decryptFromPeer('alice', badCiphertext, badHeader), { name: 'StvorError', code: 'DECRYPTION_FAILED' });
  }
  assert.equal(bob.decryptFromPeer('alice', ciphertext, header), 'genuine');
  assert.throws(() => bob.decryptFromPeer('alice', ciphertext, header), { code: 'DECRYPTION_FAILED' });
  assert.equal(toAlice('answer'), 'answer');
  assert.equal(toBob('again'), 'again');
});

test('both sides may send first, and both are read', async () => {
  const { alice, bob, toBob, toAlice } = await couple();
  const [fromAlice, fromBob] = [alice.encryptForPeer('bob', 'from alice'), bob.encryptForPeer('alice', 'from bob')];
  assert.equal(bob.decryptFromPeer('alice', fromAlice.ciphertext, fromAlice.header), 'from alice');
  assert.equal(alice.decryptFromPeer('bob', fromBob.ciphertext, fromBob.header), 'from bob');
  for (const text of ['one', 'two', 'three']) {
    assert.equal(toBob(text), text);
    assert.equal(toAlice(text), text);
  }
});

test('a forced ratchet does not cost the session', async () => {
  const { alice, bob, toBob, toAlice } = await couple();
  assert.equal(toBob('one'), 'one');
  alice.forceRatchet('bob');
  bob.forceRatchet('alice');
  for (const text of ['two', 'three']) {
    assert.equal(toAlice(text), text);
    assert.equal(toBob(text), text);
  }
});

test('establishing again with the same keys keeps earlier messages readable', async () => {
  const { alice, bob, toBob } = await couple();
  const early = alice.encryptForPeer('bob', 'early');
  await bob.establishSession('alice', alice.getPublicKeys());
  await alice.establishSession('bob', bob.getPublicKeys());
  assert.equal(toBob('later'), 'later');
  assert.equal(bob.decryptFromPeer('alice', early.ciphertext, early.header), 'early');
});

test('another identity for the same peer is refused', async () => {
  const { alice, toBob } = await couple();
  const impostor = await manager('bob');
  await assert.rejects(alice.establishSession('bob', impostor.getPublicKeys()), { code: 'IDENTITY_CHANGED' });
  assert.equal(toBob('still bob'), 'still bob');
});

test('text keeps its byte order mark and its bytes', async () => {
  const { toBob } = await couple();
  for (const text of ['', '\ufeffmarked', '🔐', '\0', 'x'.repeat(100_000)]) assert.equal(toBob(text), text);
});

test('without initialize or without a session it is CLIENT_NOT_READY', async () => {
  const alice = new CryptoSessionManager('alice');
  assert.throws(() => alice.getPublicKeys(), { code: 'CLIENT_NOT_READY' });
  await alice.initialize();
  assert.throws(() => alice.encryptForPeer('bob', 'x'), { code: 'CLIENT_NOT_READY', message: 'There is no session with bob.' });
  assert.throws(() => alice.decryptFromPeer('bob', 'AA', 'AA'), { code: 'CLIENT_NOT_READY' });
  assert.throws(() => alice.forceRatchet('bob'), { code: 'CLIENT_NOT_READY' });
});

test('wrong arguments are INVALID_ARGUMENT and name the argument', async () => {
  const { alice } = await couple();
  const invalid = (argument) => ({ code: 'INVALID_ARGUMENT', message: new RegExp(`^${argument} `) });
  for (const wrong of [undefined, null, '', 7, {}]) {
    assert.throws(() => new CryptoSessionManager(wrong), invalid('userId'));
    assert.throws(() => alice.encryptForPeer(wrong, 'x'), invalid('peerId'));
    await assert.rejects(alice.establishSession(wrong, alice.getPublicKeys()), invalid('peerId'));
  }
  assert.throws(() => alice.encryptForPeer('bob', 7), invalid('plaintext'));
  assert.throws(() => alice.decryptFromPeer('bob', Buffer.alloc(3), 'x'), invalid('ciphertext'));
  await assert.rejects(alice.establishSession('eve', null), invalid('publicKeys'));
  await assert.rejects(alice.establishSession('eve', {}), invalid('publicKeys.identityKey'));
  assert.throws(() => new CryptoSessionManager('alice', {}), invalid('identityStore.loadIdentityKeys'));
});

function memoryStore() {
  const saved = new Map();
  return {
    saved,
    loadIdentityKeys: async (userId) => saved.get(userId) ?? null,
    saveIdentityKeys: async (userId, keys) => void saved.set(userId, keys),
  };
}

test('an identity store keeps the identity, in the form of the original', async () => {
  const store = memoryStore();
  const first = await manager('alice', store);
  const keys = store.saved.get('alice');
  assert.deepEqual(Object.keys(keys), ['identityKeyPair', 'signedPreKeyPair', 'signedPreKeySignature']);
  const second = await manager('alice', store);
  assert.deepEqual(second.getPublicKeys(), first.getPublicKeys());
});

test("the original's saved identities load, short private keys included", async () => {
  const records = storage.managers.flatMap(({ calls }) =>
    calls.filter(({ method, returned }) => method === 'loadIdentityKeys' && returned));
  assert.ok(records.length > 0);
  for (const { args, returned } of records) {
    const store = { loadIdentityKeys: () => returned, saveIdentityKeys: () => assert.fail('saved again') };
    const loaded = await manager(args[0], store);
    assert.equal(loaded.getPublicKeys().identityKey, returned.identityKeyPair.publicKey);
  }
});

test('an identity store that fails or returns nonsense is STORAGE_FAILED, never a new identity', async () => {
  const failure = new Error('disk on fire');
  const failing = { loadIdentityKeys: async () => { throw failure; }, saveIdentityKeys: async () => {} };
  await assert.rejects(manager('alice', failing), { code: 'STORAGE_FAILED', cause: failure, retryable: true });
  for (const nonsense of [{}, 7, { identityKeyPair: {} }, 'text']) {
    const store = { loadIdentityKeys: () => nonsense, saveIdentityKeys: () => assert.fail('replaced the identity') };
    await assert.rejects(manager('alice', store), { code: 'STORAGE_FAILED' });
  }
});

test('initialize can be tried again after the store has failed', async () => {
  let attempts = 0;
  const store = memoryStore();
  const flaky = { ...store, loadIdentityKeys: async () => { if ((attempts += 1) === 1) throw new Error('later'); return null; } };
  const alice = new CryptoSessionManager('alice', flaky);
  await assert.rejects(alice.initialize(), { code: 'STORAGE_FAILED' });
  await alice.initialize();
  assert.equal(typeof alice.getPublicKeys().identityKey, 'string');
});

test('fingerprints are those recorded, from bytes and from base64url', () => {
  const { cases } = vector('tofu');
  assert.ok(cases.length >= 16);
  for (const { identityKey, identityKeyBase64url, fingerprint } of cases) {
    assert.equal(generateFingerprint(Buffer.from(identityKey, 'hex')), fingerprint);
    assert.equal(generateFingerprint(identityKeyBase64url), fingerprint);
  }
  for (const wrong of [undefined, null, 7, {}, []]) {
    assert.throws(() => generateFingerprint(wrong), { code: 'INVALID_ARGUMENT', message: /^identityKey / });
  }
});

test('signed metrics verify or do not, as recorded', () => {
  const { verifyMetricsSignature: cases } = vector('metrics');
  assert.ok(cases.length >= 10);
  for (const { note, payload, proof, apiKey, valid } of cases) {
    assert.equal(verifyMetricsSignature(payload, proof, apiKey), valid, note);
  }
  assert.throws(() => verifyMetricsSignature({}, 'x', 'y'), { code: 'INVALID_ARGUMENT', message: /^payload / });
  assert.throws(() => verifyMetricsSignature('{}', null, 'y'), { code: 'INVALID_ARGUMENT', message: /^proof / });
  assert.throws(() => verifyMetricsSignature('{}', 'x'), { code: 'INVALID_ARGUMENT', message: /^apiKey / });
});
