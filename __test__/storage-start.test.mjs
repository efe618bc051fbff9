// What of stores is found out when an app starts: adapters that cannot be made, are none, or cannot work.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createApp, embeddedStorage, generateKeyPair, postgresStorage, redisReplayCache, StvorError } from '@stvor/sdk';
import pg from 'pg';
import { createClient } from 'redis';
import { appOn, mockRelay, TOKEN } from './support/relays.mjs';
import { services } from './support/services.mjs';
import { mapAdapters } from './support/stores.mjs';

const key = randomBytes(32);
const prefix = `stvor-start-${randomBytes(8).toString('hex')}`;
const schemas = [];
let running;
let admin;

before(async () => {
  running = await services();
  admin = new pg.Pool({ connectionString: running.databaseUrl });
});

after(async () => {
  for (const schema of schemas) await admin.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
  await admin.end();
  await running.close();
});

const adapters = () => mapAdapters(new Map(), { generateKeyPair });

/** An app with adapters in production mode. */
const production = (t, relay, storageAdapters) => appOn(t, relay, { storageAdapters, productionMode: true });

/** A schema that does not exist yet, dropped after the tests. */
function newSchema() {
  const schema = `stvor_start_${randomBytes(8).toString('hex')}`;
  schemas.push(schema);
  return schema;
}

const open = (schema, options = { key }) => postgresStorage({ pool: admin, schema, ...options });

test('what makes no adapters, but an error, is STORAGE_FAILED with the cause, and what the SDK said stays as it is', async (t) => {
  const relay = await mockRelay(t);
  const cause = new TypeError('no database');
  const failed = { name: 'StvorError', code: 'STORAGE_FAILED', retryable: true, cause };
  let broken = true;
  for (const make of [() => { throw cause; }, async () => { throw cause; }]) {
    const app = await production(t, relay, (userId) => (broken ? make(userId) : adapters()));
    await assert.rejects(app.connect('alice'), failed);
    broken = false;
    await app.connect('alice');
    broken = true;
  }
  const config = { appToken: TOKEN, relayUrl: relay.url };
  for (const productionMode of [true, false]) await assert.rejects(createApp({ ...config, productionMode, storageAdapters: Promise.reject(cause) }), failed);
  const said = new StvorError('STORAGE_LOCKED', 'It is open.');
  await assert.rejects(createApp({ ...config, storageAdapters: Promise.reject(said) }), (error) => error === said);
  await assert.rejects(createApp({ ...config, storageAdapters: Promise.resolve(7) }), { code: 'INVALID_ARGUMENT', message: /^storageAdapters / });
});

test('a class in the place of adapters is refused by createApp', async () => {
  for (const storageAdapters of [class {}, class Stores extends Map {}, Map]) {
    await assert.rejects(createApp({ appToken: TOKEN, relayUrl: 'ws://localhost:1', storageAdapters }), { code: 'INVALID_ARGUMENT', message: /^storageAdapters is a class/ });
  }
});

test('production mode waits for ready() of the adapters that have it, and fails with what it throws', async (t) => {
  const relay = await mockRelay(t);
  const asked = [];
  const withReady = (ready) => Object.fromEntries(Object.entries(adapters()).filter(([kind]) => kind !== 'data').map(([kind, adapter]) => [kind, { ...adapter, ready: () => ready(kind) }]));
  await production(t, relay, withReady(async (kind) => asked.push(kind)));
  assert.deepEqual(asked.sort(), ['identity', 'replay', 'sessions', 'tofu']);
  const cause = new Error('connection refused');
  const failing = (kind) => { if (kind === 'sessions') throw cause; };
  const failed = { code: 'STORAGE_FAILED', retryable: true, cause, message: /storageAdapters\.sessions\.ready\(\)/ };
  await assert.rejects(production(t, relay, withReady(failing)), failed);
  await assert.rejects(production(t, relay, Promise.resolve(withReady(failing))), failed);
  const each = await production(t, relay, () => withReady(failing));
  await assert.rejects(each.connect('alice'), failed);
  await appOn(t, relay, { storageAdapters: withReady(failing) });
});

test('a ready() that does not answer is STORAGE_FAILED after 10 seconds', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  stores.tofu.ready = () => new Promise(() => {});
  const begun = performance.now();
  await assert.rejects(production(t, relay, stores), { code: 'STORAGE_FAILED' });
  const took = performance.now() - begun;
  assert.ok(took > 9_000 && took < 20_000, String(took));
});

test('production mode fails at the start where Redis is not connected', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const start = (replay) => production(t, relay, { ...stores, replay });
  const forgotten = redisReplayCache({ client: createClient({ url: running.redisUrl }) }); // no connect()
  const error = await start(forgotten).then(assert.fail, (error) => error);
  assert.deepEqual([error.name, error.code, error.retryable], ['StvorError', 'STORAGE_FAILED', true]);
  assert.match(error.message, /storageAdapters\.replay/);
  assert.ok(error.cause instanceof Error);
  await assert.rejects(start(redisReplayCache({ url: 'redis://127.0.0.1:1' })), { code: 'STORAGE_FAILED' });
  const readOnly = new Error("READONLY You can't write against a read only replica.");
  await assert.rejects(start(redisReplayCache({ client: { set: async () => Promise.reject(readOnly) } })), { code: 'STORAGE_FAILED', cause: readOnly });
  const replay = redisReplayCache({ url: running.redisUrl, prefix });
  await start(replay);
  await replay.close();
});

test('production mode learns of a file that cannot be used, also where the promise of the adapters was spread', async (t) => {
  const relay = await mockRelay(t);
  const nowhere = () => embeddedStorage({ path: join(tmpdir(), randomBytes(8).toString('hex'), 'x'), key });
  for (const storageAdapters of [nowhere(), { ...nowhere() }]) {
    await assert.rejects(appOn(t, relay, { productionMode: true, storageAdapters }), { code: 'STORAGE_FAILED', message: /The embedded file "/ });
  }
});

test('production mode fails at the start where the database is not there, or its key is another', async (t) => {
  const relay = await mockRelay(t);
  const away = postgresStorage({ connectionString: 'postgres://postgres@127.0.0.1:1/postgres', key });
  const error = await production(t, relay, away).then(assert.fail, (error) => error);
  assert.deepEqual([error.name, error.code, error.retryable, error.cause.code], ['StvorError', 'STORAGE_FAILED', true, 'ECONNREFUSED']);
  const schema = newSchema();
  await open(schema).identity.getIdentityKeyPair('alice');
  await assert.rejects(production(t, relay, open(schema, { key: randomBytes(32) })), { code: 'STORAGE_KEY', retryable: false });
  await production(t, relay, open(schema));
});

test('PostgreSQL has its tables when the app has started, whichever of the stores it uses', async (t) => {
  const relay = await mockRelay(t);
  for (const kind of ['identity', 'sessions', 'replay', 'tofu']) {
    const schema = newSchema();
    const stores = adapters();
    await (await production(t, relay, { ...stores, [kind]: open(schema)[kind] })).disconnect();
    const { rows } = await admin.query('SELECT count(*)::int AS count FROM pg_tables WHERE schemaname = $1', [schema]);
    assert.deepEqual(rows, [{ count: 5 }], kind);
  }
});
