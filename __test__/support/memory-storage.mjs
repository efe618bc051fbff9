// Storage adapters that keep everything in memory, with several instances on the same data. They keep every rule
// of the conformance suite; tests replace single methods to break one.
import { generateKeyPair } from '@stvor/sdk/ratchet';

const at = (...ids) => JSON.stringify(ids);
/** Every operation takes a turn of the event loop, so that others come between. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

export function conflict() {
  return Object.assign(new Error('written meanwhile'), { code: 'STORAGE_CONFLICT' });
}

/** The data that instances share. */
export function memoryData() {
  return { identities: new Map(), sessions: new Map(), nonces: new Set(), fingerprints: new Map() };
}

/** One instance, as one process has it. */
export function memoryStorage(data = memoryData()) {
  const versions = new Map();
  const current = (key) => data.sessions.get(key)?.version ?? 0;
  const fits = (key) => current(key) === (versions.get(key) ?? 0);
  const write = (key, state) => {
    const version = current(key) + 1;
    data.sessions.set(key, { state: Buffer.from(state), version });
    versions.set(key, version);
  };
  const identity = {
    perUser: true,
    async getIdentityKeyPair(userId) {
      await turn();
      if (!data.identities.has(userId)) data.identities.set(userId, generateKeyPair());
      return data.identities.get(userId);
    },
  };
  const saveMany = async (userId, rows) => {
    await turn();
    if (!rows.every(([peerId]) => fits(at(userId, peerId)))) throw conflict();
    for (const [peerId, state] of rows) write(at(userId, peerId), state);
  };
  const sessions = {
    saveMany,
    async save(peerId, state, userId) {
      await saveMany(userId, [[peerId, state]]);
    },
    async load(peerId, userId) {
      await turn();
      const row = data.sessions.get(at(userId, peerId));
      versions.set(at(userId, peerId), row?.version ?? 0);
      return row === undefined ? null : Buffer.from(row.state);
    },
  };
  const checkAndMarkMany = async (userId, rows) => {
    await turn();
    return rows.map(([peerId, nonce]) => {
      const key = at(userId, peerId, Buffer.from(nonce).toString('hex'));
      const seen = data.nonces.has(key);
      data.nonces.add(key);
      return seen;
    });
  };
  const replay = {
    checkAndMarkMany,
    async checkAndMark(peerId, nonce, userId) {
      const [seen] = await checkAndMarkMany(userId, [[peerId, nonce]]);
      return seen;
    },
  };
  const tofu = {
    async storeFingerprint(peerId, fingerprint, userId) {
      await turn();
      const key = at(userId, peerId);
      if (!data.fingerprints.has(key)) data.fingerprints.set(key, fingerprint);
    },
    async verifyFingerprint(peerId, fingerprint, userId) {
      await turn();
      const stored = data.fingerprints.get(at(userId, peerId));
      return stored === undefined ? null : stored === fingerprint;
    },
    async replaceFingerprint(peerId, fingerprint, userId) {
      await turn();
      data.fingerprints.set(at(userId, peerId), fingerprint);
    },
  };
  return { identity, sessions, replay, tofu };
}
