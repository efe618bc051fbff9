// The documentation's Redis + PostgreSQL example, as it stands, on real services: twice, as after a restart.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { program, root } from './support/child.mjs';
import { mockRelay } from './support/relays.mjs';
import { services } from './support/services.mjs';

const schema = `stvor_example_${randomBytes(8).toString('hex')}`;
let running;
let admin;

before(async () => {
  running = await services();
  admin = new pg.Pool({ connectionString: running.databaseUrl });
  await admin.query(`CREATE SCHEMA ${schema}`);
});

after(async () => {
  await admin.query(`DROP SCHEMA ${schema} CASCADE`);
  await admin.end();
  await running.close();
});

test('the Redis + PostgreSQL example runs, and is the same users with the same sessions when it runs again', async (t) => {
  const relay = await mockRelay(t);
  const database = new URL(running.databaseUrl);
  database.searchParams.set('options', `-c search_path=${schema}`);
  const env = {
    DATABASE_URL: database.href,
    REDIS_URL: running.redisUrl,
    STVOR_RELAY_URL: relay.url,
    IDENTITY_KEY: randomBytes(32).toString('hex'),
  };
  const run = () => program(t, { file: join(root, 'examples', 'redis-postgres.mjs'), env }).ended;
  const first = await run();
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.equal(first.lines[0], 'alice@example.com: Kept in PostgreSQL');
  assert.match(first.lines[1], /^alice is [0-9a-f]{64}$/);
  const second = await run();
  assert.deepEqual([second.code, second.stderr, second.lines], [0, '', first.lines]);
  const { rows } = await admin.query(`SELECT count(*)::int AS count FROM ${schema}.identities`);
  assert.deepEqual(rows, [{ count: 2 }]);
});
