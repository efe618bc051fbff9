// The table of figures that the package has to meet, all from one run: `node main.mjs [--json] [ROWS…]`
// with ROWS out of the names of `sources` below, and growth; all of them without.
import { cpus } from 'node:os';
import { installPackage } from './package-under-test.mjs';
import { number, table } from './report.mjs';

const args = process.argv.slice(2);
const json = args.includes('--json');
const wanted = args.filter((arg) => !arg.startsWith('-'));
const want = (name) => wanted.length === 0 || wanted.includes(name);

/** Modules are loaded only when their rows are measured: what they measure is installed before. */
const sources = {
  ratchet: async () => (await import('./rows/ratchet.mjs')).ratchetRows(),
  wire4: async () => (await import('./rows/wire4.mjs')).wire4Rows(),
  frames: async () => (await import('./rows/frames.mjs')).frameRows(),
  import: async () => (await import('./rows/import.mjs')).importRows(),
  size: async () => (await import('./rows/size.mjs')).sizeRows(sizes),
  delivery: async () => (await import('./rows/delivery.mjs')).deliveryRows(),
  relay: async () => (await import('./rows/relay.mjs')).relayRows(),
  memory: async () => (await import('./rows/memory.mjs')).memoryRows(),
  sealing: async () => (await import('./rows/sealing.mjs')).sealingRows(),
  embedded: async () => (await import('./rows/embedded.mjs')).embeddedRows(),
  fleet: async () => (await import('./rows/fleet.mjs')).fleetRows(),
  start: async () => (await import('./rows/start.mjs')).startRows(),
};
const known = [...Object.keys(sources), 'growth'];
const unknown = wanted.find((name) => !known.includes(name));
if (unknown) {
  console.error(`no rows are called ${unknown}; there are ${known.join(', ')}`);
  process.exit(1);
}

const sizes = installPackage();
const rows = [];
for (const [name, source] of Object.entries(sources)) {
  if (!want(name)) continue;
  process.stderr.write(`measuring: ${name} …\n`);
  rows.push(...(await source()));
}
const growth = want('growth') ? await (await import('./rows/ratchet.mjs')).growthRows() : undefined;
const machine = `Node.js ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} x ${cpus()[0]?.model.trim()}`;

if (json) console.log(JSON.stringify({ machine, rows, growth }, null, 2));
else print();

function print() {
  console.log(`${machine}\n\n${table(rows)}`);
  if (!growth) return;
  const entries = (times, unit) => Object.entries(times).map(([at, us]) => `${number(Number(at))} ${unit}: ${number(us)} us`).join(', ');
  console.log(`\nCost of a one-way message by size: ${entries(growth.bySize, 'B')}`);
  console.log(`Cost of a one-way 64 B message by sessions in use, taken in turn: ${entries(growth.bySessions, 'sessions')}`);
}
