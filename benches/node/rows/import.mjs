// Rows about `import` in a fresh process: how long it takes and what it adds to resident memory.
import { execFileSync } from 'node:child_process';
import { median } from '../measure.mjs';
import { faster, within } from '../report.mjs';

const rounds = 21;
const peer = { name: 'libsignal', module: '@signalapp/libsignal-client' };

export function importRows() {
  const [ours, theirs] = [[], []];
  for (let round = 0; round < rounds; round++) {
    ours.push(importOnce('@stvor/sdk'));
    theirs.push(importOnce(peer.module));
  }
  const of = (samples, field) => median(samples.map((sample) => sample[field]));
  const method = `a fresh Node process each, measured inside it, in turns; medians of ${rounds}`;
  return [
    faster({ what: 'import, time', peer: peer.name, ours: of(ours, 'ms'), theirs: of(theirs, 'ms'), unit: 'ms', atLeast: 8, method }),
    within({ what: 'import, added memory', peer: peer.name, ours: of(ours, 'mib'), theirs: of(theirs, 'mib'), unit: 'MiB', atMost: 0.5, method: `resident set after less before; ${method}` }),
  ];
}

function importOnce(module) {
  const program = `
    const before = process.memoryUsage().rss, start = performance.now();
    await import(${JSON.stringify(module)});
    const ms = performance.now() - start;
    console.log(JSON.stringify({ ms, mib: (process.memoryUsage().rss - before) / 2 ** 20 }));
    process.exit();`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: new URL('..', import.meta.url), encoding: 'utf8' });
  return JSON.parse(printed);
}
