// Stores for tests: plain objects over maps, as an application would write them.

/** Adapters that keep everything in `data`, a map that outlives them, each row under its user. */
export function mapAdapters(data = new Map(), { generateKeyPair }) {
  const key = (...parts) => JSON.stringify(parts);
  return {
    data,
    identity: {
      async getIdentityKeyPair(userId) {
        const row = key('identity', userId);
        if (!data.has(row)) data.set(row, generateKeyPair());
        return data.get(row);
      },
    },
    sessions: {
      async save(peerId, state, userId) {
        data.set(key('session', userId, peerId), Buffer.from(state));
      },
      async load(peerId, userId) {
        return data.get(key('session', userId, peerId)) ?? null;
      },
    },
    replay: {
      async checkAndMark(peerId, nonce, userId) {
        const row = key('nonce', userId, peerId, Buffer.from(nonce).toString('hex'));
        const seen = data.has(row);
        data.set(row, true);
        return seen;
      },
    },
    tofu: {
      async storeFingerprint(peerId, fingerprint, userId) {
        const row = key('pin', userId, peerId);
        if (!data.has(row)) data.set(row, fingerprint);
      },
      async replaceFingerprint(peerId, fingerprint, userId) {
        data.set(key('pin', userId, peerId), fingerprint);
      },
      async verifyFingerprint(peerId, fingerprint, userId) {
        const pinned = data.get(key('pin', userId, peerId));
        return pinned === undefined ? null : pinned === fingerprint;
      },
    },
  };
}
