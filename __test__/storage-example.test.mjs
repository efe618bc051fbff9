// The documentation's Redis + PostgreSQL example, as it stands, on real services: twice, as after a restart.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { program, root } from './support/child.mjs';
import { mockRelay } from './support/relays.mjs';
import { services } from './support/services.mjs';

const file = join(root, 'examples', 'redis-postgres.mjs');
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

/** The example's environment on the services here, without a key. */
function environment(relay) {
  const database = new URL(running.databaseUrl);
  database.searchParams.set('options', `-c search_path=${schema}`);
  return { DATABASE_URL: database.href, REDIS_URL: running.redisUrl, STVOR_RELAY_URL: relay.url };
}

test('the Redis + PostgreSQL example runs, and is the same users with the same sessions when it runs again', async (t) => {
  const env = environment(await mockRelay(t));
  const cwd = await mkdtemp(join(tmpdir(), 'stvor-example-'));
  t.after(() => rm(cwd, { recursive: true }));
  const run = () => program(t, { file, env, cwd }).ended;
  const first = await run();
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.equal(first.lines[0], 'alice@example.com: Kept in PostgreSQL');
  assert.match(first.lines[1], /^alice is [0-9a-f]{64}$/);
  const second = await run();
  assert.deepEqual([second.code, second.stderr, second.lines], [0, '', first.lines]);
  const { rows } = await admin.query(`SELECT count(*)::int AS count FROM ${schema}.identities`);
  assert.deepEqual(rows, [{ count: 2 }]);

  // The same key from the environment, and another acceptance of a peer's identity than the first.
  const IDENTITY_KEY = await readFile(join(cwd, 'identity.key'), 'utf8');
  const trusting = ['a', 'b'].map((digit) => `await app.trust('carol@example.com', '${digit}'.repeat(64));`).join(' ');
  const code = (await readFile(file, 'utf8')).replace('await app.disconnect();', `${trusting} await app.disconnect();`);
  const third = await program(t, { code, env: { ...env, IDENTITY_KEY } }).ended;
  assert.deepEqual([third.code, third.stderr, third.lines], [0, '', first.lines]);
  const pins = await admin.query(`SELECT DISTINCT fingerprint FROM ${schema}.fingerprints WHERE peer_id = 'carol@example.com'`);
  assert.deepEqual(pins.rows, [{ fingerprint: 'b'.repeat(64) }]);
});

test('the example names the variable whose value cannot be a key', async (t) => {
  const env = { ...environment(await mockRelay(t)), IDENTITY_KEY: 'secret' };
  const { code, stderr } = await program(t, { file, env }).ended;
  assert.equal(code, 1);
  assert.match(stderr, /^Error: IDENTITY_KEY, .* must be 64 hexadecimal digits\.$/m);
});
