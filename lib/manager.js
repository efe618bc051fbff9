'use strict';
// Sessions by peer name without a relay: the caller carries bundles and messages itself.

const check = require('./arguments.js');
const { StvorError, calling, fromNative, invalidArgument } = require('./errors.js');
const native = require('../platform.js').binding();

class CryptoSessionManager {
  #userId;
  #identityStore;
  #keys;
  #initializing;
  #records = new Map();

  constructor(userId, identityStore, sessionStore) {
    this.#userId = check.userId('userId', userId);
    if (identityStore != null) assertMethods('identityStore', identityStore);
    this.#identityStore = identityStore ?? undefined;
    if (sessionStore != null) {
      check.warn('sessionStore has no effect yet: sessions are kept in memory only.', 'STVOR_STORAGE_UNUSED');
    }
  }

  initialize() {
    this.#initializing ??= this.#initialize().catch((error) => {
      this.#initializing = undefined;
      throw error;
    });
    return this.#initializing;
  }

  async #initialize() {
    const saved = await this.#store('loadIdentityKeys');
    if (saved != null) {
      this.#keys = restoreKeys(saved);
      return;
    }
    const keys = native.NativeKeys.generate();
    await this.#store('saveIdentityKeys', recordOf(keys));
    this.#keys = keys;
  }

  async #store(method, ...args) {
    try {
      return await this.#identityStore?.[method](this.#userId, ...args);
    } catch (cause) {
      throw storageFailed(`identityStore.${method} failed.`, cause);
    }
  }

  getPublicKeys() {
    const [identityKey, signedPreKey, signedPreKeySignature] = this.#ready().bundle();
    return { identityKey, signedPreKey, signedPreKeySignature, oneTimePreKey: '' };
  }

  async establishSession(peerId, publicKeys) {
    const keys = this.#ready();
    check.userId('peerId', peerId);
    const bundle = bundleOf(publicKeys);
    const known = this.#records.get(peerId);
    calling(() => {
      if (known === undefined) this.#records.set(peerId, native.PeerRecord.establish(keys, ...bundle));
      else known.renew(keys, ...bundle);
    });
  }

  async establishSessionWithPeer(peerId, publicKeys) {
    await this.establishSession(peerId, publicKeys);
  }

  hasSession(peerId) {
    return this.#records.has(peerId);
  }

  encryptForPeer(peerId, plaintext) {
    const record = this.#record(peerId);
    const bytes = check.content('plaintext', plaintext);
    const [header, ciphertext] = calling(() => record.encrypt(bytes));
    return { ciphertext: ciphertext.toString('base64url'), header: header.toString('base64url') };
  }

  decryptFromPeer(peerId, ciphertext, header) {
    const record = this.#record(peerId);
    for (const [name, value] of [['ciphertext', ciphertext], ['header', header]]) {
      if (typeof value !== 'string') throw invalidArgument(name, 'a base64url string', value);
    }
    const decode = (text) => Buffer.from(text, 'base64url');
    return calling(() => record.decrypt(this.#keys, decode(header), decode(ciphertext))).toString('utf8');
  }

  forceRatchet(peerId) {
    calling(() => this.#record(peerId).forceRatchet());
  }

  #ready() {
    if (this.#keys === undefined) {
      throw notReady('The session manager is not initialized.', 'Call initialize() first and await it.');
    }
    return this.#keys;
  }

  #record(peerId) {
    this.#ready();
    check.userId('peerId', peerId);
    const record = this.#records.get(peerId);
    if (record !== undefined) return record;
    throw notReady(`There is no session with ${peerId}.`, 'Call establishSession() with its public keys first.');
  }
}

function assertMethods(name, store) {
  check.object(name, store);
  for (const method of ['loadIdentityKeys', 'saveIdentityKeys']) {
    check.handler(`${name}.${method}`, store[method]);
  }
}

/** The original's identity record: base64url texts. */
function recordOf(keys) {
  const parts = keys.exportParts().map((part) => part.toString('base64url'));
  const [identityPublic, identityPrivate, prekeyPublic, prekeyPrivate, signedPreKeySignature] = parts;
  return {
    identityKeyPair: { publicKey: identityPublic, privateKey: identityPrivate },
    signedPreKeyPair: { publicKey: prekeyPublic, privateKey: prekeyPrivate },
    signedPreKeySignature,
  };
}

function restoreKeys(saved) {
  try {
    const { identityKeyPair, signedPreKeyPair, signedPreKeySignature } = saved;
    const texts = [
      identityKeyPair.publicKey,
      identityKeyPair.privateKey,
      signedPreKeyPair.publicKey,
      signedPreKeyPair.privateKey,
      signedPreKeySignature,
    ];
    return native.NativeKeys.fromParts(...texts.map((text) => Buffer.from(text, 'base64url')));
  } catch (error) {
    throw storageFailed('identityStore.loadIdentityKeys returned keys that do not fit.', fromNative(error));
  }
}

function bundleOf(publicKeys) {
  check.object('publicKeys', publicKeys);
  return ['identityKey', 'signedPreKey', 'signedPreKeySignature'].map((field) => {
    const value = publicKeys[field];
    if (typeof value === 'string') return value;
    throw invalidArgument(`publicKeys.${field}`, 'a base64url string', value);
  });
}

function notReady(message, action) {
  return new StvorError('CLIENT_NOT_READY', message, action);
}

function storageFailed(message, cause) {
  return new StvorError('STORAGE_FAILED', message, 'Check the store that was given.', true, { cause });
}

module.exports = { CryptoSessionManager };
