'use strict';
// Storage for a fleet: identities, sessions, fingerprints and, where there is no Redis, replay protection in
// one PostgreSQL schema. Any number of processes may share it, also for one user.

const check = require('../arguments.js');
const { StvorError, assertOneOf, invalidArgument } = require('../errors.js');
const { installed } = require('./installed.js');
const { PostgresFingerprints } = require('./postgres-fingerprints.js');
const { PostgresIdentities } = require('./postgres-identities.js');
const { PostgresReplays } = require('./postgres-replays.js');
const { prepare, quotedSchema } = require('./postgres-schema.js');
const { PostgresSessions } = require('./postgres-sessions.js');
const { seconds } = require('./redis.js');
const { secretOf } = require('./sealing.js');

const OPTIONS = ['pool', 'connectionString', 'schema', 'key', 'passphrase', 'ttlSeconds'];
const CONNECT_TIMEOUT_MS = 5_000;
/** Serialisation failure and deadlock: PostgreSQL has undone the statement, and asks for it again. */
const TRANSIENT = ['40001', '40P01'];
const ATTEMPTS = 10;
const BYTEA_COLUMNS = ['user_id', 'peer_id', 'state', 'nonce', 'public_key', 'private_key', 'value'];

function postgresStorage(options) {
  const given = check.options('options', options, OPTIONS);
  const { pool, connectionString, schema = 'stvor', ttlSeconds = 300 } = given;
  assertOneOf('options', given, ['pool', 'connectionString']);
  quotedSchema(schema);
  const lifetime = seconds('ttlSeconds', ttlSeconds);
  const secret = secretOf(given);
  const database = new Database(pool === undefined ? ownPool(connectionString) : poolOf(pool), schema);
  const identity = new PostgresIdentities(database, secret);
  const storage = {
    identity,
    sessions: new PostgresSessions(database),
    replay: new PostgresReplays(database, lifetime),
    tofu: new PostgresFingerprints(database),
  };
  // Each may be used without the others.
  for (const store of Object.values(storage)) {
    const ready = () => (store === identity ? identity.assertKey() : database.query(() => 'SELECT 1'));
    Object.defineProperty(store, 'ready', { value: async () => void (await ready()) });
  }
  const close = async () => {
    await database.close(pool === undefined);
    await identity.wipe();
  };
  // Not enumerable: `{ ...storage, replay }` is a set of adapters and nothing else.
  return Object.defineProperties(storage, {
    sealIdentities: { value: () => identity.sealIdentities() },
    close: { value: close },
    ...(Symbol.asyncDispose && { [Symbol.asyncDispose]: { value: close } }),
  });
}

/** A pool and the schema in it, which the first query prepares. */
class Database {
  #pool;
  #name;
  #ready;
  #closing;

  constructor(pool, name) {
    this.#pool = pool;
    this.#name = name;
  }

  /** Runs `sql(schema)`, where `schema` is quoted. */
  async query(sql, values = []) {
    this.#ready ??= prepare((text) => this.#run(text), this.#name);
    try {
      await this.#ready;
    } catch (error) {
      this.#ready = undefined;
      throw error;
    }
    return this.#repeat(sql(quotedSchema(this.#name)), values);
  }

  async #repeat(text, values) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#run(text, values);
      } catch (error) {
        if (attempt === ATTEMPTS || !TRANSIENT.includes(error?.code)) throw error;
      }
    }
  }

  async close(owned) {
    this.#closing ??= owned ? this.#pool.end() : Promise.resolve();
    await this.#closing;
  }

  async #run(text, values) {
    if (this.#closing !== undefined) {
      throw new StvorError('STORAGE_FAILED', 'The store was closed.', 'Make a new store, and close it last.');
    }
    const result = await this.#pool.query(text, values);
    for (const row of result.rows ?? []) bytesIn(row);
    return result;
  }
}

/** Applications may have pg parse types as they like: here, bytea columns are Buffers. */
function bytesIn(row) {
  for (const column of BYTEA_COLUMNS.filter((name) => row[name] !== undefined)) {
    const value = row[column];
    if (check.isBytes(value)) row[column] = Buffer.from(value.buffer, value.byteOffset, value.length);
    else if (typeof value === 'string' && /^\\x([0-9a-f]{2})*$/.test(value)) row[column] = Buffer.from(value.slice(2), 'hex');
    else throw new StvorError('STORAGE_FAILED', 'The pool returns bytea as neither bytes nor hex.', 'Pass a Pool of pg.');
  }
}

function ownPool(connectionString) {
  if (typeof connectionString !== 'string' || connectionString === '') {
    throw invalidArgument('connectionString', 'a postgres:// address', connectionString);
  }
  const { module: pg } = installed('connectionString', ['pg']);
  const pool = new pg.Pool({
    connectionString,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    allowExitOnIdle: true,
    application_name: 'stvor',
  });
  // An idle connection that breaks is replaced by the next query; unheard, the event would end the process.
  pool.on('error', () => {});
  return pool;
}

function poolOf(value) {
  if (typeof value?.query === 'function') return value;
  throw invalidArgument('pool', 'a Pool of pg', value);
}

module.exports = { postgresStorage };
