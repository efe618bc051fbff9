// The Redis clients that applications use, each version under one interface.
import ioredis6 from 'ioredis';
import ioredis5 from 'ioredis-5';
import * as redis6 from 'redis';
import * as redis4 from 'redis-4';
import * as redis5 from 'redis-5';

/** For each client: connects to `url`; `{ client, end() }`. */
export const redisClients = {
  'redis 4': (url) => nodeRedis(redis4, url),
  'redis 5': (url) => nodeRedis(redis5, url),
  'redis 6': (url) => nodeRedis(redis6, url),
  'ioredis 5': (url) => ioredis(ioredis5.Redis, url),
  'ioredis 6': (url) => ioredis(ioredis6.Redis, url),
};

async function nodeRedis({ createClient }, url) {
  const client = createClient({ url });
  client.on('error', () => {});
  await client.connect();
  return { client, end: async () => (client.destroy ?? client.disconnect).call(client) };
}

async function ioredis(Redis, url) {
  const client = new Redis(url, { lazyConnect: true });
  client.on('error', () => {});
  await client.connect();
  return { client, end: async () => client.disconnect() };
}
