// Everything that is tested: types, Rust, a simulation of many users, then the JavaScript surface and the
// packages by node:test.
// Sets up what is missing first. Every stage runs, and any that fails fails the whole.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildTestAddon } from './build.mjs';
import { Failed, hostTriple, program, root, run, script } from './cargo.mjs';
import { setup } from './setup.mjs';
import { simulate } from './sim.mjs';

/** For each file: a connection that a test leaves open would hold its process for ever. */
const fileTimeoutMs = 600_000;

await script(() => {
  setup();
  const failed = stages().filter(([name, stage]) => {
    console.log(`\n── ${name}`);
    return !passes(stage);
  });
  if (failed.length > 0) throw new Failed(`\nFailed: ${failed.map(([name]) => name).join(', ')}`);
});

function stages() {
  const target = hostTriple();
  const flags = ['--target', target];
  const portable = ['-p', 'stvor-protocol', '--no-default-features'];
  const rust = hasNextest()
    ? (args) => run('cargo', ['nextest', 'run', '--no-tests=pass', ...args, ...flags, '--cargo-profile', 'local'])
    : (args) => run('cargo', ['test', '--lib', '--bins', '--tests', ...args, ...flags, '--profile', 'local']);
  return [
    ['types', types],
    ['Rust', () => rust(['--workspace'])],
    ['Rust, the protocol without aws-lc', () => rust(portable)],
    ['Rust, documentation', () => run('cargo', ['test', '--doc', '--workspace', ...flags, '--profile', 'local'])],
    ['simulation', simulate],
    ['JavaScript', javascript],
  ];
}

/** Programs written as a user writes them, checked as a user's compiler would. */
function types() {
  const directory = join(root, '__test__', 'types');
  for (const config of readdirSync(directory).filter((name) => /^tsconfig\..*\.json$/.test(name))) {
    run(process.execPath, [program('typescript/bin/tsc'), '-p', join(directory, config)]);
  }
}

function javascript() {
  buildTestAddon(); // before the tests run, as they would wait for it and for the processor
  const directory = join(root, '__test__');
  const files = readdirSync(directory).filter((name) => name.endsWith('.test.mjs'));
  const timeout = Number.parseInt(process.versions.node) >= 20 ? [`--test-timeout=${fileTimeoutMs}`] : [];
  run(process.execPath, ['--test', '--test-reporter=spec', ...timeout, ...files.map((name) => join(directory, name))]);
}

function hasNextest() {
  return spawnSync('cargo', ['nextest', '--version'], { stdio: 'ignore' }).status === 0;
}

function passes(stage) {
  try {
    stage();
    return true;
  } catch (error) {
    console.error(error instanceof Failed ? error.message : error);
    return false;
  }
}
