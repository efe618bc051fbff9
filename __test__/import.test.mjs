// What the original has saved, imported into storage adapters: the original's own recordings.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createApp, CryptoSessionManager, embeddedStorage, generateFingerprint, importLegacy } from '@stvor/sdk';
import { decryptMessage, ecSign, encryptMessage, establishSession, generateKeyPair, serializeSession } from '@stvor/sdk/ratchet';
import { root } from '../scripts/cargo.mjs';
import { messagesOf } from './support/collect.mjs';
import { httpRelay } from './support/http-relay.mjs';
import { TOKEN } from './support/relays.mjs';

const file = join(root, 'crates/protocol/tests/vectors/v3.0.0/ratchet-serialized.json');
const { conversations } = JSON.parse(readFileSync(file));

/** An identity record as the original's identity stores keep it. */
function identityRecord({ identityKey, signedPreKey, signedPreKeySignature }) {
  const text = (hex) => Buffer.from(hex, 'hex').toString('base64url');
  const pair = ({ publicKey, privateKey }) => ({ publicKey: text(publicKey), privateKey: text(privateKey) });
  return { identityKeyPair: pair(identityKey), signedPreKeyPair: pair(signedPreKey), signedPreKeySignature: text(signedPreKeySignature) };
}

/** Alice's record and her session with bob, the last that was saved. */
function saved() {
  const { parties, finalState } = conversations[0];
  return { identity: identityRecord(parties.alice), session: finalState.alice, bob: parties.bob.identityKey.publicKey };
}

/** Adapters that keep things in maps, and say what they were asked. */
function adapters({ takesIdentity = true, identity, saveMany = false } = {}) {
  const [records, pins, calls] = [new Map(), new Map(), []];
  let kept = identity;
  const key = (userId, peerId) => JSON.stringify([userId, peerId]);
  const store = {
    records, pins, calls,
    identity: {
      getIdentityKeyPair: async () => kept,
      ...(takesIdentity && {
        importIdentityKeyPair(pair, userId) {
          calls.push(['importIdentityKeyPair', userId]);
          if (kept !== undefined && !kept.publicKey.equals(pair.publicKey)) throw new Error('there is an identity');
          kept = pair;
        },
      }),
    },
    sessions: {
      load: (peerId, userId) => records.get(key(userId, peerId)) ?? null,
      async save(peerId, state, userId) {
        calls.push(['save', peerId]);
        records.set(key(userId, peerId), state);
      },
      ...(saveMany && {
        async saveMany(userId, pairs) {
          calls.push(['saveMany', pairs.length]);
          for (const [peerId, state] of pairs) records.set(key(userId, peerId), state);
        },
      }),
    },
    tofu: {
      verifyFingerprint: async (peerId, fingerprint, userId) => {
        const pin = pins.get(key(userId, peerId));
        return pin === undefined ? undefined : pin === fingerprint;
      },
      storeFingerprint: async (peerId, fingerprint, userId) => void pins.set(key(userId, peerId), fingerprint),
    },
  };
  return store;
}

const at = (userId, peerId) => JSON.stringify([userId, peerId]);

describe('an import of what 3.0.0 has saved', () => {
  test('gives identity, sessions and fingerprints to the adapters, sealed', async () => {
    const { identity, session, bob } = saved();
    const store = adapters();
    const outcome = await importLegacy({ userId: 'alice', identity, sessions: { bob: session }, storageAdapters: store });
    assert.deepEqual(outcome, { userId: 'alice', imported: ['bob'], skipped: [] });
    const { publicKey, privateKey } = await store.identity.getIdentityKeyPair();
    assert.equal(publicKey.toString('base64url'), identity.identityKeyPair.publicKey);
    assert.equal(privateKey.length, 32);
    assert.equal(BigInt(`0x${privateKey.toString('hex')}`), BigInt(`0x${Buffer.from(identity.identityKeyPair.privateKey, 'base64url').toString('hex')}`));
    assert.deepEqual([...store.pins], [[at('alice', 'bob'), generateFingerprint(Buffer.from(bob, 'hex'))]]);
    const state = store.records.get(at('alice', 'bob'));
    assert.ok(Buffer.isBuffer(state));
    const secrets = JSON.parse(session);
    for (const secret of [secrets.rk, secrets.sck, secrets.rck, secrets.mrk.priv]) assert.equal(state.includes(Buffer.from(secret)), false);
    assert.equal(state.includes('myIK'), false);
  });

  test('takes sessions and identities in every form that they are kept in', async () => {
    const { identity, session } = saved();
    const bytes = Buffer.from(session);
    const forms = [session, bytes, new Uint8Array(bytes), bytes.toJSON(), JSON.parse(session)];
    for (const form of forms) {
      for (const sessions of [{ bob: form }, new Map([['bob', form]])]) {
        const outcome = await importLegacy({ userId: 'alice', identity: JSON.stringify(identity), sessions, storageAdapters: async () => adapters() });
        assert.deepEqual(outcome.imported, ['bob']);
      }
    }
    const alone = await importLegacy({ userId: 'alice', identity, storageAdapters: adapters() });
    assert.deepEqual(alone.imported, []);
  });

  test('takes every session that the original was recorded saving', async () => {
    let count = 0;
    for (const { parties, steps } of conversations) {
      for (const { op, party, session } of steps) {
        if (op !== 'serialize') continue;
        const user = { userId: party, identity: identityRecord(parties[party]), sessions: { peer: session } };
        assert.deepEqual((await importLegacy({ ...user, storageAdapters: adapters() })).imported, ['peer']);
        count += 1;
      }
    }
    assert.ok(count >= 10, String(count));
  });

  test('may be repeated, and leaves alone what is there', async () => {
    const { identity, session } = saved();
    const store = adapters({ saveMany: true });
    const user = { userId: 'alice', identity, sessions: { bob: session }, storageAdapters: store };
    await importLegacy(user);
    const state = store.records.get(at('alice', 'bob'));
    assert.deepEqual(await importLegacy(user), { userId: 'alice', imported: [], skipped: ['bob'] });
    assert.equal(store.records.get(at('alice', 'bob')), state);
    assert.deepEqual(store.calls, [['importIdentityKeyPair', 'alice'], ['saveMany', 1], ['importIdentityKeyPair', 'alice']]);
  });

  test('takes a store that returns the identity by itself, and refuses one that returns another', async () => {
    const { identity, session } = saved();
    const taking = adapters();
    const user = { userId: 'alice', identity, sessions: { bob: session } };
    await importLegacy({ ...user, storageAdapters: taking });
    const pair = await taking.identity.getIdentityKeyPair();
    const returning = adapters({ takesIdentity: false, identity: pair });
    assert.deepEqual((await importLegacy({ ...user, storageAdapters: returning })).imported, ['bob']);
    for (const other of [undefined, { publicKey: Buffer.alloc(65, 4), privateKey: Buffer.alloc(32, 1) }, { ...pair, privateKey: Buffer.alloc(32, 1) }]) {
      const store = adapters({ takesIdentity: false, identity: other });
      await assert.rejects(importLegacy({ ...user, storageAdapters: store }), { name: 'StvorError', code: 'IDENTITY_CONFLICT', action: /importIdentityKeyPair/ });
      assert.equal(store.records.size + store.pins.size, 0);
    }
  });

  test('refuses a session with another identity than the pinned one', async () => {
    const { identity, session } = saved();
    const store = adapters();
    store.pins.set(at('alice', 'bob'), 'a'.repeat(64));
    const outcome = importLegacy({ userId: 'alice', identity, sessions: { bob: session }, storageAdapters: store });
    await assert.rejects(outcome, { code: 'IDENTITY_CHANGED', peerId: 'bob' });
    assert.equal(store.records.size, 0);
  });

  test('takes what CryptoSessionManager saves as an identity', async () => {
    let identity;
    const manager = new CryptoSessionManager('kim', { loadIdentityKeys: () => null, saveIdentityKeys: (_, keys) => void (identity = keys) });
    await manager.initialize();
    const store = adapters();
    await importLegacy({ userId: 'kim', identity, storageAdapters: store });
    const { publicKey } = await store.identity.getIdentityKeyPair();
    assert.equal(publicKey.toString('base64url'), manager.getPublicKeys().identityKey);
  });
});

describe('an import is refused, and writes nothing,', () => {
  const refused = async (changes, expected) => {
    const { identity, session } = saved();
    const store = adapters();
    const user = { userId: 'alice', identity, sessions: { bob: session }, storageAdapters: store, ...changes };
    await assert.rejects(importLegacy(user), { name: 'StvorError', ...expected });
    assert.equal(store.records.size + store.pins.size + store.calls.length, 0);
  };
  const advice = { code: 'LEGACY_FORMAT', retryable: false, message: /2\.4/, action: /delete the old sessions.*connect anew/ };

  test('of what 2.4 has saved, with the advice of the documentation', async () => {
    const key = Buffer.alloc(32, 1).toString('base64url');
    const pair = { publicKey: key, privateKey: key };
    await refused({ identity: { identityKeyPair: pair, signedPreKeyPair: pair, signedPreKeySignature: key } }, advice);
    await refused({ identity: { publicKey: key, privateKey: key } }, advice);
    await refused({ sessions: { bob: { rootKey: key, sendingChainKey: key, skippedMessageKeys: {} } } }, advice);
    await refused({ sessions: { bob: JSON.stringify({ peerId: 'bob', rootKey: key }) } }, advice);
    for (const nonsense of ['', 'text', '[]', 'null', '7', Buffer.alloc(100), null, 7, undefined]) {
      await refused({ sessions: { bob: nonsense } }, advice);
    }
    for (const nonsense of ['', 'text', 'null', '{}', {}]) await refused({ identity: nonsense }, advice);
  });

  test('of damaged sessions and identities', async () => {
    const { identity, session } = saved();
    const damaged = { code: 'LEGACY_FORMAT', message: /cannot be imported/ };
    const changed = (change) => JSON.stringify({ ...JSON.parse(session), ...change });
    for (const change of [{ rk: new Array(32).fill(0) }, { sc: -1 }, { peerIK: new Array(65).fill(4) }, { more: 1 }, { myIK: JSON.parse(session).peerIK }]) {
      await refused({ sessions: { bob: changed(change) } }, damaged);
    }
    const other = identityRecord(conversations[0].parties.bob);
    await refused({ identity: other }, damaged);
    await refused({ identity: { ...identity, signedPreKeySignature: other.signedPreKeySignature } }, damaged);
    await refused({ identity: { ...identity, identityKeyPair: { ...identity.identityKeyPair, privateKey: other.identityKeyPair.privateKey } } }, damaged);
    // One bad session among good ones.
    await refused({ sessions: { bob: session, carol: changed({ sc: -1 }) } }, damaged);
  });

  test('with arguments that are wrong', async () => {
    const { session } = saved();
    const invalid = (name) => ({ code: 'INVALID_ARGUMENT', message: new RegExp(`^${name} `) });
    await refused({ userId: '' }, invalid('userId'));
    await refused({ identity: 7 }, invalid('identity'));
    await refused({ sessions: 7 }, invalid('sessions'));
    await refused({ sessions: { alice: session } }, invalid('sessions'));
    await refused({ sesions: {} }, invalid('options'));
    await refused({ storageAdapters: undefined }, { code: 'STORAGE_REQUIRED', message: /identity\.getIdentityKeyPair.*tofu\.storeFingerprint/ });
    await refused({ storageAdapters: () => ({ ...adapters(), tofu: {} }) }, { code: 'STORAGE_REQUIRED', message: /tofu\.verifyFingerprint, .*tofu\.storeFingerprint/ });
    await refused({ storageAdapters: () => { throw new Error('no'); } }, { code: 'STORAGE_FAILED' });
  });

  test('by a store that fails, which is named with its cause, and imports when it works', async () => {
    const { identity, session } = saved();
    const cause = new Error('disk');
    for (const [kind, method] of [['identity', 'getIdentityKeyPair'], ['identity', 'importIdentityKeyPair'], ['sessions', 'load'], ['sessions', 'save'], ['tofu', 'verifyFingerprint'], ['tofu', 'storeFingerprint']]) {
      const store = adapters();
      const works = store[kind][method];
      store[kind][method] = () => { throw cause; };
      const user = { userId: 'alice', identity, sessions: { bob: session }, storageAdapters: store };
      await assert.rejects(importLegacy(user), { code: 'STORAGE_FAILED', retryable: true, cause, message: new RegExp(`${kind}\\.${method}`) });
      store[kind][method] = works;
      assert.deepEqual((await importLegacy(user)).imported, ['bob']);
    }
  });
});

test('the conversation with a peer that runs 3.0.0 goes on, in both directions and after another start', async (t) => {
  const relay = await httpRelay(t);
  const [alice, bob] = [0, 1].map(() => ({ identity: generateKeyPair(), prekey: generateKeyPair() }));
  const text = (bytes) => Buffer.from(bytes).toString('base64url');
  const half = ({ publicKey, privateKey }) => ({ publicKey: text(publicKey), privateKey: text(privateKey) });
  const signature = ({ identity, prekey }) => text(ecSign(prekey.publicKey, identity));
  const publicKeys = {
    identityKey: text(bob.identity.publicKey), signedPreKey: text(bob.prekey.publicKey), signedPreKeySignature: signature(bob), oneTimePreKey: '',
  };
  relay.users.set('bob', { publicKeys, inbox: [] });
  const ofAlice = establishSession(alice.identity, alice.prekey, bob.identity.publicKey, bob.prekey.publicKey);
  const ofBob = establishSession(bob.identity, bob.prekey, alice.identity.publicKey, alice.prekey.publicKey);
  for (const [from, to] of [[ofAlice, ofBob], [ofBob, ofAlice], [ofAlice, ofBob]]) {
    const { ciphertext, header } = encryptMessage(from, 'before');
    assert.equal(decryptMessage(to, ciphertext, header).toString(), 'before');
  }

  const store = adapters();
  const replay = { checkAndMark: (peerId, nonce, userId) => userId.length === 0 };
  await importLegacy({
    userId: 'alice',
    identity: { identityKeyPair: half(alice.identity), signedPreKeyPair: half(alice.prekey), signedPreKeySignature: signature(alice) },
    sessions: { bob: serializeSession(ofAlice) },
    storageAdapters: store,
  });
  for (const round of ['first', 'second']) {
    const storageAdapters = { identity: { ...store.identity, perUser: true }, sessions: store.sessions, tofu: store.tofu, replay };
    const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, pollIntervalMs: 20, storageAdapters });
    t.after(() => app.disconnect());
    const client = await app.connect('alice');
    const inbox = messagesOf(client);
    assert.equal(client.fingerprint(), generateFingerprint(alice.identity.publicKey));
    await client.send('bob', `${round} to bob`);
    const [{ ciphertext, header }] = relay.users.get('bob').inbox.splice(0);
    assert.equal(decryptMessage(ofBob, Buffer.from(ciphertext, 'base64url'), Buffer.from(header, 'base64url')).toString(), `${round} to bob`);
    const answer = encryptMessage(ofBob, `${round} to alice`);
    relay.users.get('alice').inbox.push({
      id: round, from: 'bob', ciphertext: text(answer.ciphertext), header: text(answer.header), timestamp: new Date().toISOString(),
    });
    assert.equal((await inbox.next()).content, `${round} to alice`);
    await app.disconnect();
  }
});

test('an import goes into the embedded storage, once, and not in the place of another identity', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'stvor-import-'));
  const storage = await embeddedStorage({ path: join(directory, 'stvor.redb'), key: randomBytes(32) });
  t.after(async () => {
    await storage.close();
    rmSync(directory, { recursive: true });
  });
  const { identity, session } = saved();
  const user = { userId: 'alice', identity, sessions: { bob: session }, storageAdapters: storage };
  assert.deepEqual((await importLegacy(user)).imported, ['bob']);
  assert.deepEqual((await importLegacy(user)).skipped, ['bob']);
  const { publicKey } = await storage.identity.getIdentityKeyPair('alice');
  assert.equal(publicKey.toString('base64url'), identity.identityKeyPair.publicKey);
  await storage.identity.getIdentityKeyPair('carol');
  await assert.rejects(importLegacy({ ...user, userId: 'carol' }), { code: 'IDENTITY_CONFLICT' });
});
