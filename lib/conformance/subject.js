'use strict';
// What the rules examine: adapters as an application gives them, with fresh names for every rule.

const { createHash, randomBytes } = require('node:crypto');
const { METHODS, STORES, takesUser } = require('../storage/interfaces.js');

/** Adapters, or a function that makes those of a user, seen through one interface. */
class Subject {
  #given;
  #reopen;
  #made = new Map();

  constructor(given, { reopen, singleUser = false, oneWriter = false }) {
    this.#given = given;
    this.#reopen = reopen;
    this.singleUser = singleUser;
    this.oneWriter = oneWriter;
  }

  get canReopen() {
    return this.#reopen !== undefined;
  }

  /** Another instance on the same data, as another process would have it. */
  async reopened() {
    return new Subject(await this.#reopen(), this);
  }

  /** The adapters of one user. */
  async of(userId) {
    if (typeof this.#given !== 'function') return this.#given;
    if (!this.#made.has(userId)) this.#made.set(userId, this.#given(userId));
    return this.#made.get(userId);
  }

  /** One store of a user, bound to the user: methods are called as the SDK calls them. */
  async store(name, userId) {
    const store = (await this.of(userId))[name];
    const bound = { has: (method) => typeof store[method] === 'function' };
    for (const method of Object.keys(METHODS[name])) bound[method] = async (...args) => store[method](...args, userId);
    if (bound.has('replaceFingerprint')) bound.replaceFingerprint = async (...args) => store.replaceFingerprint(...args, userId);
    for (const method of ['saveMany', 'checkAndMarkMany']) {
      if (bound.has(method)) bound[method] = async (...args) => store[method](userId, ...args);
    }
    return bound;
  }

  /** Whether the store says that it keeps users apart. */
  async isPerUser(name) {
    if (typeof this.#given === 'function') return true;
    const store = (await this.of('any'))[name];
    return takesUser(name, store);
  }

  /** A name that no rule and no run has used. */
  name(label) {
    return `${label}-${randomBytes(8).toString('hex')}`;
  }
}

/** What a store may give for bytes: bytes, a Buffer's JSON form, or base64 of either alphabet; undefined for anything else. */
function bytesOf(value) {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (value?.type === 'Buffer' && Array.isArray(value.data)) return Buffer.from(value.data);
  if (typeof value === 'string' && /^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) return Buffer.from(value, 'base64');
  return undefined;
}

function nonce() {
  return randomBytes(12);
}

function fingerprint(text) {
  return createHash('sha256').update(text).digest('hex');
}

module.exports = { Subject, bytesOf, fingerprint, nonce };
