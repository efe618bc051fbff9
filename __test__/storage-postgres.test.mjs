// The PostgreSQL storage against a real PostgreSQL: rules, concurrency between processes, sealing, failures.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { postgresStorage, redisReplayCache } from '@stvor/sdk';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { checkAdapters } from '@stvor/sdk/testing';
import pg from 'pg';
import { program, root } from './support/child.mjs';
import { warnings } from './support/collect.mjs';
import { proxyTo } from './support/proxy.mjs';
import { appOn, mockRelay } from './support/relays.mjs';
import { services } from './support/services.mjs';

const key = randomBytes(32);
const schemas = [];
let running;
let databaseUrl;
let admin;

before(async () => {
  running = await services();
  ({ databaseUrl } = running);
  admin = pooled();
});

after(async () => {
  for (const schema of schemas) await admin.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
  await admin.end();
  await running.close();
});

function pooled(options) {
  return new pg.Pool({ connectionString: databaseUrl, ...options });
}

/** A schema that does not exist yet, dropped after the tests. */
function newSchema() {
  const schema = `Stvor_test_${randomBytes(8).toString('hex')}`;
  schemas.push(schema);
  return schema;
}

/** A pool that ends after the test and counts what is asked: `pool.asked`. */
function counted(t, options) {
  const pool = pooled(options);
  t.after(() => pool.end());
  const { query } = pool;
  pool.asked = [];
  pool.query = (text, values) => {
    pool.asked.push(text);
    return query.call(pool, text, values);
  };
  return pool;
}

/** Storage in a schema, on a pool of its own. */
function open(t, schema, options = { key }) {
  return postgresStorage({ pool: counted(t), schema, ...options });
}

const state = (text) => Buffer.from(text);

test('an identity made elsewhere is kept, unless the user has another', async (t) => {
  const { identity } = open(t, newSchema());
  const [pair, other] = [generateKeyPair(), generateKeyPair()];
  await identity.importIdentityKeyPair(pair, 'alice');
  await identity.importIdentityKeyPair(pair, 'alice');
  assert.deepEqual(await identity.getIdentityKeyPair('alice'), pair);
  await assert.rejects(identity.importIdentityKeyPair(other, 'alice'), { name: 'StvorError', code: 'IDENTITY_CONFLICT' });
  assert.deepEqual(await identity.getIdentityKeyPair('alice'), pair);
});

test('two apps of one process do not serve a user from one storage, and do from a storage each', async (t) => {
  const relay = await mockRelay(t);
  const schema = newSchema();
  const storages = [open(t, schema), open(t, schema)];
  const app = (storageAdapters) => appOn(t, relay, { productionMode: true, storageAdapters });
  await (await app(storages[0])).connect('alice');
  await assert.rejects((await app(storages[0])).connect('alice'), { code: 'STORAGE_SHARED' });
  await (await app(storages[1])).connect('alice');
});

describe('the storage keeps every rule of the conformance suite', () => {
  const settings = {
    'as it is': {},
    'in serialisable transactions': { options: '-c default_transaction_isolation=serializable' },
    'on one connection': { max: 1 },
    'with types left as text': { types: { getTypeParser: () => (value) => value } },
  };
  for (const [setting, options] of Object.entries(settings)) {
    test(setting, async (t) => {
      const schema = newSchema();
      const make = () => postgresStorage({ pool: counted(t, options), schema, key });
      const { skipped } = await checkAdapters(make(), { reopen: make });
      assert.deepEqual(skipped, []);
    });
  }

  test('with an address of its own, a passphrase, and Redis for replays', async (t) => {
    const schema = newSchema();
    const make = () => {
      const storage = postgresStorage({ connectionString: databaseUrl, schema, passphrase: 'correct horse battery staple' });
      const replay = redisReplayCache({ url: running.redisUrl, prefix: schema });
      t.after(() => Promise.all([storage.close(), replay.close()]));
      return { ...storage, replay };
    };
    await checkAdapters(make(), { reopen: make });
  });
});

describe('many processes', () => {
  /** Starts a program that waits, once it is ready, until all are: `{ go(), line }`. */
  function racer(t, code) {
    const text = `
      import { once } from 'node:events';
      import { postgresStorage } from '@stvor/sdk';
      console.log('ready');
      process.stdin.resume();
      await once(process.stdin, 'end');
      ${code}`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', text], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value;
    return { go: () => child.stdin.end(), line, ended: once(child, 'exit') };
  }

  test('fifty that start at once on an empty database agree on one identity', { timeout: 120_000 }, async (t) => {
    const options = JSON.stringify({ connectionString: databaseUrl, schema: newSchema(), key: key.toString('hex') });
    const racers = Array.from({ length: 50 }, () => racer(t, `
      const { key, ...options } = ${options};
      const { identity } = postgresStorage({ ...options, key: Buffer.from(key, 'hex') });
      const { publicKey, privateKey } = await identity.getIdentityKeyPair('alice');
      console.log(publicKey.toString('hex') + privateKey.toString('hex'));`));
    for (const one of racers) assert.equal(await one.line(), 'ready');
    for (const one of racers) one.go();
    const identities = await Promise.all(racers.map((one) => one.line()));
    assert.equal(new Set(identities).size, 1);
    assert.match(identities[0], /^04[0-9a-f]{192}$/);
    assert.deepEqual(await Promise.all(racers.map((one) => one.ended)), racers.map(() => [0, null]));
  });

  test('that take steps on one record never lose one', { timeout: 60_000 }, async (t) => {
    const schema = newSchema();
    const options = JSON.stringify({ connectionString: databaseUrl, schema, key: key.toString('hex') });
    const racers = Array.from({ length: 4 }, (_, number) => racer(t, `
      const { key, ...options } = ${options};
      const { sessions } = postgresStorage({ ...options, key: Buffer.from(key, 'hex') });
      let conflicts = 0;
      for (let step = 0; step < 25; ) {
        const steps = (await sessions.load('bob', 'alice'))?.toString() ?? '';
        try {
          await sessions.save('bob', Buffer.from(steps + ' ${number}.' + step), 'alice');
          step += 1;
        } catch (error) {
          if (error.code !== 'STORAGE_CONFLICT') throw error;
          conflicts += 1;
        }
      }
      console.log(conflicts);`));
    for (const one of racers) await one.line();
    for (const one of racers) one.go();
    const conflicts = await Promise.all(racers.map((one) => one.line()));
    assert.ok(conflicts.some((count) => Number(count) > 0), 'the processes have never met');
    const steps = (await open(t, schema).sessions.load('bob', 'alice')).toString().trim().split(' ');
    assert.equal(steps.length, 100);
    assert.equal(new Set(steps).size, 100);
  });
});

describe('two stores of one record', () => {
  test('one gets STORAGE_CONFLICT, loads, saves, and both steps are there', async (t) => {
    const schema = newSchema();
    const [one, two] = [open(t, schema).sessions, open(t, schema).sessions];
    await one.save('bob', state('0'), 'alice');
    await two.load('bob', 'alice');
    await one.save('bob', state('0 one'), 'alice');
    const error = await two.save('bob', state('0 two'), 'alice').catch((reason) => reason);
    assert.deepEqual([error.code, error.retryable, error.peerId], ['STORAGE_CONFLICT', true, 'bob']);
    const loaded = await two.load('bob', 'alice');
    await two.save('bob', state(`${loaded} two`), 'alice');
    assert.equal(String(await one.load('bob', 'alice')), '0 one two');
  });

  test('a conflict in one of many records leaves all as they were', async (t) => {
    const schema = newSchema();
    const [one, two] = [open(t, schema).sessions, open(t, schema).sessions];
    await one.saveMany('alice', [['bob', state('b0')], ['carol', state('c0')]]);
    for (const peer of ['bob', 'carol']) await two.load(peer, 'alice');
    await one.save('carol', state('c1'), 'alice');
    const rows = [['bob', state('b2')], ['carol', state('c2')], ['dave', state('d2')]];
    await assert.rejects(two.saveMany('alice', rows), { code: 'STORAGE_CONFLICT' });
    const loaded = await Promise.all(rows.map(([peer]) => two.load(peer, 'alice')));
    assert.deepEqual(loaded.map((bytes) => bytes && String(bytes)), ['b0', 'c1', null]);
    await two.saveMany('alice', rows);
    assert.equal(String(await one.load('dave', 'alice')), 'd2');
  });

  test('one saveMany may have more rows than a statement has parameters, and is still all or none', async (t) => {
    const schema = newSchema();
    const [one, two] = [open(t, schema).sessions, open(t, schema).sessions];
    const rows = (text) => Array.from({ length: 16_001 }, (_, i) => [`peer ${i}`, state(`${text} ${i}`)]);
    await one.saveMany('alice', rows('first'));
    await one.saveMany('alice', rows('second'));
    await assert.rejects(two.saveMany('alice', [['new', state('0')], ...rows('third')]), { code: 'STORAGE_CONFLICT' });
    const { rows: [{ count }] } = await admin.query(`SELECT count(*)::int FROM "${schema}".sessions`);
    assert.equal(count, 16_001);
    assert.equal(String(await two.load('peer 16000', 'alice')), 'second 16000');
  });

  test('a record that was deleted meanwhile is not made again by a save', async (t) => {
    const schema = newSchema();
    const { sessions } = open(t, schema);
    await sessions.save('bob', state('0'), 'alice');
    await admin.query(`DELETE FROM "${schema}".sessions`);
    await assert.rejects(sessions.save('bob', state('1'), 'alice'), { code: 'STORAGE_CONFLICT' });
    await assert.rejects(sessions.saveMany('alice', [['bob', state('1')], ['carol', state('1')]]), { code: 'STORAGE_CONFLICT' });
    assert.equal(await sessions.load('bob', 'alice'), null);
    await sessions.save('bob', state('2'), 'alice');
    assert.equal(String(await sessions.load('bob', 'alice')), '2');
  });

  test('among saves at once, one conflict harms no other', async (t) => {
    const schema = newSchema();
    const [one, two] = [open(t, schema).sessions, open(t, schema).sessions];
    await one.save('bob', state('0'), 'alice');
    const peers = ['adam', 'bob', 'carol', 'dave'];
    const outcomes = await Promise.allSettled(peers.map((peer) => two.save(peer, state('2'), 'alice')));
    assert.deepEqual(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    assert.equal(outcomes[1].reason.code, 'STORAGE_CONFLICT');
    const loaded = await Promise.all(peers.map((peer) => one.load(peer, 'alice')));
    assert.deepEqual(loaded.map(String), ['2', '0', '2', '2']);
  });
});

describe('round trips', () => {
  test('each call of a step is one query', async (t) => {
    const pool = counted(t);
    const { sessions, replay, tofu } = postgresStorage({ pool, schema: newSchema(), key });
    await sessions.load('bob', 'alice');
    const calls = {
      load: () => sessions.load('bob', 'alice'),
      save: () => sessions.save('bob', state('1'), 'alice'),
      saveMany: () => sessions.saveMany('alice', [['bob', state('2')], ['carol', state('2')], ['alice', state('2')]]),
      checkAndMark: () => replay.checkAndMark('bob', randomBytes(12), 'alice'),
      verifyFingerprint: () => tofu.verifyFingerprint('bob', 'a'.repeat(64), 'alice'),
      storeFingerprint: () => tofu.storeFingerprint('bob', 'a'.repeat(64), 'alice'),
    };
    for (const [name, call] of Object.entries(calls)) {
      const before = pool.asked.length;
      await call();
      assert.equal(pool.asked.length - before, 1, name);
    }
  });

  test('what waits is written together', async (t) => {
    const pool = counted(t);
    const { sessions, replay } = postgresStorage({ pool, schema: newSchema(), key });
    await sessions.load('bob', 'alice');
    const before = pool.asked.length;
    const peers = Array.from({ length: 200 }, (_, i) => `peer ${i}`);
    await Promise.all(peers.map((peer, i) => sessions.save(peer, state(peer), `user ${i % 3}`)));
    await Promise.all(peers.map((peer) => replay.checkAndMark(peer, randomBytes(12), 'alice')));
    assert.ok(pool.asked.length - before <= 4, String(pool.asked.length - before));
    for (const [i, peer] of peers.entries()) assert.equal(String(await sessions.load(peer, `user ${i % 3}`)), peer);
  });

  test('saves of one record that are not awaited are written in their order', async (t) => {
    const { sessions } = open(t, newSchema());
    await Promise.all(Array.from({ length: 20 }, (_, i) => sessions.save('bob', state(String(i)), 'alice')));
    assert.equal(String(await sessions.load('bob', 'alice')), '19');
  });
});

describe('the tables', () => {
  test('are made once: an account that may not create anything can use them', async (t) => {
    const schema = newSchema();
    await open(t, schema).identity.getIdentityKeyPair('alice');
    const role = schema.toLowerCase();
    await admin.query(`CREATE ROLE "${role}" LOGIN; GRANT USAGE ON SCHEMA "${schema}" TO "${role}";
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "${schema}" TO "${role}"`);
    try {
      const address = new URL(databaseUrl);
      address.username = role;
      const make = () => postgresStorage({ pool: counted(t, { connectionString: address.href }), schema, key });
      await checkAdapters(make(), { reopen: make });
    } finally {
      await admin.query(`DROP OWNED BY "${role}"; DROP ROLE "${role}"`);
    }
  });

  test('are made in a schema that the administrator has made', async (t) => {
    const schema = newSchema();
    await admin.query(`CREATE SCHEMA "${schema}"`);
    await open(t, schema).sessions.save('bob', state('1'), 'alice');
  });

  test('of a later version are refused', async (t) => {
    const schema = newSchema();
    await open(t, schema).sessions.load('bob', 'alice');
    await admin.query(`UPDATE "${schema}".settings SET value = '\\x63' WHERE name = 'layout'`);
    await assert.rejects(open(t, schema).sessions.load('bob', 'alice'), { code: 'STORAGE_DAMAGED', message: /later version/, retryable: false });
  });

  test('are apart for each schema', async (t) => {
    const [one, two] = [open(t, newSchema()), open(t, newSchema())];
    await one.sessions.save('bob', state('1'), 'alice');
    assert.equal(await two.sessions.load('bob', 'alice'), null);
  });
});

describe('identities', () => {
  const pairOf = async ({ identity }, user = 'alice') => identity.getIdentityKeyPair(user);

  test('are sealed: the database holds no private key', async (t) => {
    for (const secret of [{ key }, { passphrase: 'correct horse' }, { passphrase: Buffer.from('battery staple') }]) {
      const schema = newSchema();
      const { privateKey } = await pairOf(open(t, schema, secret));
      const { rows } = await admin.query(`SELECT i::text AS dump FROM "${schema}".identities i UNION ALL SELECT s::text FROM "${schema}".settings s`);
      const dump = rows.map((row) => row.dump).join('\n');
      assert.ok(!dump.includes(privateKey.toString('hex')));
      assert.deepEqual((await pairOf(open(t, schema, secret))).privateKey, privateKey);
    }
  });

  test('of another key or passphrase, or none, are STORAGE_KEY, for users new and old, and stay as they are', async (t) => {
    for (const right of [{ key }, { passphrase: 'right' }]) {
      const schema = newSchema();
      const made = await pairOf(open(t, schema, right));
      const printed = warnings(t);
      for (const wrong of [{ key: randomBytes(32) }, { passphrase: 'wrong' }, {}]) {
        const storage = open(t, schema, wrong);
        for (const user of ['alice', 'bob']) {
          await assert.rejects(pairOf(storage, user), { code: 'STORAGE_KEY', retryable: false });
        }
      }
      const { rows } = await admin.query(`SELECT count(*)::int AS count FROM "${schema}".identities`);
      assert.equal(rows[0].count, 1);
      assert.deepEqual(await pairOf(open(t, schema, right)), made);
      assert.equal(printed.size, 0, 'nothing is said of unsealed identities where they are sealed');
    }
  });

  test('made elsewhere are taken for users who have none', async (t) => {
    const storage = open(t, newSchema());
    const [given, other] = [generateKeyPair(), generateKeyPair()];
    for (let time = 0; time < 2; time += 1) {
      assert.deepEqual(await storage.identity.importIdentityKeyPair(given, 'alice'), given);
    }
    assert.deepEqual(await pairOf(storage, 'alice'), given);
    await assert.rejects(storage.identity.importIdentityKeyPair(other, 'alice'), { code: 'IDENTITY_CONFLICT' });
    assert.deepEqual(await pairOf(storage, 'alice'), given);
    const wrong = [
      undefined, {}, { ...given, publicKey: other.publicKey }, { ...given, privateKey: Buffer.alloc(32) },
      { ...given, privateKey: given.privateKey.subarray(1) },
    ];
    for (const pair of wrong) await assert.rejects(storage.identity.importIdentityKeyPair(pair, 'bob'), { code: 'INVALID_ARGUMENT' });
  });

  test('open by the same passphrase in whichever Unicode form it is typed', async (t) => {
    const schema = newSchema();
    const made = await pairOf(open(t, schema, { passphrase: 'caf\u00e9' }));
    assert.deepEqual(await pairOf(open(t, schema, { passphrase: 'cafe\u0301' })), made);
  });

  test('moved to another user, or altered, are refused', async (t) => {
    const schema = newSchema();
    const storage = open(t, schema);
    await pairOf(storage, 'alice');
    await pairOf(storage, 'mallory');
    await admin.query(`UPDATE "${schema}".identities SET private_key = (SELECT private_key FROM "${schema}".identities WHERE user_id = 'mallory') WHERE user_id = 'alice'`);
    await assert.rejects(pairOf(storage, 'alice'), { code: 'STORAGE_KEY' });
    await admin.query(`UPDATE "${schema}".identities SET private_key = '\\x00' WHERE user_id = 'mallory'`);
    await assert.rejects(pairOf(storage, 'mallory'), { code: 'STORAGE_KEY' });
  });

  test('without a key are kept in clear, with one warning for the process', async (t) => {
    const schema = newSchema();
    const { lines, stderr } = await program(t, { code: `
      import { postgresStorage } from '@stvor/sdk';
      process.on('warning', ({ name, code }) => console.log(name, code));
      const make = () => postgresStorage({ connectionString: ${JSON.stringify(databaseUrl)}, schema: '${schema}' });
      const pairs = await Promise.all([make(), make()].map(({ identity }) => identity.getIdentityKeyPair('alice')));
      console.log(pairs[0].privateKey.equals(pairs[1].privateKey));` }).ended;
    assert.deepEqual(lines.sort(), ['StvorWarning STVOR_UNSEALED_IDENTITY', 'true']);
    assert.match(stderr, /whoever reads the database/);
    const sealed = open(t, schema);
    await assert.rejects(pairOf(sealed), { code: 'STORAGE_KEY', action: /sealIdentities/ });
    const { rows: [clear] } = await admin.query(`SELECT public_key, private_key FROM "${schema}".identities`);
    assert.equal(await sealed.sealIdentities(), 1);
    assert.equal(await sealed.sealIdentities(), 0);
    assert.deepEqual(await pairOf(sealed), { publicKey: clear.public_key, privateKey: clear.private_key });
    await assert.rejects(pairOf(open(t, schema, {})), { code: 'STORAGE_KEY' });
  });

  test("in clear are told of through the app's own warn", async (t) => {
    const [relay, told] = [await mockRelay(t), []];
    const storageAdapters = { ...open(t, newSchema(), {}) };
    const printed = warnings(t);
    const app = await appOn(t, relay, { productionMode: true, storageAdapters, warn: (message, code) => told.push(code) });
    await app.connect('alice');
    assert.deepEqual([told, printed.size], [['STVOR_UNSEALED_IDENTITY'], 0]);
  });
});

describe('fingerprints', () => {
  test('never change by storing: another is refused, and replacing is explicit', async (t) => {
    const { tofu } = open(t, newSchema());
    const [first, second] = ['a'.repeat(64), 'b'.repeat(64)];
    await tofu.storeFingerprint('bob', first.toUpperCase(), 'alice');
    await assert.rejects(tofu.storeFingerprint('bob', second, 'alice'), { code: 'IDENTITY_CHANGED', peerId: 'bob' });
    assert.equal(await tofu.verifyFingerprint('bob', first, 'alice'), true);
    await tofu.replaceFingerprint('bob', second, 'alice');
    assert.equal(await tofu.verifyFingerprint('bob', first, 'alice'), false);
    assert.equal(await tofu.verifyFingerprint('bob', second, 'alice'), true);
  });

  test('stored at once by several stores: one stays, and the others are told', async (t) => {
    const schema = newSchema();
    const given = Array.from({ length: 8 }, () => randomBytes(32).toString('hex'));
    const stores = given.map(() => open(t, schema).tofu);
    const outcomes = await Promise.allSettled(stores.map((tofu, i) => tofu.storeFingerprint('bob', given[i], 'alice')));
    const verified = await Promise.all(given.map((fingerprint) => stores[0].verifyFingerprint('bob', fingerprint, 'alice')));
    assert.deepEqual(verified, outcomes.map(({ status }) => status === 'fulfilled'));
    assert.equal(verified.filter(Boolean).length, 1);
  });
});

describe('replays', () => {
  test('are remembered for ttlSeconds of the database', async (t) => {
    const schema = newSchema();
    const { replay } = open(t, schema, { key, ttlSeconds: 377 });
    const nonce = randomBytes(12);
    assert.equal(await replay.checkAndMark('bob', nonce, 'alice'), false);
    const { rows: [{ left }] } = await admin.query(`SELECT extract(epoch FROM expires_at - now())::float8 AS left FROM "${schema}".nonces`);
    assert.ok(left > 370 && left <= 377, String(left));
    assert.equal(await replay.checkAndMark('bob', nonce, 'alice'), true);
    await admin.query(`UPDATE "${schema}".nonces SET expires_at = now() - interval '1 second'`);
    assert.equal(await replay.checkAndMark('bob', nonce, 'alice'), false);
    assert.equal(await replay.checkAndMark('bob', nonce, 'alice'), true);
  });

  test('are removed from the table after their time', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const schema = newSchema();
    const pool = counted(t);
    const { replay } = postgresStorage({ pool, schema, key });
    await replay.checkAndMarkMany('alice', Array.from({ length: 300 }, () => ['bob', randomBytes(12)]));
    await admin.query(`UPDATE "${schema}".nonces SET expires_at = now() - interval '1 second'`);
    t.mock.timers.tick(10_000);
    const { query } = pool;
    const purged = new Promise((resolve) => {
      pool.query = (text, values) => {
        const answer = query.call(pool, text, values);
        if (/DELETE/.test(text)) resolve(answer);
        return answer;
      };
    });
    await replay.checkAndMark('bob', randomBytes(12), 'alice');
    assert.equal((await purged).rowCount, 300);
    const { rows: [{ count }] } = await admin.query(`SELECT count(*)::int AS count FROM "${schema}".nonces`);
    assert.equal(count, 1);
  });
});

describe('failures', () => {
  test('of the pool go through as they are, and the next call tries again', async (t) => {
    const pool = counted(t);
    const failure = Object.assign(new Error('no more connections'), { code: '53300' });
    const { query } = pool;
    const { sessions, replay, identity, tofu } = postgresStorage({ pool, schema: newSchema(), key });
    const calls = [
      () => sessions.load('bob', 'alice'),
      () => sessions.save('bob', state('1'), 'alice'),
      () => sessions.saveMany('alice', [['carol', state('1')], ['dave', state('1')]]),
      () => replay.checkAndMark('bob', randomBytes(12), 'alice'),
      () => identity.getIdentityKeyPair('alice'),
      () => tofu.storeFingerprint('bob', 'a'.repeat(64), 'alice'),
    ];
    for (const call of calls) {
      pool.query = () => Promise.reject(failure);
      await assert.rejects(call(), (error) => error === failure);
      pool.query = query;
      await call();
    }
  });

  test('of the connection reject the step, which can be taken again', async (t) => {
    const proxy = await proxyTo(t, databaseUrl);
    const storage = postgresStorage({ connectionString: proxy.url, schema: newSchema(), key });
    t.after(() => storage.close());
    const { sessions } = storage;
    await sessions.save('bob', state('1'), 'alice');
    proxy.sever(1, 'INSERT');
    await assert.rejects(sessions.save('bob', state('2'), 'alice'));
    // Whether and when it is written nobody can know, so that the next step may meet it.
    let loaded;
    const step = async () => {
      loaded = String(await sessions.load('bob', 'alice'));
      await sessions.save('bob', state(`${loaded} 3`), 'alice');
    };
    await step().catch((error) => (error.code === 'STORAGE_CONFLICT' ? step() : Promise.reject(error)));
    assert.match(loaded, /^[12]$/);
    assert.equal(String(await sessions.load('bob', 'alice')), `${loaded} 3`);
  });

  test('an idle process with a store on an address ends', async (t) => {
    const { code, lines, stderr } = await program(t, { code: `
      import { postgresStorage } from '@stvor/sdk';
      const { sessions } = postgresStorage({ connectionString: ${JSON.stringify(databaseUrl)}, schema: '${newSchema()}', key: Buffer.alloc(32, 1) });
      await sessions.save('bob', Buffer.from('1'), 'alice');
      console.log(String(await sessions.load('bob', 'alice')));` }).ended;
    assert.deepEqual([code, lines, stderr], [0, ['1'], '']);
  });

  test('of an idle connection do not end the process', async (t) => {
    const address = new URL(databaseUrl);
    const name = `stvor-${randomBytes(8).toString('hex')}`;
    address.searchParams.set('application_name', name);
    const storage = postgresStorage({ connectionString: address.href, schema: newSchema(), key });
    t.after(() => storage.close());
    const load = () => storage.sessions.load('bob', 'alice');
    await load();
    const { rows } = await admin.query('SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE application_name = $1', [name]);
    assert.deepEqual(rows, [{ done: true }]);
    // The first may still meet the broken connection.
    assert.equal(await load().catch(load), null);
  });

  test('after close, calls are rejected; a pool that was given stays open', async (t) => {
    const pool = counted(t);
    const storage = postgresStorage({ pool, schema: newSchema(), key });
    await storage.sessions.load('bob', 'alice');
    await storage.close();
    await storage.close();
    await assert.rejects(storage.sessions.load('bob', 'alice'), { code: 'STORAGE_FAILED' });
    assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1);
  });

  test('without pg, an address is refused with what to install', async (t) => {
    const preload = join(root, '__test__', 'support', 'hidden-packages.cjs');
    const { lines } = await program(t, {
      code: `
        import { postgresStorage } from '@stvor/sdk';
        try { postgresStorage({ connectionString: 'postgres://localhost' }); } catch (error) { console.log(error.code, error.action); }`,
      env: { HIDDEN_PACKAGES: 'pg', NODE_OPTIONS: `--require=${JSON.stringify(preload)}` },
    }).ended;
    assert.match(lines[0], /^INVALID_ARGUMENT Run `npm install pg`/);
  });

  test('arguments that cannot be right are refused before the database is asked', async () => {
    const pool = { query: () => assert.fail('asked') };
    const wrong = [
      undefined, {}, { pool, connectionString: databaseUrl }, { pool: {} }, { connectionString: '' }, { pool, schema: '' },
      { pool, schema: 'a"b' }, { pool, schema: 'pg_x' }, { pool, schema: '1a' }, { pool, schema: 'x'.repeat(64) },
      { pool, key: randomBytes(16) }, { pool, key: 'x'.repeat(32) }, { pool, passphrase: '' }, { pool, passphrase: 7 }, { pool, passphrase: null },
      { pool, key, passphrase: 'x' }, { pool, ttlSeconds: 0 }, { pool, ttlSeconds: 299 }, { pool, table: 'x' },
    ];
    for (const options of wrong) assert.throws(() => postgresStorage(options), { code: 'INVALID_ARGUMENT' });
    const { sessions, identity, replay, tofu } = postgresStorage({ pool, key });
    const calls = [
      () => sessions.load('bob'), () => sessions.save('bob', 'text', 'alice'), () => sessions.save('', state('1'), 'alice'),
      () => sessions.saveMany('alice', 'bob'), () => sessions.saveMany('alice', [['bob', state('1')], ['bob', state('2')]]),
      () => identity.getIdentityKeyPair(), () => identity.getIdentityKeyPair('\ud800'), () => replay.checkAndMark('bob', 'x', 'alice'),
      () => replay.checkAndMarkMany('alice', 7), () => tofu.storeFingerprint('bob', 'xyz', 'alice'),
      () => tofu.verifyFingerprint('bob', 'a'.repeat(64), 'x'.repeat(257)),
    ];
    for (const call of calls) await assert.rejects(call(), { code: 'INVALID_ARGUMENT' });
  });
});
