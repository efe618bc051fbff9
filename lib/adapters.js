'use strict';
// The stores that an application brings: checked, told apart by user, and called on the addon's behalf.

const { isUint8Array } = require('node:util').types;
const { StvorError, invalidArgument, keepCause } = require('./errors.js');
const { fileOf } = require('./storage/embedded.js');
const { METHODS, STORES: KINDS, answered, takesUser } = require('./storage/interfaces.js');
const { warnThrough } = require('./storage/warnings.js');
const { Overdue, Turns } = require('./turns.js');

/** Where a user's store is, as the addon's `chooseStores` takes it. */
const MEMORY = 0;
const ADAPTER = 1;
const EMBEDDED = 2;

/** What is lost without each adapter. */
const MEMORY_ONLY = {
  identity: 'identities last as long as the process',
  sessions: 'sessions last as long as the process',
  replay: 'replay protection lasts as long as the process',
  tofu: 'the fingerprints of peers are forgotten with the process',
};

/** Questions of the addon, by number; src/stores.rs asks them. */
const QUESTIONS = [identity, load, save, check, verify, pin, repin];

/** For each `sessions` adapter its users, and the app that serves them: two apps would overwrite each other's records. */
const served = new WeakMap();

/** Where the users of one app keep their things. */
class Storage {
  #given;
  #production;
  #warn;
  #warnOnce;
  /** The four adapters of each user who has come. */
  #adapters = new Map();
  /** For each adapter that takes no user id, whose it is. */
  #owners = new Map();
  #turns = new Map();

  /** What an application gave: a promise of adapters is awaited, so that what is wrong with them is known at once. */
  static async open(given, options) {
    const adapters = typeof given === 'function' ? given : ((await madeBy('storageAdapters', () => given)) ?? {});
    if (typeof adapters === 'function') return new Storage(adapters, options);
    if (typeof adapters !== 'object') throw invalidArgument('storageAdapters', 'an object with adapters', adapters);
    const storage = new Storage(adapters, options);
    await storage.#assertReady(adapters);
    return storage;
  }

  constructor(given, { production, warn, warnOnce }) {
    this.#given = given;
    this.#production = production;
    this.#warn = warn;
    this.#warnOnce = warnOnce;
    if (typeof given !== 'function') this.#complete(given);
  }

  /** The adapters of a user, as the addon's `chooseStores` takes them. Throws what makes them unusable. */
  async choose(userId) {
    const given = typeof this.#given === 'function' ? await this.#made(userId) : this.#given;
    const adapters = this.#complete(given);
    if (given !== this.#given) await this.#assertReady(adapters);
    const shared = KINDS.filter((kind) => adapters[kind] && this.#isOthers(kind, adapters[kind], userId));
    if (shared.length > 0) throw storageShared(shared);
    this.#serve(userId, adapters.sessions);
    for (const kind of KINDS) {
      if (adapters[kind] && !takesUser(kind, adapters[kind])) this.#owners.set(adapters[kind], userId);
    }
    this.#adapters.set(userId, adapters);
    // One file of ours is asked without a detour through JavaScript.
    const file = KINDS.map((kind) => fileOf(adapters[kind])).find((file) => file !== undefined);
    const place = (adapter) => (file !== undefined && fileOf(adapter) === file ? EMBEDDED : ADAPTER);
    const places = KINDS.map((kind) => [kind, adapters[kind] === undefined ? MEMORY : place(adapters[kind])]);
    return { choice: Object.fromEntries(places), file };
  }

  #serve(userId, sessions) {
    if (sessions === undefined) return;
    if (!served.has(sessions)) served.set(sessions, new Map());
    const users = served.get(sessions);
    if ((users.get(userId) ?? this) !== this) throw storageInUse(userId);
    users.set(userId, this);
  }

  /** The user has left: another app may serve them. */
  release(userId) {
    const users = served.get(this.#adapters.get(userId)?.sessions);
    if (users?.get(userId) === this) users.delete(userId);
  }

  async #made(userId) {
    const given = await madeBy(`storageAdapters('…')`, () => this.#given(userId));
    if (typeof given !== 'object' || given === null) {
      throw invalidArgument(`storageAdapters('…')`, 'an object with adapters', given);
    }
    return given;
  }

  /** In production a store that cannot work is found at the start, where it has a method to say so. */
  async #assertReady(adapters) {
    if (!this.#production) return;
    await Promise.all(KINDS.filter((kind) => typeof adapters[kind].ready === 'function').map((kind) => isReady(kind, adapters[kind])));
  }

  #isOthers(kind, adapter, userId) {
    const owner = this.#owners.get(adapter);
    return owner !== undefined && owner !== userId && !takesUser(kind, adapter);
  }

  /** The adapters that have all their methods. In production it must be all of them. */
  #complete(given) {
    const missing = missingPieces(given);
    if (missing.length > 0 && this.#production) throw storageRequired(missing);
    const complete = {};
    for (const kind of KINDS) {
      const pieces = missing.filter((piece) => piece === kind || piece.startsWith(`${kind}.`));
      if (pieces.length === 0) complete[kind] = given[kind];
      else this.#warnOnce(kind, `Development mode: without storageAdapters.${pieces[0]}, ${MEMORY_ONLY[kind]}.`);
    }
    for (const adapter of Object.values(complete)) warnThrough(adapter, this.#warn);
    return complete;
  }

  /** Answers a question of the addon: what to call on it, and with what. Never rejects. */
  async answer(question, userId, rows) {
    const adapters = this.#adapters.get(userId);
    try {
      return await QUESTIONS[question](adapters, userId, rows, this);
    } catch (thrown) {
      const { error, saved } = thrown instanceof Partly ? thrown : { error: thrown, saved: [] };
      if (error instanceof Nonsense || error instanceof Overdue) return ['storeFailed', error.message, false, undefined, saved];
      return ['storeFailed', `${nameOf(question)} failed`, isConflict(error), keepCause(error), saved];
    }
  }

  /** Makes a call on the user's sessions, whose name is `name`, after those before it. */
  inTurn(userId, name, call) {
    if (!this.#turns.has(userId)) this.#turns.set(userId, new Turns());
    return this.#turns.get(userId).take(name, call);
  }
}

/** A store gave what no store may give; the message says what. */
class Nonsense extends Error {}

/** Some records were saved, and others were not. */
class Partly extends Error {
  constructor(error, saved) {
    super();
    this.error = error;
    this.saved = saved;
  }
}

const isConflict = (error) => error?.code === 'STORAGE_CONFLICT';

const NAMES = ['getIdentityKeyPair', 'load', 'save', 'checkAndMark', 'verifyFingerprint', 'storeFingerprint', 'storeFingerprint'];
const KIND_OF = ['identity', 'sessions', 'sessions', 'replay', 'tofu', 'tofu', 'tofu'];
const nameOf = (question) => `${KIND_OF[question]}.${NAMES[question]}()`;

async function identity({ identity: store }, userId) {
  const pair = await store.getIdentityKeyPair(userId);
  const halves = [bytesOf(pair?.publicKey), bytesOf(pair?.privateKey)];
  if (halves.some((half) => half === undefined)) {
    throw new Nonsense('identity.getIdentityKeyPair() gave no { publicKey, privateKey } of bytes');
  }
  return ['storeIdentity', ...halves];
}

async function load({ sessions }, userId, [peerId], storage) {
  const state = await storage.inTurn(userId, 'sessions.load()', () => sessions.load(peerId, userId));
  if (state === null || state === undefined) return ['storeLoaded', undefined];
  const bytes = bytesOf(state);
  if (bytes === undefined) throw new Nonsense('sessions.load() gave something else than what was saved');
  return ['storeLoaded', bytes];
}

async function save({ sessions }, userId, rows, storage) {
  const pairs = pairsOf(rows);
  const name = typeof sessions.saveMany === 'function' ? 'sessions.saveMany()' : 'sessions.save()';
  await storage.inTurn(userId, name, () => saveAll(sessions, userId, pairs));
  return ['storeDone'];
}

/** The records of peers at the same time, then, once they are there, the user's own. */
async function saveAll(sessions, userId, pairs) {
  if (typeof sessions.saveMany === 'function') return sessions.saveMany(userId, pairs);
  const isOwn = ([peerId]) => peerId === userId;
  const saved = await saveEach(sessions, userId, pairs.filter((pair) => !isOwn(pair)), []);
  await saveEach(sessions, userId, pairs.filter(isOwn), saved);
}

async function saveEach(sessions, userId, pairs, before) {
  const outcomes = await Promise.allSettled(pairs.map(async ([peerId, state]) => sessions.save(peerId, state, userId)));
  const saved = before.concat(pairs.filter((_, at) => outcomes[at].status === 'fulfilled').map(([peerId]) => peerId));
  const failed = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  if (failed.length > 0) throw new Partly(failed.find(isConflict) ?? failed[0], saved);
  return saved;
}

async function check({ replay }, userId, rows) {
  const pairs = pairsOf(rows);
  const seen = await checkAll(replay, userId, pairs);
  if (!Array.isArray(seen) || seen.length !== pairs.length || seen.some((one) => typeof one !== 'boolean')) {
    throw new Nonsense('replay.checkAndMark() gave something else than true or false');
  }
  return ['storeTold', seen];
}

async function checkAll(replay, userId, pairs) {
  if (pairs.length > 1 && typeof replay.checkAndMarkMany === 'function') {
    return replay.checkAndMarkMany(userId, pairs);
  }
  return Promise.all(pairs.map(async ([peerId, nonce]) => replay.checkAndMark(peerId, nonce, userId)));
}

async function verify({ tofu }, userId, [peerId, fingerprint]) {
  const matches = await tofu.verifyFingerprint(peerId, fingerprint, userId);
  if (matches !== null && matches !== undefined && typeof matches !== 'boolean') {
    throw new Nonsense('tofu.verifyFingerprint() gave something else than true, false or null');
  }
  return ['storeTold', [matches ?? null]];
}

async function pin({ tofu }, userId, [peerId, fingerprint]) {
  await tofu.storeFingerprint(peerId, fingerprint, userId);
  // Another process may have pinned another one since this one asked, and a store may keep that without a word.
  const matches = await tofu.verifyFingerprint(peerId, fingerprint, userId);
  if (matches === false) throw pinnedMeanwhile(peerId, fingerprint);
  if (matches !== true) throw new Nonsense('tofu.storeFingerprint() has kept nothing');
  return ['storeDone'];
}

/** The application has accepted another fingerprint. */
async function repin({ tofu }, userId, [peerId, fingerprint]) {
  const row = [peerId, fingerprint, userId];
  if (typeof tofu.replaceFingerprint === 'function') {
    await tofu.replaceFingerprint(...row);
    if ((await tofu.verifyFingerprint(...row)) !== true) throw keepsFormer(peerId, 'Let tofu.replaceFingerprint(peerId, fingerprint, userId) replace what is stored');
    return ['storeDone'];
  }
  const [stored] = await Promise.allSettled([(async () => tofu.storeFingerprint(...row))()]);
  const matches = await tofu.verifyFingerprint(...row);
  if (matches !== true && stored.status === 'rejected' && matches !== false) throw stored.reason;
  if (matches !== true) throw keepsFormer(peerId, 'Give the tofu adapter replaceFingerprint(peerId, fingerprint, userId), which replaces what is stored', stored.reason);
  return ['storeDone'];
}

function keepsFormer(peerId, action, cause) {
  const details = { peerId, ...(cause !== undefined && { cause }) };
  const message = `The tofu adapter keeps the former fingerprint of "${peerId}".`;
  return new StvorError('STORAGE_FAILED', message, `${action}, then call app.trust() again.`, false, details);
}

/** The adapters that the application's own code makes. */
async function madeBy(name, make) {
  try {
    return await make();
  } catch (cause) {
    if (cause instanceof StvorError) throw cause;
    throw new StvorError('STORAGE_FAILED', `${name} gave no adapters, but an error.`, 'See its cause, and try again.', true, { cause });
  }
}

async function isReady(kind, adapter) {
  const name = `storageAdapters.${kind}.ready()`;
  try {
    await answered(name, () => adapter.ready());
  } catch (cause) {
    if (cause instanceof StvorError) throw cause;
    throw new StvorError('STORAGE_FAILED', `${name} says that the store cannot work.`, 'Check the store and its connection, then try again.', true, { cause });
  }
}

/** `[a, b, c, d]` as `[[a, b], [c, d]]`. */
function pairsOf(flat) {
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]);
}

/** What a store may give for bytes: bytes, a Buffer's JSON form, or base64 of either alphabet. */
function bytesOf(value) {
  if (isUint8Array(value)) return Buffer.from(value);
  if (typeof value === 'string') return /^[A-Za-z0-9+/_-]+={0,2}$/.test(value) ? Buffer.from(value, 'base64') : undefined;
  const isJson = value?.type === 'Buffer' && Array.isArray(value.data);
  const isByte = (one) => Number.isInteger(one) && one >= 0 && one <= 255;
  return isJson && value.data.every(isByte) ? Buffer.from(value.data) : undefined;
}

/** The names of adapters and of methods that are missing, say `sessions` or `tofu.verifyFingerprint`. */
function missingPieces(given) {
  return KINDS.flatMap((kind) => {
    const adapter = given?.[kind];
    if (adapter === undefined || adapter === null) return [kind];
    const methods = Object.keys(METHODS[kind]).filter((method) => typeof adapter[method] !== 'function');
    return methods.map((method) => `${kind}.${method}`);
  });
}

function storageRequired(missing) {
  const names = missing.map((piece) => `storageAdapters.${piece}`).join(', ');
  return new StvorError(
    'STORAGE_REQUIRED',
    `Production mode needs durable storage: ${names} ${missing.length === 1 ? 'is' : 'are'} missing.`,
    'Give all four adapters with their methods; on one machine embeddedStorage({ path, key }) brings them all.',
  );
}

function storageShared(kinds) {
  const names = kinds.map((kind) => `storageAdapters.${kind}`).join(', ');
  return new StvorError(
    'STORAGE_SHARED',
    `${names} would keep two users of this app in the same rows.`,
    'Let the methods take the user id, which is their last argument, and keep it with each row; say perUser: true on an adapter that does so without declaring the parameter; or give storageAdapters as a function (userId) => adapters.',
  );
}

function storageInUse(userId) {
  return new StvorError(
    'STORAGE_SHARED',
    `Another app of this process serves "${userId}" from the same storageAdapters.sessions, and the two would overwrite each other's records.`,
    'Keep one app for a user, as createApp() makes it (Stvor.connect() makes one at each call), or disconnect there first.',
  );
}

function pinnedMeanwhile(peerId, fingerprint) {
  return new StvorError(
    'IDENTITY_CHANGED',
    `Another identity key than the one that "${peerId}" shows was pinned at the same moment. The step was not taken.`,
    `Compare the fingerprint with them over another channel, then call app.trust('${peerId}', '${fingerprint}').`,
    false,
    { peerId },
  );
}

module.exports = { Storage };
