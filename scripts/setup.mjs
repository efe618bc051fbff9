// Makes a checkout ready to use: npm packages and native build, each only where its inputs changed.
//
//   node scripts/setup.mjs [--release]
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { npm, output, root, script } from './cargo.mjs';
import { makeCodec } from './codec.mjs';

const stampFile = join(root, 'node_modules', '.cache', 'stvor', 'build.json');
/** What the native build reads. Tests are left out: they change without the outputs changing. */
const inputs = ['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo', 'src', 'crates', 'package.json', 'scripts/build.mjs'];
const ignored = new Set(['tests', 'examples', 'benches', 'target', 'proptest-regressions']);

/** Installs and builds what is missing or stale. `release`: only a release build will do. */
export function setup({ release = false, quiet = false } = {}) {
  const say = (text) => quiet || console.error(text);
  if (!installed()) {
    say('Installing npm packages …');
    npm(['ci', '--ignore-scripts', '--loglevel=error'], { stdio: ['ignore', 2, 2] });
  }
  makeCodec();
  const inputsNow = fingerprint();
  const last = readJson(stampFile);
  const current = last?.inputs === inputsNow && (last.release || !release);
  if (current && existsSync(join(root, 'binding.js')) && last.outputs.every((file) => existsSync(join(root, file)))) return;
  say('Building the native addon and the `stvor` binary; the first build takes some minutes …');
  build({ release });
  mkdirSync(join(stampFile, '..'), { recursive: true });
  const outputs = readdirSync(root).filter((name) => /^stvor(\.exe|\..*\.node)?$/.test(name));
  writeFileSync(stampFile, JSON.stringify({ inputs: inputsNow, release, outputs }));
}

/** Whether node_modules holds what the lock file says; npm keeps its own account of that there. */
function installed() {
  const wanted = readJson(join(root, 'package-lock.json')).packages;
  const present = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages;
  if (!present) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '' || (optional && !present[path])) return true;
    return present[path]?.version === version && existsSync(join(root, path, 'package.json'));
  });
}

/** A hash over the compiler's version and the name and content of every input. */
function fingerprint() {
  const hash = createHash('sha256').update(output('rustc', ['-vV']));
  for (const input of inputs) add(input, hash);
  return hash.digest('hex');
}

function add(path, hash) {
  const full = join(root, path);
  let entries;
  try {
    entries = readdirSync(full, { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return;
    if (error.code !== 'ENOTDIR') throw error;
    hash.update(`\0${path}\0`).update(readFileSync(full));
    return;
  }
  const names = entries.map((entry) => entry.name).filter((name) => !ignored.has(name));
  for (const name of names.sort()) add(`${path}/${name}`, hash);
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(() => setup({ release: process.argv.includes('--release') }));
}
