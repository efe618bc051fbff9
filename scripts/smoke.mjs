// Does the installed package work here at all? A CommonJS and an ES module program each exchange
// messages over the mock relay and have to end by themselves.
//
//   node scripts/smoke.mjs DIR     installs this platform's tarballs from DIR and tries them
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failed, script } from './cargo.mjs';
import { install, runProgram } from './consumer.mjs';

const { platform } = createRequire(import.meta.url)('../platform.js');

const body = `
  (async () => {
    const relay = await startMockRelay();
    const app = await createApp({ appToken: 'stvor_smoke', relayUrl: relay.url });
    const [alice, bob] = await Promise.all([app.connect('alice'), app.connect('bob')]);
    const text = new Promise((resolve) => bob.onMessage((from, content) => resolve(from + ': ' + content)));
    const contents = [];
    const both = new Promise((resolve) => alice.onMessage(({ content }) => contents.push(content) === 2 && resolve()));
    await alice.send('bob', 'hello 🔐');
    await bob.send('alice', new Uint8Array([0, 255, 128]));
    await bob.send('alice', new Map([[1n, new Date(5)]]));
    await both;
    console.log(await text, [...contents[0]].join(), contents[1].get(1n).getTime());
    await app.disconnect();
    await relay.close();
  })();`;
const expected = 'alice: hello 🔐 0,255,128 5\n';

const programs = {
  'app.cjs': `const { createApp } = require('@stvor/sdk');\nconst { startMockRelay } = require('@stvor/sdk/mock-relay');${body}`,
  'app.mjs': `import { createApp } from '@stvor/sdk';\nimport { startMockRelay } from '@stvor/sdk/mock-relay';${body}`,
};

/** Installs into a directory that is gone afterwards, and hands its path to `work`. */
export async function withInstalled(tarballs, work) {
  const directory = mkdtempSync(join(tmpdir(), 'stvor-smoke-'));
  try {
    install(directory, tarballs);
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs both programs under `runtime` and reports each; returns how many passed and failed. */
export async function smoke(project, name, runtime) {
  const counts = { passed: 0, failed: 0 };
  for (const [file, source] of Object.entries(programs)) {
    const problem = await problemOf(() => runProgram(project, file, source, runtime));
    console.log(`${problem ? '✖' : '✔'} ${name}, ${file}${problem ? `\n${problem}` : ''}`);
    counts[problem ? 'failed' : 'passed'] += 1;
  }
  return counts;
}

/** What is wrong, or undefined where the program printed what it should. */
async function problemOf(run) {
  try {
    const printed = await run();
    return printed === expected ? undefined : `printed ${JSON.stringify(printed)}`;
  } catch (error) {
    return error.stderr || error.message;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    const directory = resolve(process.argv[2]);
    const ours = new RegExp(`^stvor-sdk-(${platform()}-)?\\d`);
    const tarballs = readdirSync(directory).filter((file) => ours.test(file));
    if (tarballs.length !== 2) throw new Failed(`no packages for ${platform()} in ${directory}`);
    const counts = await withInstalled(tarballs.map((file) => join(directory, file)), (project) => smoke(project, `Node.js ${process.version}`));
    console.log(`${counts.passed} passed, ${counts.failed} failed`);
    if (counts.failed > 0) throw new Failed('the package does not work here');
  });
}
