// Builds for release, installs the peers beside the benchmarks, and prints the table.
//
//   npm run bench -- [--json] [ratchet] [wire4] [frames] [import] [size] [delivery] [relay] [memory] [sealing]
//     [embedded] [fleet] [start] [growth]
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { npm, root, run, script } from './cargo.mjs';
import { setup } from './setup.mjs';

await script(() => {
  setup({ release: true });
  const directory = join(root, 'benches', 'node');
  if (!existsSync(join(directory, 'node_modules', 'ws'))) npm(['ci', '--ignore-scripts', '--loglevel=error'], { cwd: directory, stdio: ['ignore', 2, 2] });
  run(process.execPath, [join(directory, 'main.mjs'), ...process.argv.slice(2)]);
});
