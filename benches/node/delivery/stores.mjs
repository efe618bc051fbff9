// The stores that rows are measured with, by a description that goes to another process as text.
import { embeddedStorage, postgresStorage, redisReplayCache } from '@stvor/sdk';
import pg from 'pg';
import { createClient } from 'redis';

/**
 * What a description stands for: `{adapters, trips(), close()}`. `{kind: 'memory'}`, `{kind: 'embedded', path, key}` or
 * `{kind: 'fleet', databaseUrl, redisUrl, schema, key}`, where `trips()` tells how often each service has been asked.
 */
export async function openStore(store) {
  if (store.kind === 'memory') return { adapters: undefined, trips: noTrips, close: async () => {} };
  const key = Buffer.from(store.key, 'hex');
  if (store.kind === 'embedded') {
    const adapters = await embeddedStorage({ path: store.path, key });
    return { adapters, trips: noTrips, close: () => adapters.close() };
  }
  return openFleet(store, key);
}

const noTrips = () => ({ database: 0, redis: 0 });

async function openFleet({ databaseUrl, redisUrl, schema }, key) {
  const trips = noTrips();
  const pool = new pg.Pool({ connectionString: databaseUrl });
  const client = createClient({ url: redisUrl });
  client.on('error', (error) => console.error(error.message));
  await client.connect();
  const storage = postgresStorage({ pool: counting(pool, 'query', () => (trips.database += 1)), schema, key });
  // What a client writes in one turn travels together.
  let open = false;
  const cache = counting(client, 'set', () => {
    if (open) return;
    open = true;
    trips.redis += 1;
    queueMicrotask(() => (open = false));
  });
  return {
    adapters: { ...storage, replay: redisReplayCache({ client: cache, prefix: schema }) },
    trips: () => ({ ...trips }),
    async close() {
      await storage.close();
      await pool.end();
      client.destroy();
    },
  };
}

/** `target` with a `method` that first says that it was called. */
function counting(target, method, called) {
  return {
    [method](...values) {
      called();
      return target[method](...values);
    },
  };
}
