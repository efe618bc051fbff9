'use strict';
// Replay protection in PostgreSQL, for those without Redis: a nonce is marked by an INSERT, which one of any
// number of processes wins. Time is the database's.

const check = require('../arguments.js');
const { invalidArgument } = require('../errors.js');
const { Batches } = require('./batches.js');

/** Rows of one statement; three parameters each. */
const MAX_ROWS = 256;
/** Between two removals of what has expired, and how much each removes. */
const PURGE_INTERVAL_MS = 10_000;
const PURGE_ROWS = 50_000;

class PostgresReplays {
  perUser = true;
  #database;
  #ttlSeconds;
  #purgedAt = Date.now();
  #batches = new Batches((marks) => this.#markEach(marks), MAX_ROWS);

  constructor(database, ttlSeconds) {
    this.#database = database;
    this.#ttlSeconds = ttlSeconds;
  }

  async checkAndMark(peerId, nonce, userId) {
    return this.#mark(userId, peerId, nonce);
  }

  async checkAndMarkMany(userId, marks) {
    if (!Array.isArray(marks)) throw invalidArgument('marks', 'an array of [peerId, nonce]', marks);
    return Promise.all(marks.map(([peerId, nonce]) => this.#mark(userId, peerId, nonce)));
  }

  async #mark(userId, peerId, nonce) {
    const user = Buffer.from(check.userId('userId', userId));
    const peer = Buffer.from(check.userId('peerId', peerId));
    const mark = [user, peer, Buffer.from(check.bytes('nonce', nonce))];
    return this.#batches.add(keyOf(mark), mark);
  }

  /** Marks different nonces: those that the statement has not written were there before. */
  async #markEach(marks) {
    const { rows } = await this.#database.query((schema) => marking(schema, marks.length), [this.#ttlSeconds, ...marks.flat()]);
    const written = new Set(rows.map(({ user_id: user, peer_id: peer, nonce }) => keyOf([user, peer, nonce])));
    this.#purgeSometimes();
    return marks.map((mark) => ({ value: !written.has(keyOf(mark)) }));
  }

  /** Not awaited: what fails here is done by the next one. */
  #purgeSometimes() {
    const now = Date.now();
    if (now - this.#purgedAt < PURGE_INTERVAL_MS) return;
    this.#purgedAt = now;
    this.#database.query(
      (schema) => `DELETE FROM ${schema}.nonces WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${schema}.nonces WHERE expires_at <= now() LIMIT ${PURGE_ROWS} FOR UPDATE SKIP LOCKED))`,
    ).catch(() => {});
  }
}

function marking(schema, count) {
  const tuples = Array.from({ length: count }, (_, i) => {
    const at = 3 * i + 1;
    return `($${at + 1}::bytea, $${at + 2}::bytea, $${at + 3}::bytea)`;
  });
  return `
INSERT INTO ${schema}.nonces AS kept (user_id, peer_id, nonce, expires_at)
SELECT user_id, peer_id, nonce, now() + make_interval(secs => $1)
FROM (VALUES ${tuples.join(', ')}) AS given (user_id, peer_id, nonce)
ORDER BY user_id, peer_id, nonce
ON CONFLICT (user_id, peer_id, nonce) DO UPDATE SET expires_at = excluded.expires_at
WHERE kept.expires_at <= now()
RETURNING kept.user_id, kept.peer_id, kept.nonce`;
}

function keyOf(parts) {
  return parts.map((bytes) => bytes.toString('hex')).join();
}

module.exports = { PostgresReplays };
