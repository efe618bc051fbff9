// Deterministic simulation of users over a relay that does its worst: `npm run sim -- --schedules 1000000`,
// and `SIM_SEED=7 npm run sim` for one schedule again. See docs/ARCHITECTURE.md, "Simulation".
import { fileURLToPath } from 'node:url';
import { hostTriple, run, script } from './cargo.mjs';

/** Runs the schedules that `args` ask for, 10,000 from seed 0 on unless they say otherwise; throws if one fails. */
export function simulate(args = []) {
  const example = ['-p', 'stvor-client', '--features', 'simulation', '--example', 'simulate'];
  run('cargo', ['run', ...example, '--target', hostTriple(), '--profile', 'local', '--', ...args]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(() => simulate(process.argv.slice(2)));
}
