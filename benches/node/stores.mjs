// Where rows keep what they store: on the checkout's disk, and in services of its tests. Gone afterwards.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from 'redis';
import { dropSchema, services } from '../../__test__/support/services.mjs';
import { targetDir } from '../../scripts/cargo.mjs';

/** Runs `work(directory)` with an empty directory beside what cargo builds: temporary files may be no files of a disk. */
export async function withDirectory(work) {
  const directory = mkdtempSync(join(targetDir(), 'stores-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Runs `work(store)` with a store in PostgreSQL and Redis, as `openStore` of delivery/stores.mjs takes it. */
export async function withFleet(work) {
  const running = await services();
  const { databaseUrl, redisUrl } = running;
  const schema = `stvor_bench_${randomBytes(8).toString('hex')}`;
  try {
    return await work({ kind: 'fleet', databaseUrl, redisUrl, schema, key: randomBytes(32).toString('hex') });
  } finally {
    await dropSchema(databaseUrl, schema);
    await forget(redisUrl, `${schema}:`);
    await running.close();
  }
}

/** Removes the keys that begin with `prefix`. */
async function forget(url, prefix) {
  const client = createClient({ url });
  await client.connect();
  for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1_000 })) {
    if (keys.length > 0) await client.del(keys);
  }
  client.destroy();
}
