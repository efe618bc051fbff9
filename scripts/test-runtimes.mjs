// Runs the installed package under every runtime it supports: Node.js 18 to 26, Bun and Deno, each
// taken from npm.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failed, npm, root, script } from './cargo.mjs';
import { packMain, packPlatform } from './pack.mjs';
import { setup } from './setup.mjs';
import { smoke, withInstalled } from './smoke.mjs';

const nodeVersions = [18, 20, 22, 24, 26];
const runtimes = join(root, 'node_modules', '.cache', 'stvor', 'runtimes');
const modules = join(runtimes, 'node_modules');
const windows = process.platform === 'win32';
const exe = windows ? '.exe' : '';

await script(async () => {
  setup();
  installRuntimes();
  const out = mkdtempSync(join(tmpdir(), 'stvor-tarballs-'));
  try {
    await withInstalled([packMain(out), packPlatform(out)], everywhere);
  } finally {
    rmSync(out, { recursive: true });
  }
});

async function everywhere(project) {
  const total = { passed: 0, failed: 0 };
  for (const [name, runtime] of Object.entries(executables())) {
    const { passed, failed } = await smoke(project, name, runtime);
    total.passed += passed;
    total.failed += failed;
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  if (total.failed > 0) throw new Failed('some runtimes failed');
}

function installRuntimes() {
  if (existsSync(join(modules, 'deno'))) return;
  const nodePackage = `node-${windows ? 'win' : process.platform}-${process.arch}`;
  const nodes = nodeVersions.map((version) => `node${version}@npm:${nodePackage}@${version}`);
  console.error('Installing runtimes …');
  mkdirSync(runtimes, { recursive: true });
  writeFileSync(join(runtimes, 'package.json'), '{ "private": true }\n');
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...nodes, 'bun@1', 'deno@2'], {
    cwd: runtimes,
    stdio: ['ignore', 2, 2],
  });
}

/** Name -> how to run a file. Bun and Deno have packages of their own for each platform's binary. */
function executables() {
  const nodes = nodeVersions.map((version) => [`Node.js ${version}`, { node: join(modules, `node${version}`, 'bin', `node${exe}`) }]);
  const bun = `bun-${windows ? 'windows' : process.platform}-${process.arch === 'arm64' ? 'aarch64' : 'x64'}`;
  const deno = `${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}`;
  return {
    ...Object.fromEntries(nodes),
    Bun: { node: join(modules, '@oven', bun, 'bin', `bun${exe}`) },
    Deno: { node: join(modules, '@deno', deno, `deno${exe}`), args: ['run', '--allow-all'] },
  };
}
