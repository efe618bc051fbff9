// The provided stores by a description that fits into an environment variable.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { embeddedStorage, postgresStorage, redisReplayCache } from '@stvor/sdk';

/** The adapters that a description stands for. */
export async function adaptersOf(store) {
  const key = Buffer.from(store.key, 'hex');
  if (store.kind === 'embedded') return embeddedStorage({ path: store.path, key });
  const { connectionString, schema, redisUrl, prefix } = store;
  const storage = postgresStorage({ connectionString, schema, key });
  return { ...storage, replay: redisReplayCache({ url: redisUrl, prefix }) };
}

/** A file in `directory`. */
export function embeddedStore(directory, name) {
  return { kind: 'embedded', path: join(directory, `${name}.db`), key: randomBytes(32).toString('hex') };
}

/** A schema and a prefix on the services; several users may share it. */
export function fleetStore({ databaseUrl, redisUrl }, schema) {
  const key = randomBytes(32).toString('hex');
  return { kind: 'fleet', connectionString: databaseUrl, schema, redisUrl, prefix: schema, key };
}
