// A short crash run on each provided store; `npm run crash` runs long ones.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { crash } from './support/crash.mjs';
import { embeddedStore, fleetStore } from './support/crash-stores.mjs';
import { dropSchema, services } from './support/services.mjs';

const KILLS = 24;

async function directoryOf(t) {
  const directory = await mkdtemp(join(tmpdir(), 'stvor-crash-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function runs(t, stores, directory) {
  const seed = Number(process.env.CRASH_SEED ?? randomBytes(4).readUInt32LE());
  t.diagnostic(`CRASH_SEED=${seed}`);
  const found = await crash({ seed, kills: KILLS, stores, directory });
  t.diagnostic(JSON.stringify(found));
  assert.deepEqual(found.problems, []);
}

test('processes killed at any instant lose and double nothing with the embedded file', async (t) => {
  const directory = await directoryOf(t);
  await runs(t, { alice: embeddedStore(directory, 'alice'), bob: embeddedStore(directory, 'bob') }, directory);
});

test('processes killed at any instant lose and double nothing with PostgreSQL and Redis', async (t) => {
  const directory = await directoryOf(t);
  const running = await services();
  t.after(() => running.close());
  const schema = `stvor_crash_${randomBytes(6).toString('hex')}`;
  t.after(() => dropSchema(running.databaseUrl, schema));
  const store = fleetStore(running, schema);
  await runs(t, { alice: store, bob: store }, directory);
});
