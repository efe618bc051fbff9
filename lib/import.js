'use strict';
// What the original has saved of one user, brought into storage adapters before the user connects.

const { timingSafeEqual } = require('node:crypto');
const { isUint8Array } = require('node:util').types;
const check = require('./arguments.js');
const { StvorError, calling, fromNative, invalidArgument } = require('./errors.js');
const { answered } = require('./storage/interfaces.js');
const native = require('../platform.js').binding();

const OPTIONS = ['userId', 'identity', 'sessions', 'storageAdapters'];
/** What an import needs of the adapters. */
const METHODS = {
  identity: ['getIdentityKeyPair'],
  sessions: ['load', 'save'],
  tofu: ['verifyFingerprint', 'storeFingerprint'],
};
/** P-256: a public key as it stands in every record of 3.0.0. Those of 2.4 have 32 bytes. */
const PUBLIC_KEY_BYTES = 65;

async function importLegacy(options) {
  try {
    const { userId, identity, sessions = {}, storageAdapters } = check.options('options', options, OPTIONS);
    check.userId('userId', userId);
    const given = typeof storageAdapters === 'function'
      ? await stored('storageAdapters()', () => storageAdapters(userId))
      : storageAdapters;
    return await importUser(userId, identityOf(identity), entriesOf(sessions), adaptersOf(given));
  } catch (error) {
    throw fromNative(error);
  }
}

/** Everything is read and converted before anything is written. */
async function importUser(userId, identity, entries, adapters) {
  const converted = [];
  for (const [peerId, session] of entries) {
    check.userId('sessions', peerId);
    if (peerId === userId) throw invalidArgument('sessions', 'sessions with other users', peerId);
    const json = jsonOf(session);
    converted.push([peerId, calling(() => identity.importSession(userId, peerId, json))]);
  }
  await importIdentity(adapters.identity, identity, userId);
  const [fresh, skipped] = [[], []];
  for (const [peerId, record] of converted) {
    const known = await stored('sessions.load()', () => adapters.sessions.load(peerId, userId));
    if (known === null || known === undefined) fresh.push([peerId, record]);
    else skipped.push(peerId); // it may have gone on since
  }
  const unpinned = [];
  for (const [peerId, record] of fresh) {
    const ask = () => adapters.tofu.verifyFingerprint(peerId, record.fingerprint(), userId);
    const matches = await stored('tofu.verifyFingerprint()', ask);
    if (matches === false) throw identityChanged(peerId);
    if (matches !== true) unpinned.push([peerId, record.fingerprint()]);
  }
  for (const [peerId, fingerprint] of unpinned) {
    await stored('tofu.storeFingerprint()', () => adapters.tofu.storeFingerprint(peerId, fingerprint, userId));
  }
  await saveAll(adapters.sessions, userId, fresh.map(([peerId, record]) => [peerId, record.sealed()]));
  return { userId, imported: fresh.map(([peerId]) => peerId), skipped };
}

async function saveAll(sessions, userId, pairs) {
  if (pairs.length === 0) return;
  if (typeof sessions.saveMany === 'function') {
    return void await stored('sessions.saveMany()', () => sessions.saveMany(userId, pairs));
  }
  for (const [peerId, state] of pairs) {
    await stored('sessions.save()', () => sessions.save(peerId, state, userId));
  }
}

/** Gives the identity to a store that takes one, and makes sure that it is the user's from now on. */
async function importIdentity(store, identity, userId) {
  const [publicKey, privateKey] = identity.keyPair();
  if (typeof store.importIdentityKeyPair === 'function') {
    const pair = { publicKey: Buffer.from(publicKey), privateKey: Buffer.from(privateKey) };
    await stored('identity.importIdentityKeyPair()', () => store.importIdentityKeyPair(pair, userId));
  }
  const kept = await stored('identity.getIdentityKeyPair()', () => store.getIdentityKeyPair(userId));
  if (!isSame(kept?.publicKey, publicKey) || !isSame(kept?.privateKey, privateKey)) throw identityConflict();
}

function isSame(kept, bytes) {
  const form = typeof kept === 'string' ? Buffer.from(kept, 'base64') : kept?.type === 'Buffer' ? Buffer.from(kept.data) : kept;
  return isUint8Array(form) && form.length === bytes.length && timingSafeEqual(bytes, form);
}

/** The identity of an identity record of 3.0.0, or of its JSON. */
function identityOf(value) {
  const record = typeof value === 'string' ? parsed(value, 'identity') : check.object('identity', value);
  const { identityKeyPair, signedPreKeyPair, signedPreKeySignature } = record ?? {};
  const parts = [
    identityKeyPair?.publicKey,
    identityKeyPair?.privateKey,
    signedPreKeyPair?.publicKey,
    signedPreKeyPair?.privateKey,
    signedPreKeySignature,
  ].map((text) => (typeof text === 'string' ? Buffer.from(text, 'base64url') : undefined));
  if (parts.includes(undefined) || parts[0].length !== PUBLIC_KEY_BYTES) throw legacyFormat('identity');
  return calling(() => native.LegacyIdentity.fromParts(...parts));
}

/** A session of 3.0.0 as JSON bytes: from JSON, as text or bytes, or from what it says. */
function jsonOf(value) {
  const bytes = value?.type === 'Buffer' && Array.isArray(value.data) ? Buffer.from(value.data) : value;
  const text = isUint8Array(bytes) ? Buffer.from(bytes).toString() : bytes;
  const session = typeof text === 'string' ? parsed(text, 'session') : text;
  if (typeof session !== 'object' || session === null || !('myIK' in session && 'peerIK' in session)) {
    throw legacyFormat('session');
  }
  return Buffer.from(typeof text === 'string' ? text : JSON.stringify(session));
}

function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch {
    throw legacyFormat(what);
  }
}

function entriesOf(sessions) {
  return sessions instanceof Map ? [...sessions] : Object.entries(check.object('sessions', sessions));
}

function adaptersOf(given) {
  const missing = Object.entries(METHODS).flatMap(([kind, methods]) =>
    methods.filter((method) => typeof given?.[kind]?.[method] !== 'function').map((method) => `storageAdapters.${kind}.${method}`));
  if (missing.length === 0) return given;
  throw new StvorError(
    'STORAGE_REQUIRED',
    `An import needs ${missing.join(', ')}.`,
    'Give the storage adapters that the app will have.',
  );
}

/** Calls a store, for so long; what it throws is the cause of a STORAGE_FAILED. */
async function stored(name, call) {
  try {
    return await answered(name, call);
  } catch (cause) {
    if (cause instanceof StvorError) throw cause;
    const message = `A store failed during the import: ${name}.`;
    throw new StvorError('STORAGE_FAILED', message, 'Check the storage adapter and import again: what is there already is left alone.', true, { cause });
  }
}

function legacyFormat(what) {
  return new StvorError(
    'LEGACY_FORMAT',
    `The ${what} is not in the form of version 3.0.0. What 2.4 has saved cannot be read: its cryptography was another.`,
    'Migrate as from 2.4 to 3.0: delete the old sessions and fingerprints, and let all users connect anew.',
  );
}

function identityConflict() {
  return new StvorError(
    'IDENTITY_CONFLICT',
    'The identity store does not return the imported identity.',
    'Import before the user connects for the first time, into a store with importIdentityKeyPair(keyPair, userId), or whose getIdentityKeyPair(userId) returns the imported pair.',
  );
}

function identityChanged(peerId) {
  return new StvorError(
    'IDENTITY_CHANGED',
    `The session with "${peerId}" is with another identity than the pinned one. Nothing was imported but the user's identity.`,
    'Leave this session out: the conversation begins anew with the pinned identity.',
    false,
    { peerId },
  );
}

module.exports = { importLegacy };
