// Rows about a start with many stored peers: what nobody asks for is not loaded.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from '../contestants/native.mjs';
import { openStore } from '../delivery/stores.mjs';
import { median } from '../measure.mjs';
import { mockRelay } from '../relays.mjs';
import { bound, number } from '../report.mjs';
import { withDirectory, withFleet } from '../stores.mjs';

const execute = promisify(execFile);
const program = fileURLToPath(new URL('../delivery/start.mjs', import.meta.url));
const peers = 100_000;
/** Rows that a store is given at once. */
const rowsAtOnce = 2_000;
const rounds = 5;

export async function startRows() {
  const relay = await mockRelay();
  try {
    const embedded = await withDirectory((directory) =>
      rowOf(relay, 'embedded store', { kind: 'embedded', path: join(directory, 'peers'), key: randomBytes(32).toString('hex') }));
    return [embedded, await withFleet((store) => rowOf(relay, 'PostgreSQL + Redis', store))];
  } finally {
    relay.close();
  }
}

async function rowOf(relay, name, store) {
  const start = async (count) => JSON.parse((await execute(process.execPath, [program, relay.url, JSON.stringify(store), String(count)])).stdout);
  const alone = await start(0); // makes the user
  await fill(store);
  const starts = [];
  for (let round = 0; round < rounds; round++) starts.push(await start(peers));
  const of = (field) => median(starts.map((one) => one[field]));
  const asked = store.kind === 'fleet' ? ` (${of('trips')} queries, ${of('peerTrips')} more)` : '';
  return bound({
    what: `start with ${number(peers)} peers, ${name}`,
    ours: of('readyMs') / 1_000,
    unit: 's',
    most: 1,
    method: `a new process opens the store of a user with an idle session with each and connects, then asks for one peer, whose record takes ${number(of('peerMs'))} ms${asked}; the first start, without peers, took ${number(alone.readyMs / 1_000)} s; median of ${rounds} processes`,
  });
}

/** Stores a record for each peer. */
async function fill(description) {
  const store = await openStore(description);
  const { privateKey } = await store.adapters.identity.getIdentityKeyPair('alice');
  const child = spawn(build(), ['peers', String(peers)], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(`${Buffer.from(privateKey).toString('hex')}\n`);
  let [stored, rows] = [0, []];
  const save = async () => {
    await store.adapters.sessions.saveMany('alice', rows);
    [stored, rows] = [stored + rows.length, []];
  };
  for await (const line of createInterface({ input: child.stdout })) {
    rows.push([`peer ${stored + rows.length}`, Buffer.from(line, 'base64url')]);
    if (rows.length === rowsAtOnce) await save();
  }
  if (rows.length > 0) await save();
  await store.close();
  if (stored !== peers) throw new Error(`${stored} records instead of ${peers}`);
}
