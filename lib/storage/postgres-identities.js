'use strict';
// Identities in PostgreSQL: made once for each user, whoever asks first, and never changed.

const { createECDH, randomBytes, timingSafeEqual } = require('node:crypto');
const check = require('../arguments.js');
const { StvorError, invalidArgument } = require('../errors.js');
const { generateKeyPair } = require('../../ratchet.js');
const { SALT_BYTES, seal, unseal, wrongKey } = require('./sealing.js');
const { warnOf } = require('./warnings.js');

const PRIVATE_KEY_BYTES = 32;

class PostgresIdentities {
  perUser = true;
  #database;
  #secret;
  #sealingKey;

  constructor(database, secret) {
    this.#database = database;
    this.#secret = secret;
  }

  async getIdentityKeyPair(userId) {
    const user = Buffer.from(check.userId('userId', userId));
    const key = await this.#key();
    const row = (await this.#select(user)) ?? (await this.#keep(user, generateKeyPair(), key));
    return { publicKey: row.public_key, privateKey: opened(row, user, key) };
  }

  /** Keeps a pair that was made elsewhere, unless the user has another one. */
  async importIdentityKeyPair(keyPair, userId) {
    const user = Buffer.from(check.userId('userId', userId));
    const given = pairOf(keyPair);
    const key = await this.#key();
    const row = (await this.#select(user)) ?? (await this.#keep(user, given, key));
    const privateKey = opened(row, user, key);
    const isGiven = row.public_key.equals(given.publicKey) && timingSafeEqual(privateKey, given.privateKey);
    if (!isGiven) throw identityConflict();
    return { publicKey: row.public_key, privateKey };
  }

  /** Seals the identities that were stored before there was a key, and resolves to their number. */
  async sealIdentities() {
    const key = await this.#key();
    if (key === undefined) throw wrongKey('Sealing needs a key or passphrase.');
    const { rows } = await this.#database.query(
      (schema) => `SELECT user_id, public_key, private_key FROM ${schema}.identities WHERE NOT sealed`,
    );
    for (const { user_id: user, public_key: publicKey, private_key: privateKey } of rows) {
      await this.#database.query(
        (schema) => `UPDATE ${schema}.identities SET private_key = $2, sealed = true WHERE user_id = $1 AND NOT sealed`,
        [user, seal(key, privateKey, contextOf(user, publicKey))],
      );
    }
    return rows.length;
  }

  /** Forgets the secret and what was derived from it. */
  async wipe() {
    this.#secret?.wipe();
    (await this.#sealingKey?.catch(() => undefined))?.fill(0);
  }

  async #select(user) {
    const { rows } = await this.#database.query(
      (schema) => `SELECT public_key, private_key, sealed::text AS sealed FROM ${schema}.identities WHERE user_id = $1`,
      [user],
    );
    return rows[0];
  }

  /** Of several processes that come here at once, one inserts and all read what it has inserted. */
  async #keep(user, { publicKey, privateKey }, key) {
    const stored = key === undefined ? privateKey : seal(key, privateKey, contextOf(user, publicKey));
    await this.#database.query(
      (schema) => `INSERT INTO ${schema}.identities (user_id, public_key, private_key, sealed)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
      [user, publicKey, stored, key !== undefined],
    );
    return this.#select(user);
  }

  /** Asks the database whether the secret is right, or that none is given. */
  async assertKey() {
    await this.#key();
  }

  async #key() {
    this.#sealingKey ??= this.#secret === undefined ? this.#noKey() : sealingKey(this.#database, this.#secret);
    try {
      return await this.#sealingKey;
    } catch (error) {
      this.#sealingKey = undefined;
      throw error;
    }
  }

  /** Identities in clear, which is said once; never where they were sealed before. */
  async #noKey() {
    const { rows: [row] } = await this.#database.query(
      (schema) => `SELECT EXISTS (SELECT FROM ${schema}.identities WHERE sealed)::text AS sealed`,
    );
    if (row.sealed === 'true') throw wrongKey('Identities are sealed here, and there is no key or passphrase.');
    const text = 'postgresStorage without key or passphrase keeps identities unsealed: whoever reads the database can read every session.';
    warnOf(this, text, 'STVOR_UNSEALED_IDENTITY');
  }
}

/** The salt of the sealing key and its check, in a database that has sealed identities. */
async function sealingOf(database) {
  const { rows } = await database.query((schema) => `SELECT value FROM ${schema}.settings WHERE name = 'sealing'`);
  return rows[0]?.value;
}

/** Derives the key with the stored salt, and proves by a stored check that it is the one used before. */
async function sealingKey(database, secret) {
  const check = ['key check'];
  let stored = await sealingOf(database);
  if (stored === undefined) {
    const salt = randomBytes(SALT_BYTES);
    const value = Buffer.concat([salt, seal(await secret.derive(salt), Buffer.alloc(0), check)]);
    const sql = (schema) => `INSERT INTO ${schema}.settings VALUES ('sealing', $1) ON CONFLICT DO NOTHING`;
    await database.query(sql, [value]);
    stored = await sealingOf(database);
  }
  const key = await secret.derive(stored.subarray(0, SALT_BYTES));
  unseal(key, stored.subarray(SALT_BYTES), check);
  return key;
}

function opened({ sealed, public_key: publicKey, private_key: stored }, user, key) {
  const isSealed = sealed === 'true';
  if (isSealed && key === undefined) throw wrongKey('The identity is sealed, and there is no key or passphrase.');
  if (isSealed) return unseal(key, stored, contextOf(user, publicKey));
  if (key === undefined) return stored;
  // Taken as it is, a row that anybody could have written would count as one that was sealed.
  throw new StvorError(
    'STORAGE_KEY',
    'The identity was stored without a key, and is not sealed.',
    'If it is the right one, call sealIdentities() of the storage once.',
  );
}

/** A pair that was given, whose halves must belong together. */
function pairOf(value) {
  const { publicKey, privateKey } = check.object('keyPair', value);
  check.bytes('publicKey', publicKey);
  if (check.bytes('privateKey', privateKey).length !== PRIVATE_KEY_BYTES) {
    throw invalidArgument('privateKey', `a Buffer of ${PRIVATE_KEY_BYTES} bytes`, privateKey);
  }
  if (!Buffer.from(publicKey).equals(publicKeyOf(privateKey))) {
    throw invalidArgument('publicKey', 'the public half of privateKey, of 65 bytes', publicKey);
  }
  return { publicKey: Buffer.from(publicKey), privateKey: Buffer.from(privateKey) };
}

function publicKeyOf(privateKey) {
  const ecdh = createECDH('prime256v1');
  try {
    ecdh.setPrivateKey(privateKey);
  } catch {
    throw invalidArgument('privateKey', 'a private key of P-256', privateKey);
  }
  return ecdh.getPublicKey();
}

function identityConflict() {
  return new StvorError(
    'IDENTITY_CONFLICT',
    'The user has another identity in this database already.',
    'Import identities before their users connect for the first time.',
  );
}

function contextOf(user, publicKey) {
  return ['identity', user, publicKey];
}

module.exports = { PostgresIdentities };
