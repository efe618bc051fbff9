'use strict';
// Everything of any number of users in one encrypted file that one process has open.

const { timingSafeEqual } = require('node:crypto');
const check = require('../arguments.js');
const { StvorError, assertOneOf, fromNative, invalidArgument } = require('../errors.js');
const native = require('../../platform.js').binding();

const OPTIONS = ['path', 'key', 'passphrase'];
const KEY_BYTES = 32;
const PUBLIC_KEY_BYTES = 65;

/** The native file behind each adapter made here: the addon then asks it without a detour through JavaScript. */
const files = new WeakMap();

/**
 * Opens the file, or makes it. Returns a promise of the four adapters that has them as properties too, so that it
 * may be awaited or not: `storageAdapters: embeddedStorage({ path, key })`.
 */
function embeddedStorage(options) {
  const { path, key, passphrase } = check.options('options', options, OPTIONS);
  if (typeof path !== 'string' || path === '') throw invalidArgument('path', 'the path of a file', path);
  assertOneOf('options', options, ['key', 'passphrase']);
  if (passphrase !== undefined && (typeof passphrase !== 'string' || passphrase === '')) {
    throw invalidArgument('passphrase', 'a string that is not empty', passphrase);
  }
  const secret = key === undefined ? undefined : keyOf(key);
  // One text has several forms in Unicode, and which of them is typed depends on the system.
  const opening = native.NativeEmbedded.open(path, secret, passphrase?.normalize('NFC')).catch((error) => {
    throw ofFile(path, error);
  });
  const storage = adaptersOf(path, opening);
  const opened = opening.then((file) => {
    secret?.fill(0);
    for (const adapter of Object.values(storage)) files.set(adapter, file);
    return storage;
  });
  opened.catch(() => {}); // whoever uses it without awaiting it is told by every method
  return Object.defineProperties(opened, Object.getOwnPropertyDescriptors(storage));
}

/** A copy of the key: the caller may wipe his once this returns. */
function keyOf(value) {
  const isKey = check.isBytes(value) && value.length === KEY_BYTES;
  if (!isKey) throw invalidArgument('key', `a Buffer of ${KEY_BYTES} bytes`, value);
  return Buffer.from(value);
}

/** What went wrong with the file, by the name that the caller knows it by. */
function ofFile(path, error) {
  const known = fromNative(error);
  if (!(known instanceof StvorError) || !known.code.startsWith('STORAGE_')) return known;
  const message = known.message.replace(/^The embedded file/, () => `The embedded file ${JSON.stringify(path)}`);
  // The disk may have room later, and the directory be there.
  return new StvorError(known.code, message, known.action, known.code === 'STORAGE_FAILED');
}

function adaptersOf(path, opening) {
  const call = async (method, ...values) => {
    const file = await opening;
    try {
      return await file[method](...values);
    } catch (error) {
      throw ofFile(path, error);
    }
  };
  const close = () => opening.then((file) => file.close(), () => {});
  const storage = {
    identity: {
      async getIdentityKeyPair(userId) {
        return keyPairOf(await call('identity', userId));
      },
      /** Keeps a pair that was made elsewhere, unless the user has one. */
      async importIdentityKeyPair(keyPair, userId) {
        const { publicKey, privateKey } = check.object('keyPair', keyPair);
        const halves = [bytesOf('publicKey', publicKey), bytesOf('privateKey', privateKey)];
        const kept = keyPairOf(await call('identity', userId, ...halves));
        if (!timingSafeEqual(kept.privateKey, halves[1])) throw identityConflict();
        return kept;
      },
    },
    sessions: {
      save: (peerId, state, userId) => call('save', userId, [peerId], [bytesOf('state', state)]),
      load: (peerId, userId) => call('load', userId, peerId),
      saveMany: (userId, rows) => call('save', userId, rows.map(([peer]) => peer), rows.map(([, state]) => bytesOf('state', state))),
    },
    replay: {
      async checkAndMark(peerId, nonce, userId) {
        return (await call('checkAndMark', userId, [peerId], [bytesOf('nonce', nonce)]))[0];
      },
      checkAndMarkMany: (userId, rows) => call('checkAndMark', userId, rows.map(([peer]) => peer), rows.map(([, nonce]) => bytesOf('nonce', nonce))),
    },
    tofu: {
      storeFingerprint: (peerId, fingerprint, userId) => call('pin', userId, peerId, fingerprint, false),
      replaceFingerprint: (peerId, fingerprint, userId) => call('pin', userId, peerId, fingerprint, true),
      async verifyFingerprint(peerId, fingerprint, userId) {
        return (await call('verify', userId, peerId, fingerprint)) ?? null;
      },
    },
  };
  // Spread, they are no promise any more that somebody awaits: production mode asks this.
  for (const adapter of Object.values(storage)) Object.defineProperty(adapter, 'ready', { value: () => opening.then(() => {}) });
  // Not enumerable: `{ ...storage, replay }` is a set of adapters and nothing else.
  return Object.defineProperties(storage, {
    close: { value: close },
    ...(Symbol.asyncDispose && { [Symbol.asyncDispose]: { value: close } }),
  });
}

function keyPairOf(halves) {
  return { publicKey: halves.subarray(0, PUBLIC_KEY_BYTES), privateKey: halves.subarray(PUBLIC_KEY_BYTES) };
}

function identityConflict() {
  return new StvorError(
    'IDENTITY_CONFLICT',
    'The user has another identity in this file already.',
    'Import identities before their users connect for the first time.',
  );
}

const bytesOf = (name, value) => Buffer.from(check.bytes(name, value));

/** The native file that an adapter belongs to, if it is open and of this module. */
const fileOf = (adapter) => files.get(adapter);

module.exports = { embeddedStorage, fileOf };
