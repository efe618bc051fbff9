// The Redis replay cache against a real Redis, with every client that applications use.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RedisReplayCache, redisReplayCache } from '@stvor/sdk';
import { checkAdapters } from '@stvor/sdk/testing';
import { createClient } from 'redis';
import { program, root } from './support/child.mjs';
import { proxyTo } from './support/proxy.mjs';
import { redisClients } from './support/redis-clients.mjs';
import { services } from './support/services.mjs';

const prefix = `stvor-test-${randomBytes(8).toString('hex')}`;
const nonce = () => randomBytes(12);
let running;
let redisUrl;
let admin;

before(async () => {
  running = await services();
  ({ redisUrl } = running);
  admin = createClient({ url: redisUrl });
  await admin.connect();
});

after(async () => {
  const keys = await admin.keys(`${prefix}*`);
  if (keys.length > 0) await admin.del(keys);
  admin.destroy();
  await running.close();
});

async function connected(t, name, url = redisUrl) {
  const { client, end } = await redisClients[name](url);
  t.after(end);
  return client;
}

for (const name of Object.keys(redisClients)) {
  describe(`with ${name}`, () => {
    test('the cache keeps every rule of the conformance suite', async (t) => {
      const client = await connected(t, name);
      const other = await connected(t, name);
      const open = (one) => ({ replay: redisReplayCache({ client: one, prefix }) });
      const { passed, skipped } = await checkAdapters(open(client), { only: ['replay'], reopen: () => open(other) });
      assert.ok(passed.includes('replay-atomic') && passed.includes('replay-many'));
      assert.deepEqual(skipped, []);
    });

    test('many nonces cost one round trip', { timeout: 20_000 }, async (t) => {
      const proxy = await proxyTo(t, redisUrl);
      const cache = redisReplayCache({ client: await connected(t, name, proxy.url), prefix });
      const marks = Array.from({ length: 100 }, (_, i) => [`peer ${i % 7}`, nonce()]);
      // An answer comes only when all have been asked: whoever waits for one in between waits for ever.
      proxy.hold(marks.length, '\r\nNX\r\n');
      assert.deepEqual(await cache.checkAndMarkMany('alice', marks), marks.map(() => false));
      proxy.hold(marks.length, '\r\nNX\r\n');
      assert.deepEqual(await cache.checkAndMarkMany('alice', [...marks].reverse()), marks.map(() => true));
    });

    test('ready() resolves while it is connected, leaves nothing, and rejects otherwise', { timeout: 20_000 }, async (t) => {
      const { client, end } = await redisClients[name](redisUrl);
      const cache = redisReplayCache({ client, prefix: `${prefix}-probe` });
      assert.equal(await cache.ready(), undefined);
      await cache.ready();
      const ttl = await admin.ttl(`${prefix}-probe:ready`);
      assert.ok(ttl <= 1 && ttl !== -1, String(ttl));
      await end();
      await assert.rejects(cache.ready());
    });

    test('a lost connection rejects, and nothing is taken for new or seen', { timeout: 20_000 }, async (t) => {
      const proxy = await proxyTo(t, redisUrl);
      const { client, end } = await redisClients[name](proxy.url);
      const cache = redisReplayCache({ client, prefix });
      await cache.checkAndMark('bob', nonce(), 'alice');
      await end();
      await assert.rejects(cache.checkAndMark('bob', nonce(), 'alice'));
      await assert.rejects(cache.checkAndMarkMany('alice', [['bob', nonce()], ['carol', nonce()]]));
    });
  });
}

describe('keys', () => {
  test('are prefix, user, peer and nonce, readable, and expire', async (t) => {
    const client = await connected(t, 'redis 6');
    const bytes = Buffer.from('00112233445566778899aabb', 'hex');
    await redisReplayCache({ client, prefix, ttlSeconds: 377 }).checkAndMark('bob:1', bytes, 'alice@example.com');
    const key = `${prefix}:replay:alice%40example.com:bob%3A1:00112233445566778899aabb`;
    assert.equal(await admin.get(key), '1');
    const ttl = await admin.ttl(key);
    assert.ok(ttl > 370 && ttl <= 377, String(ttl));
  });

  test('last five minutes unless said otherwise', async (t) => {
    const client = await connected(t, 'ioredis 6');
    await redisReplayCache({ client, prefix: `${prefix}-default` }).checkAndMark('bob', Buffer.alloc(12), 'alice');
    const ttl = await admin.ttl(`${prefix}-default:replay:alice:bob:${'00'.repeat(12)}`);
    assert.ok(ttl > 290 && ttl <= 300, String(ttl));
  });

  test('are short for long ids', async (t) => {
    const cache = redisReplayCache({ client: await connected(t, 'redis 6'), prefix: `${prefix}-long` });
    await cache.checkAndMark('\u{1f510}'.repeat(64), nonce(), 'x'.repeat(256));
    const [key] = await admin.keys(`${prefix}-long*`);
    assert.match(key, /^[^:]*:replay:#[0-9a-f]{64}:#[0-9a-f]{64}:[0-9a-f]{24}$/);
  });

  test('are apart for each prefix', async (t) => {
    const client = await connected(t, 'redis 6');
    const once = nonce();
    for (const app of ['one', 'two']) {
      assert.equal(await redisReplayCache({ client, prefix: `${prefix}-${app}` }).checkAndMark('bob', once, 'alice'), false);
    }
  });
});

describe('with an address', () => {
  test('the cache keeps every rule of the conformance suite', async (t) => {
    const open = () => {
      const replay = redisReplayCache({ url: redisUrl, prefix });
      t.after(() => replay.close());
      return { replay };
    };
    await checkAdapters(open(), { only: ['replay'], reopen: open });
  });

  for (const hidden of ['ioredis', 'redis']) {
    test(`the other package serves where ${hidden} is not installed, and an idle cache lets the process end`, async (t) => {
      const { code, lines, stderr } = await hiding(t, [hidden], `
        const cache = redisReplayCache({ url: ${JSON.stringify(redisUrl)}, prefix: ${JSON.stringify(prefix)} });
        const nonce = Buffer.from('${nonce().toString('hex')}', 'hex');
        console.log(await cache.checkAndMark('bob', nonce, 'alice'), await cache.checkAndMark('bob', nonce, 'alice'));`).ended;
      assert.deepEqual([code, lines, stderr], [0, ['false true'], '']);
    });

    test(`a connection that was lost is opened again by the next use, without ${hidden}`, { timeout: 20_000 }, async (t) => {
      const proxy = await proxyTo(t, redisUrl);
      proxy.sever(2, '\r\nNX\r\n');
      const { code, lines, stderr } = await hiding(t, [hidden], `
        import { randomBytes } from 'node:crypto';
        const cache = redisReplayCache({ url: ${JSON.stringify(proxy.url)}, prefix: ${JSON.stringify(prefix)} });
        for (let use = 0; use < 3; use += 1) {
          console.log(await cache.checkAndMark('bob', randomBytes(12), 'alice').catch(() => 'rejected'));
        }
        await cache.close();
        console.log(await cache.checkAndMark('bob', randomBytes(12), 'alice').catch((error) => error.code));`).ended;
      assert.deepEqual([code, lines, stderr], [0, ['false', 'rejected', 'false', 'STORAGE_FAILED'], '']);
    });
  }

  test('where nothing listens, uses are rejected at once, and the process ends', async (t) => {
    for (const hidden of ['ioredis', 'redis']) {
      const { code, lines, stderr } = await hiding(t, [hidden], `
        const cache = redisReplayCache({ url: 'redis://127.0.0.1:1' });
        for (let i = 0; i < 2; i += 1) {
          await cache.checkAndMark('bob', Buffer.alloc(12), 'alice').catch((error) => console.log('rejected'));
        }`).ended;
      assert.deepEqual([code, lines, stderr], [0, ['rejected', 'rejected'], '']);
    }
  });

  test('without a client package, the error says what to install', async (t) => {
    const { lines } = await hiding(t, ['redis', 'ioredis'], `
      try { redisReplayCache({ url: 'redis://127.0.0.1' }); } catch (error) { console.log(error.code, error.message, error.action); }`).ended;
    assert.match(lines[0], /^INVALID_ARGUMENT url needs redis or ioredis, which is not installed\. Run `npm install redis`/);
  });
});

/** A program that does not find the packages `hidden`. */
function hiding(t, hidden, code) {
  const preload = join(root, '__test__', 'support', 'hidden-packages.cjs');
  return program(t, {
    code: `import { redisReplayCache } from '@stvor/sdk';\n${code}`,
    env: { HIDDEN_PACKAGES: hidden.join(), NODE_OPTIONS: `--require=${JSON.stringify(preload)}` },
  });
}

describe('arguments', () => {
  const client = { set: async () => 'OK' };

  test('that cannot be right are refused', () => {
    const wrong = [
      undefined, null, {}, { client, url: redisUrl }, { client: {} }, { client: 7 }, { url: '' }, { url: 'http://localhost:6379' }, { url: 'localhost:6379' }, { url: 7 }, { client, prefix: '' },
      { client, ttlSeconds: 0 }, { client, ttlSeconds: 299 }, { client, ttlSeconds: 1.5 }, { client, ttlSeconds: 2 ** 31 }, { client, ttl: 300 },
    ];
    for (const options of wrong) assert.throws(() => redisReplayCache(options), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => redisReplayCache({}), { message: /^options must .*: neither client nor url is given\.$/ });
    assert.throws(() => redisReplayCache({ client, url: redisUrl }), { message: /: both client and url are given\.$/ });
  });

  test('of calls are checked before Redis is asked', async () => {
    const cache = redisReplayCache({ client: { set: () => assert.fail('asked') } });
    for (const args of [['bob', nonce()], ['', nonce(), 'alice'], ['bob', 'text', 'alice'], ['\ud800', nonce(), 'alice']]) {
      await assert.rejects(cache.checkAndMark(...args), { code: 'INVALID_ARGUMENT' });
    }
    await assert.rejects(cache.checkAndMarkMany('alice', 'bob'), { code: 'INVALID_ARGUMENT' });
  });

  test('RedisReplayCache is the class of what redisReplayCache makes', () => {
    assert.ok(redisReplayCache({ client }) instanceof RedisReplayCache);
    assert.ok(new RedisReplayCache({ client }).perUser);
  });
});

describe('a client', () => {
  test("that rejects, rejects with its own error", async () => {
    const failure = new Error('READONLY You cannot write against a read only replica.');
    const single = redisReplayCache({ client: { set: async () => Promise.reject(failure) } });
    await assert.rejects(single.checkAndMark('bob', nonce(), 'alice'), (error) => error === failure);
    const pipeline = () => ({ set() {}, exec: async () => [[null, 'OK'], [failure, undefined]] });
    const many = redisReplayCache({ client: { set() {}, pipeline } });
    await assert.rejects(many.checkAndMarkMany('alice', [['bob', nonce()], ['bob', nonce()]]), (error) => error === failure);
  });

  test('that answers neither OK nor null, as one with callbacks does, is not believed', async () => {
    for (const answer of [true, undefined, 1, 'QUEUED']) {
      const cache = redisReplayCache({ client: { set: async () => answer } });
      await assert.rejects(cache.checkAndMark('bob', nonce(), 'alice'), { code: 'STORAGE_FAILED' });
    }
  });

  test('of a cluster is asked for each key by itself', async () => {
    const asked = [];
    const set = async (key) => {
      asked.push(key);
      return 'OK';
    };
    const cache = redisReplayCache({ client: { isCluster: true, set, pipeline: () => assert.fail('a pipeline') } });
    assert.deepEqual(await cache.checkAndMarkMany('alice', [['bob', nonce()], ['carol', nonce()]]), [false, false]);
    assert.equal(asked.length, 2);
  });
});
