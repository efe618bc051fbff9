'use strict';
// Sealed records in PostgreSQL. Every record has a version, and is written only over the version that this
// store has loaded or written last: of two processes that take a step from the same state one succeeds, and
// the other is told to load again.

const check = require('../arguments.js');
const { StvorError, invalidArgument } = require('../errors.js');
const { Batches } = require('./batches.js');
const { CONFLICT_STATE } = require('./postgres-schema.js');

/** Rows that are written together because they wait: more would make the first of them wait for long. */
const MAX_BATCH = 256;
/** Versions that are remembered. One forgotten costs a load: the record counts as changed. */
const MAX_VERSIONS = 1_000_000;
/** Serialisation failure, deadlock, and `all_or_none`'s: PostgreSQL has undone the statement. */
const CONFLICTS = ['40001', '40P01', CONFLICT_STATE];

class PostgresSessions {
  perUser = true;
  #database;
  /** Of records that are there, by `keyOf`. */
  #versions = new Map();
  #batches = new Batches((rows) => this.#writeEach(rows), MAX_BATCH);

  constructor(database) {
    this.#database = database;
  }

  async load(peerId, userId) {
    const row = rowOf(userId, peerId);
    const { rows } = await this.#database.query(
      (schema) => `SELECT state, version::text AS version FROM ${schema}.sessions WHERE user_id = $1 AND peer_id = $2`,
      [row.user, row.peer],
    );
    this.#remember(row.key, rows.length === 0 ? 0 : Number(rows[0].version));
    return rows.length === 0 ? null : rows[0].state;
  }

  async save(peerId, state, userId) {
    const row = rowOf(userId, peerId, state);
    return this.#batches.add(row.key, row);
  }

  async saveMany(userId, records) {
    if (!Array.isArray(records)) throw invalidArgument('records', 'an array of [peerId, state]', records);
    const rows = records.map(([peerId, state]) => rowOf(userId, peerId, state));
    if (rows.length === 0) return;
    if (rows.length === 1) return this.#batches.add(rows[0].key, rows[0]);
    if (new Set(rows.map(({ key }) => key)).size < rows.length) {
      throw invalidArgument('records', 'an array that names each peer once', records);
    }
    const { versions } = await this.#write(
      rows,
      (schema) => `SELECT ${schema}.all_or_none((SELECT count(*) FROM written) = ${rows.length})`,
    );
    rows.forEach(({ key }, i) => this.#remember(key, versions[i]));
  }

  /** Writes rows that have nothing to do with each other. */
  async #writeEach(rows) {
    const { result, versions } = await this.#write(rows, () => 'SELECT user_id, peer_id FROM written');
    const written = new Set(result.rows.map(({ user_id: user, peer_id: peer }) => keyOf(user, peer)));
    return rows.map(({ key, peerId }, i) => {
      if (!written.has(key)) return { error: conflict({ peerId }) };
      this.#remember(key, versions[i]);
      return { value: undefined };
    });
  }

  /** Writes the rows whose versions fit, then does `last`. */
  async #write(rows, last) {
    const versions = rows.map(({ key }) => (this.#versions.get(key) ?? 0) + 1);
    const columns = [...['user', 'peer', 'state'].map((column) => rows.map((row) => row[column])), versions];
    const sql = (schema) => `${writing(schema)} ${last(schema)}`;
    const result = await this.#database.query(sql, columns).catch((cause) => {
      throw CONFLICTS.includes(cause?.code) ? conflict({ cause }) : cause;
    });
    return { result, versions };
  }

  #remember(key, version) {
    this.#versions.delete(key);
    if (version === 0) return;
    if (this.#versions.size >= MAX_VERSIONS) this.#versions.delete(this.#versions.keys().next().value);
    this.#versions.set(key, version);
  }
}

/**
 * The common table `written` of the rows in four arrays: a parameter for each value would limit their number.
 * A row of version 1 must not be there yet; one of a later version must follow the one that is there. In order of
 * their keys, so that two statements cannot wait for each other.
 */
function writing(schema) {
  return `
WITH given (user_id, peer_id, state, version) AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[])),
written AS (
  INSERT INTO ${schema}.sessions AS kept (user_id, peer_id, state, version)
  SELECT user_id, peer_id, state, version FROM given
  WHERE version = 1 OR EXISTS (
    SELECT FROM ${schema}.sessions AS old WHERE old.user_id = given.user_id AND old.peer_id = given.peer_id
  )
  ORDER BY user_id, peer_id
  ON CONFLICT (user_id, peer_id) DO UPDATE
  SET state = excluded.state, version = excluded.version, updated_at = now()
  WHERE kept.version = excluded.version - 1
  RETURNING kept.user_id, kept.peer_id
)`;
}

function rowOf(userId, peerId, state) {
  const user = Buffer.from(check.userId('userId', userId));
  const peer = Buffer.from(check.userId('peerId', peerId));
  // Copied: the row may wait, and the caller may change its buffer meanwhile.
  const copy = state === undefined ? undefined : Buffer.from(check.bytes('state', state));
  return { user, peer, peerId, state: copy, key: keyOf(user, peer) };
}

function keyOf(user, peer) {
  return `${user.length}:${user.toString('utf8')}${peer.toString('utf8')}`;
}

function conflict(details) {
  return new StvorError(
    'STORAGE_CONFLICT',
    'A record was written by another process since it was loaded. Nothing was changed.',
    'Load it again and take the step again.',
    true,
    details,
  );
}

module.exports = { PostgresSessions };
