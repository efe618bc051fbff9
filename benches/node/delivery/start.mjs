// A start with a store: `node start.mjs URL STORE PEERS`. Prints `{"readyMs":…,"trips":…,"peerMs":…,"peerTrips":…}`: how long
// it takes from opening the store to a connected client, then to the record of one of the PEERS, and how often the database
// was asked for each.
import { createApp } from '@stvor/sdk';
import { openStore } from './stores.mjs';

const [relayUrl, description, peers] = process.argv.slice(2);
const start = performance.now();
const store = await openStore(JSON.parse(description));
const app = await createApp({ appToken: 'stvor_bench', relayUrl, storageAdapters: store.adapters, warn: () => {} });
const client = await app.connect('alice');
const ready = performance.now();
const trips = store.trips().database;
// Nobody of them is there: whoever is known is known by a record.
const known = Number(peers) === 0 || (await client.waitForUser(`peer ${Number(peers) - 1}`, 10_000));
if (!known) throw new Error('a stored peer is not known');
const found = performance.now();
const peerTrips = store.trips().database - trips;
await app.disconnect();
await store.close();
console.log(JSON.stringify({ readyMs: ready - start, trips, peerMs: found - ready, peerTrips }));
