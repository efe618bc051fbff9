'use strict';
// Fingerprints in PostgreSQL: the first one seen of a peer stays, until the application accepts another.

const check = require('../arguments.js');
const { StvorError } = require('../errors.js');

class PostgresFingerprints {
  perUser = true;
  #database;

  constructor(database) {
    this.#database = database;
  }

  async storeFingerprint(peerId, fingerprint, userId) {
    const [user, peer, given] = [...idsOf(userId, peerId), check.fingerprint('fingerprint', fingerprint)];
    const { rows } = await this.#database.query(
      (schema) => `INSERT INTO ${schema}.fingerprints (user_id, peer_id, fingerprint) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING fingerprint`,
      [user, peer, given],
    );
    if (rows.length === 0 && (await this.#select(user, peer)) !== given) throw changed(peerId);
  }

  async verifyFingerprint(peerId, fingerprint, userId) {
    const given = check.fingerprint('fingerprint', fingerprint);
    const stored = await this.#select(...idsOf(userId, peerId));
    return stored === undefined ? null : stored === given;
  }

  async replaceFingerprint(peerId, fingerprint, userId) {
    const values = [...idsOf(userId, peerId), check.fingerprint('fingerprint', fingerprint)];
    await this.#database.query(
      (schema) => `INSERT INTO ${schema}.fingerprints (user_id, peer_id, fingerprint) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, peer_id) DO UPDATE SET fingerprint = excluded.fingerprint, stored_at = now()`,
      values,
    );
  }

  async #select(user, peer) {
    const { rows } = await this.#database.query(
      (schema) => `SELECT fingerprint FROM ${schema}.fingerprints WHERE user_id = $1 AND peer_id = $2`,
      [user, peer],
    );
    return rows[0]?.fingerprint;
  }
}

function idsOf(userId, peerId) {
  return [Buffer.from(check.userId('userId', userId)), Buffer.from(check.userId('peerId', peerId))];
}

function changed(peerId) {
  return new StvorError(
    'IDENTITY_CHANGED',
    'Another fingerprint is stored for this peer.',
    'Compare fingerprints with the peer, then call app.trust().',
    false,
    { peerId },
  );
}

module.exports = { PostgresFingerprints };
