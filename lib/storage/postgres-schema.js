'use strict';
// The tables of `postgresStorage`, made where they are missing, by any number of processes at once.
//
// User and peer ids are bytea: ids are compared byte by byte, may hold any character, and must not depend on
// the encoding or collation of the database.

const { createHash } = require('node:crypto');
const { StvorError, invalidArgument } = require('../errors.js');

const LAYOUT = 1;
/** undefined_table, invalid_schema_name */
const MISSING = ['42P01', '3F000'];
/** What `all_or_none` raises. */
const CONFLICT_STATE = 'STV01';

/** A schema name as it stands in SQL. */
function quotedSchema(name) {
  // PostgreSQL cuts off what is longer, and reserves pg_.
  if (typeof name !== 'string' || !/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/i.test(name)) {
    throw invalidArgument('schema', 'a name of 1 to 63 letters, digits and _, not beginning with a digit or pg_', name);
  }
  return `"${name}"`;
}

/** Makes what is missing in the schema. Once it is there, an account that may not create anything suffices. */
async function prepare(query, name) {
  const layout = await currentLayout(query, name);
  if (layout === undefined) await query(creation(name));
  else if (layout > LAYOUT) throw tooNew(name);
}

async function currentLayout(query, name) {
  try {
    const { rows } = await query(`SELECT value FROM ${quotedSchema(name)}.settings WHERE name = 'layout'`);
    return rows.length === 0 ? undefined : rows[0].value[0];
  } catch (error) {
    if (MISSING.includes(error?.code)) return undefined;
    throw error;
  }
}

/** One query of many statements, which PostgreSQL runs as one transaction. */
function creation(name) {
  const schema = quotedSchema(name);
  const lock = createHash('sha256').update(`stvor schema ${name}`).digest();
  return `
SELECT pg_advisory_xact_lock(${lock.readInt32BE(0)}, ${lock.readInt32BE(4)});
DO $make$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '${name}') THEN CREATE SCHEMA ${schema}; END IF;
END $make$;
CREATE TABLE IF NOT EXISTS ${schema}.settings (name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE IF NOT EXISTS ${schema}.identities (
  user_id bytea PRIMARY KEY,
  public_key bytea NOT NULL,
  private_key bytea NOT NULL,
  sealed boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS ${schema}.sessions (
  user_id bytea NOT NULL,
  peer_id bytea NOT NULL,
  state bytea NOT NULL,
  version bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, peer_id)
);
ALTER TABLE ${schema}.sessions ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS ${schema}.fingerprints (
  user_id bytea NOT NULL,
  peer_id bytea NOT NULL,
  fingerprint text NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, peer_id)
);
CREATE TABLE IF NOT EXISTS ${schema}.nonces (
  user_id bytea NOT NULL,
  peer_id bytea NOT NULL,
  nonce bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, peer_id, nonce)
);
CREATE INDEX IF NOT EXISTS nonces_expire ON ${schema}.nonces (expires_at);
CREATE OR REPLACE FUNCTION ${schema}.all_or_none(written boolean) RETURNS void LANGUAGE plpgsql AS $body$ BEGIN
  IF NOT written THEN
    RAISE EXCEPTION 'a record was written by somebody else meanwhile' USING ERRCODE = '${CONFLICT_STATE}';
  END IF;
END $body$;
INSERT INTO ${schema}.settings VALUES ('layout', '\\x0${LAYOUT}') ON CONFLICT DO NOTHING;`;
}

function tooNew(name) {
  return new StvorError(
    'STORAGE_DAMAGED',
    `The tables in schema ${name} were made by a later version of this package.`,
    'Update @stvor/sdk in every process that uses them.',
  );
}

module.exports = { CONFLICT_STATE, prepare, quotedSchema };
