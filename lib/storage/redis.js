'use strict';
// Replay protection in Redis. A nonce is marked by `SET key 1 EX ttl NX`, which exactly one of any number of
// processes wins. Works with the clients of `redis` (4 and later) and `ioredis`, clusters included.

const check = require('../arguments.js');
const { StvorError, assertOneOf, invalidArgument } = require('../errors.js');
const { disposable } = require('../disposable.js');

const OPTIONS = ['client', 'url', 'prefix', 'ttlSeconds'];
/** Sixty-eight years: Redis refuses times that overflow its milliseconds. */
const MAX_TTL_SECONDS = 2 ** 31 - 1;
/** What the SDK relies on: a nonce forgotten earlier could be played again. */
const MIN_TTL_SECONDS = 300;
/** How long the key stays that shows whether Redis takes writes. */
const PROBE_SECONDS = 1;
/** Longer ids are hashed in keys, which Redis keeps in memory. */
const MAX_PLAIN_ID = 96;

class RedisReplayCache {
  #connection;
  #client;
  #prefix;
  #ttlSeconds;

  constructor(options) {
    const { client, url, prefix = 'stvor', ttlSeconds = 300 } = check.options('options', options, OPTIONS);
    assertOneOf('options', { client, url }, ['client', 'url']);
    this.#prefix = text('prefix', prefix);
    this.#ttlSeconds = seconds('ttlSeconds', ttlSeconds);
    if (url === undefined) this.#client = clientOf(client);
    else this.#connection = ownConnection(address(url));
  }

  /** The methods take the user's id: one cache serves any number of users. */
  get perUser() {
    return true;
  }

  async checkAndMark(peerId, nonce, userId) {
    const [seen] = await this.#mark([this.#key(userId, peerId, nonce)]);
    return seen;
  }

  async checkAndMarkMany(userId, marks) {
    if (!Array.isArray(marks)) throw invalidArgument('marks', 'an array of [peerId, nonce]', marks);
    return this.#mark(marks.map(([peerId, nonce]) => this.#key(userId, peerId, nonce)));
  }

  /** Resolves when Redis is connected and takes writes, which a replica does not. */
  async ready() {
    await this.#mark([`${this.#prefix}:ready`], PROBE_SECONDS);
  }

  async close() {
    await this.#connection?.close();
  }

  async #mark(keys, ttlSeconds = this.#ttlSeconds) {
    if (keys.length === 0) return [];
    const mark = (client) => setAll(client, keys, ttlSeconds);
    const answers = await (this.#connection === undefined ? mark(this.#client) : this.#connection.use(mark));
    return answers.map(seenBefore);
  }

  #key(userId, peerId, nonce) {
    const ids = `${part('userId', userId)}:${part('peerId', peerId)}`;
    return `${this.#prefix}:replay:${ids}:${Buffer.from(check.bytes('nonce', nonce)).toString('hex')}`;
  }
}
disposable(RedisReplayCache, 'close');

// Whoever imports this package loads this file: what it seldom needs is loaded where it is needed.

function ownConnection(url) {
  const { RedisConnection } = require('./redis-connection.js');
  return new RedisConnection(url);
}

function hashed(id) {
  const { createHash } = require('node:crypto');
  return createHash('sha256').update(id).digest('hex');
}

function redisReplayCache(options) {
  return new RedisReplayCache(options);
}

/** An id within a key. Escaped, it holds no ':' that could end it; a hash begins with '#', which escaping removes. */
function part(name, id) {
  const escaped = encodeURIComponent(check.userId(name, id));
  if (escaped.length <= MAX_PLAIN_ID) return escaped;
  return `#${hashed(id)}`;
}

/** Sends one SET for each key, all before the first answer: one round trip. */
async function setAll(client, keys, ttlSeconds) {
  if (typeof client.pipeline !== 'function') {
    // node-redis writes together what is asked in the same tick.
    return Promise.all(keys.map((key) => client.set(key, '1', { EX: ttlSeconds, NX: true })));
  }
  // A pipeline of ioredis must not span the nodes of a cluster.
  if (client.isCluster || keys.length === 1) {
    return Promise.all(keys.map((key) => client.set(key, '1', 'EX', ttlSeconds, 'NX')));
  }
  const pipeline = client.pipeline();
  for (const key of keys) pipeline.set(key, '1', 'EX', ttlSeconds, 'NX');
  return (await pipeline.exec()).map(([error, answer]) => {
    if (error) throw error;
    return answer;
  });
}

function seenBefore(answer) {
  if (answer === null) return true;
  if (String(answer) === 'OK') return false;
  throw new StvorError(
    'STORAGE_FAILED',
    'The Redis client does not answer SET with OK or null.',
    'Pass a client of redis (4 or later, without legacyMode) or ioredis.',
  );
}

function clientOf(value) {
  if (typeof value?.set === 'function') return value;
  throw invalidArgument('client', 'a client of redis (4 or later) or ioredis', value);
}

function text(name, value) {
  if (typeof value === 'string' && value !== '') return value;
  throw invalidArgument(name, 'a non-empty string', value);
}

function address(value) {
  if (typeof value === 'string' && /^rediss?:\/\//i.test(value)) return value;
  throw invalidArgument('url', 'a redis:// or rediss:// address', value);
}

function seconds(name, value) {
  if (Number.isInteger(value) && value >= MIN_TTL_SECONDS && value <= MAX_TTL_SECONDS) return value;
  throw invalidArgument(name, `a whole number of seconds from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS}`, value);
}

module.exports = { RedisReplayCache, redisReplayCache, seconds };
