// Rows about the embedded store, whose every step is synced before anything of it is seen: against the memory store, and
// against what the disk itself takes for one synced write.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pair } from '../delivery/pair.mjs';
import { example } from '../examples.mjs';
import { median } from '../measure.mjs';
import { mockRelay } from '../relays.mjs';
import { more, number, within } from '../report.mjs';
import { withDirectory } from '../stores.mjs';

const rounds = 9;
const secondsOfLatency = 2;
const messages = 4_000;
const throughput = { count: messages, inFlight: 64 };
const bareWrites = 100;
/** Bytes of a record in use, in a file of some megabytes. */
const record = 1_200;
const fileLength = 4 * 2 ** 20;

export function embeddedRows() {
  return withDirectory(async (directory) => [await rateRow(directory), latencyRow(directory)]);
}

async function rateRow(directory) {
  const stored = (role) => [JSON.stringify({ kind: 'embedded', path: join(directory, role), key: randomBytes(32).toString('hex') })];
  const relays = await Promise.all([mockRelay(), mockRelay()]);
  const ends = [await pair('stored', relays[0].url, stored), await pair('stored', relays[1].url, () => ['{"kind":"memory"}'])];
  const bare = bareFile(join(directory, 'bare'));
  const samples = [[], [], []];
  const [embedded, memory] = ends.map((end) => async () => (await end.run(throughput)).perSecond);
  const contestants = [embedded, memory, () => bare.perSecond()];
  try {
    for (const contestant of contestants) await contestant();
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? [0, 1, 2] : [2, 1, 0];
      for (const i of order) samples[i].push(await contestants[i]());
    }
  } finally {
    bare.close();
    for (const end of [...ends, ...relays]) end.close();
  }
  const [ours, inMemory, synced] = samples.map(median);
  const halfOfMemory = inMemory / 2 <= 60 * synced;
  return more({
    what: 'embedded store, 64 in flight',
    peer: halfOfMemory ? 'half the memory store' : '60 bare syncs',
    ours,
    theirs: halfOfMemory ? inMemory / 2 : 60 * synced,
    unit: 'msg/s',
    atLeast: 1,
    method: `both ends on a file of their own, every step synced, against both in memory (${number(inMemory)}) or 60 times the disk's synced writes a second (${number(synced)}), whichever is less; first send to last handler call of ${messages} messages, in turns, median of ${rounds}`,
  });
}

function latencyRow(directory) {
  const program = example('stvor-embedded', 'throughput', { profile: 'release' });
  const samples = Array.from({ length: rounds }, () => JSON.parse(execFileSync(program, [directory, String(secondsOfLatency), '--json'], { encoding: 'utf8' })));
  const of = (field) => median(samples.map((sample) => sample[field]));
  return within({
    what: 'embedded store, a step at a time',
    peer: 'bare synced write',
    ours: of('save'),
    theirs: of('bare'),
    unit: 'us',
    atMost: 1.3,
    method: `native: a record of ${number(record)} B saved, against as many bytes written over in a file and fdatasync, in turns, one by one; median of ${rounds} runs' medians`,
  });
}

/** A file with all its blocks, in which a write is nothing but a write. */
function bareFile(path) {
  const file = openSync(path, 'w');
  writeSync(file, Buffer.alloc(fileLength));
  fsyncSync(file);
  const bytes = Buffer.alloc(record, 'x');
  let written = 0;
  return {
    perSecond() {
      const start = performance.now();
      for (let i = 0; i < bareWrites; i++) {
        writeSync(file, bytes, 0, record, (written++ * 4096) % fileLength);
        fdatasyncSync(file);
      }
      return (bareWrites * 1_000) / (performance.now() - start);
    },
    close: () => closeSync(file),
  };
}
