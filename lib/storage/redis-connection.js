'use strict';
// A Redis connection of our own, through whichever client package the user has installed. The first use opens
// it; when it is lost, the uses under way are rejected and the next one opens another. Nothing goes on in the
// background, and an idle connection does not keep the process alive.

const { StvorError } = require('../errors.js');
const { installed } = require('./installed.js');

const CONNECT_TIMEOUT_MS = 5_000;

class RedisConnection {
  #connect;
  /** `{ lost, opened: Promise<{ client, hold, end }>, uses }` */
  #current;
  #closed = false;

  constructor(url) {
    const { name, module } = installed('url', ['redis', 'ioredis']);
    const connect = name === 'redis' ? connectNodeRedis : connectIoredis;
    this.#connect = (onLost) => connect(module, url, onLost);
  }

  /** Runs `work(client)` on the open connection. */
  async use(work) {
    if (this.#closed) throw closed();
    if (this.#current === undefined || this.#current.lost) this.#current = this.#start();
    const current = this.#current;
    const { client, hold } = await current.opened;
    current.uses += 1;
    if (current.uses === 1) hold(true);
    try {
      return await work(client);
    } finally {
      current.uses -= 1;
      if (current.uses === 0) hold(false);
    }
  }

  async close() {
    this.#closed = true;
    const connection = await this.#current?.opened.catch(() => undefined);
    await connection?.end();
  }

  #start() {
    const current = { lost: false, uses: 0 };
    const onLost = () => {
      current.lost = true;
    };
    current.opened = this.#connect(onLost);
    current.opened.catch(onLost);
    return current;
  }
}

async function connectNodeRedis({ createClient }, url, onLost) {
  const reconnectStrategy = (_retries, cause) => cause ?? new Error('The connection to Redis was lost.');
  const socket = { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy };
  const client = createClient({ url, disableOfflineQueue: true, socket });
  client.on('error', onLost).on('end', onLost);
  await client.connect();
  const hold = (held) => (held ? client.ref() : client.unref());
  const end = async () => {
    if (client.isOpen) await (client.destroy ?? client.disconnect).call(client);
  };
  return { client, hold, end };
}

async function connectIoredis(ioredis, url, onLost) {
  const Redis = ioredis.Redis ?? ioredis.default ?? ioredis;
  const client = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on('error', onLost).on('end', onLost);
  await client.connect();
  const hold = (held) => (held ? client.stream?.ref?.() : client.stream?.unref?.());
  const end = async () => client.disconnect();
  return { client, hold, end };
}

function closed() {
  return new StvorError('STORAGE_FAILED', 'The store was closed.', 'Make a new store, and close it last.');
}

module.exports = { RedisConnection };
