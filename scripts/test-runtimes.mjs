// Runs the installed package under every runtime it supports: Node.js 18 to 26, Bun and Deno, each
// taken from npm. In each, a CommonJS and an ES module program exchange messages over the mock relay.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failed, npm, root, script } from './cargo.mjs';
import { install, runProgram } from './consumer.mjs';
import { packMain, packPlatform } from './pack.mjs';
import { setup } from './setup.mjs';

const nodeVersions = [18, 20, 22, 24, 26];
const runtimes = join(root, 'node_modules', '.cache', 'stvor', 'runtimes');
const modules = join(runtimes, 'node_modules');
const windows = process.platform === 'win32';
const exe = windows ? '.exe' : '';

const program = `
  (async () => {
    const relay = await startMockRelay();
    const app = await createApp({ appToken: 'stvor_runtimes', relayUrl: relay.url });
    const [alice, bob] = await Promise.all([app.connect('alice'), app.connect('bob')]);
    const heard = new Promise((resolve) => bob.onMessage((from, content) => resolve(from + ': ' + content)));
    const bytes = new Promise((resolve) => alice.onMessage((message) => resolve(message.content)));
    await alice.send('bob', 'hello 🔐');
    await bob.send('alice', new Uint8Array([0, 255, 128]));
    console.log(await heard, [...(await bytes)].join());
    await app.disconnect();
    await relay.close();
  })();`;
const expected = 'alice: hello 🔐 0,255,128\n';

const programs = {
  'app.cjs': `const { createApp } = require('@stvor/sdk');\nconst { startMockRelay } = require('@stvor/sdk/mock-relay');${program}`,
  'app.mjs': `import { createApp } from '@stvor/sdk';\nimport { startMockRelay } from '@stvor/sdk/mock-relay';${program}`,
};

await script(async () => {
  setup();
  installRuntimes();
  const directory = mkdtempSync(join(tmpdir(), 'stvor-runtimes-'));
  try {
    const project = join(directory, 'project');
    install(project, [packMain(directory), packPlatform(directory)]);
    await everywhere(project);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

async function everywhere(project) {
  const failed = [];
  for (const [name, runtime] of Object.entries(executables())) {
    for (const [file, source] of Object.entries(programs)) {
      const problem = await attempt(() => runProgram(project, file, source, runtime));
      console.log(`${problem ? '✖' : '✔'} ${name} ${file}${problem ? `\n${problem}` : ''}`);
      if (problem) failed.push(`${name} ${file}`);
    }
  }
  const total = Object.keys(executables()).length * Object.keys(programs).length;
  console.log(`${total - failed.length} passed, ${failed.length} failed`);
  if (failed.length > 0) throw new Failed(`Failed: ${failed.join(', ')}`);
}

/** What is wrong, or undefined where the program printed what it should. */
async function attempt(run) {
  try {
    const printed = await run();
    return printed === expected ? undefined : `printed ${JSON.stringify(printed)}`;
  } catch (error) {
    return error.stderr || error.message;
  }
}

function nodePackage() {
  return `node-${windows ? 'win' : process.platform}-${process.arch}`;
}

function installRuntimes() {
  const wanted = nodeVersions.map((version) => `node${version}@npm:${nodePackage()}@${version}`);
  if (existsSync(join(modules, 'deno'))) return;
  console.error('Installing runtimes …');
  mkdirSync(runtimes, { recursive: true });
  writeFileSync(join(runtimes, 'package.json'), '{ "private": true }\n');
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...wanted, 'bun@1', 'deno@2'], {
    cwd: runtimes,
    stdio: ['ignore', 2, 2],
  });
}

/** Name -> how to run a file. The binaries of Bun and Deno are in packages of their own for each platform. */
function executables() {
  const nodes = nodeVersions.map((version) => [`Node.js ${version}`, { node: join(modules, `node${version}`, 'bin', `node${exe}`) }]);
  const abi = process.platform === 'linux' ? '-glibc' : '';
  return {
    ...Object.fromEntries(nodes),
    Bun: { node: join(modules, '@oven', `bun-${windows ? 'windows' : process.platform}-${process.arch === 'arm64' ? 'aarch64' : 'x64'}`, 'bin', `bun${exe}`) },
    Deno: { node: join(modules, '@deno', `${process.platform}-${process.arch}${abi}`, `deno${exe}`), args: ['run', '--allow-all'] },
  };
}
