// The packages as users get them: packed, installed into an empty directory, and used from there.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { output, program, root, targetDir } from '../scripts/cargo.mjs';
import { borrow, install, npx, runProgram, unpackSources, withoutNpm } from '../scripts/consumer.mjs';
import { packMain, packPlatform, platformManifest, platforms } from '../scripts/pack.mjs';

const { platform } = createRequire(import.meta.url)('../platform.js');

const directory = mkdtempSync(join(tmpdir(), 'stvor-packaging-'));
const project = join(directory, 'project');
const installed = join(project, 'node_modules', '@stvor');
const readJson = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
let main;

before(() => {
  const out = join(directory, 'tarballs');
  main = packMain(out);
  install(project, [main, packPlatform(out)]);
});

after(() => rmSync(directory, { recursive: true }));

describe('the packages', () => {
  test('hold the addon and an executable binary for this platform', () => {
    const names = readdirSync(join(installed, `sdk-${platform()}`));
    assert.ok(names.includes(`stvor.${platform()}.node`));
    const binary = names.find((name) => /^stvor(\.exe)?$/.test(name));
    assert.ok(binary);
    if (process.platform === 'win32') return;
    assert.equal(statSync(join(installed, `sdk-${platform()}`, binary)).mode & 0o111, 0o111);
  });

  test('run nothing at installation and depend on nothing but the platform packages', () => {
    const manifest = readJson(installed, 'sdk', 'package.json');
    assert.equal(manifest.scripts, undefined);
    assert.equal(manifest.dependencies, undefined);
    const expected = platforms.map((name) => [`@stvor/sdk-${name}`, manifest.version]);
    assert.deepEqual(Object.entries(manifest.optionalDependencies), expected);
  });

  test('hold no tests', () => {
    const names = readdirSync(join(installed, 'sdk'), { recursive: true });
    assert.deepEqual(names.filter((name) => /(^|[/\\])(tests?|__test__|vectors|node_modules)([/\\]|$)/.test(name)), []);
  });

  test('have the version of the crates', () => {
    const { version } = readJson(root, 'package.json');
    assert.match(readFileSync(join(root, 'Cargo.toml'), 'utf8'), new RegExp(`^version = "${version}"$`, 'm'));
  });

  test('ask for the Rust that their dependencies need', () => {
    const metadata = cargoMetadata();
    const ours = metadata.packages.find(({ name }) => name === 'stvor-sdk').rust_version;
    const newer = (version) => ours.localeCompare(version, undefined, { numeric: true }) < 0;
    const unmet = metadata.packages.filter(({ rust_version: version }) => version && newer(version));
    assert.deepEqual(unmet.map(({ name, rust_version: version }) => `${name} ${version}`), []);
  });

  test('have a reason for every direct dependency, in docs/DEPENDENCIES.md', () => {
    const { packages, workspace_members: members } = cargoMetadata();
    const crates = packages.filter(({ id }) => members.includes(id)).flatMap(({ dependencies }) => dependencies);
    const { devDependencies } = readJson(root, 'package.json');
    const names = [...crates.filter(({ path }) => !path).map(({ name }) => name), ...Object.keys(devDependencies)];
    const reasons = readFileSync(join(root, 'docs', 'DEPENDENCIES.md'), 'utf8');
    assert.deepEqual(names.filter((name) => !reasons.includes(`\`${name}\``)), []);
  });

  test('are described in npm/ for every platform', () => {
    assert.deepEqual(readdirSync(join(root, 'npm')).sort(), [...platforms].sort());
    for (const name of platforms) assert.deepEqual(readJson(root, 'npm', name, 'package.json'), platformManifest(name));
  });

  test('satisfy publint', () => {
    const printed = execFileSync(process.execPath, [program('publint/src/cli.js'), main, '--strict'], { encoding: 'utf8' });
    assert.match(printed, /All good!/);
  });

  test('satisfy are-the-types-wrong', () => {
    const printed = execFileSync(process.execPath, [program('@arethetypeswrong/cli/dist/index.js'), main], { encoding: 'utf8' });
    assert.match(printed, /No problems found/);
  });
});

describe('the installed package', () => {
  test('is imported by ES modules', async () => {
    const source = `
      import { createApp, StvorError } from '@stvor/sdk';
      import { generateKeyPair } from '@stvor/sdk/ratchet';
      import { startMockRelay } from '@stvor/sdk/mock-relay';
      const relay = await startMockRelay();
      const app = await createApp({ appToken: 'stvor_test', relayUrl: relay.url });
      const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
      const received = new Promise((resolve) => bob.onMessage(resolve));
      await alice.send('bob', new Map([['a', 1n]]));
      console.log((await received).content.get('a'), app.isReady(), generateKeyPair().publicKey.length, new StvorError('AUTH_FAILED', 'text').code);
      await app.disconnect();
      await relay.close();`;
    assert.equal(await runProgram(project, 'esm.mjs', source), '1n true 65 AUTH_FAILED\n');
  });

  test('is required by CommonJS modules, by load() and by destructuring, as one implementation', async () => {
    const source = `
      const sdk = require('@stvor/sdk');
      const { StvorError, createApp } = require('@stvor/sdk');
      const { encryptMessage } = require('@stvor/sdk/ratchet');
      sdk.load().then(async ({ Stvor }) => {
        const imported = await import('@stvor/sdk');
        console.log(Stvor.init === createApp, imported.StvorError === StvorError, typeof encryptMessage);
      });`;
    assert.equal(await runProgram(project, 'cjs.cjs', source), 'true true function\n');
  });

  test('checks stores of its own, without the packages that tests of this project use', async () => {
    const source = `
      import { checkAdapters } from '@stvor/sdk/testing';
      import { postgresStorage, redisReplayCache } from '@stvor/sdk';
      for (const make of [() => postgresStorage({ connectionString: 'postgres://localhost' }), () => redisReplayCache({ url: 'redis://localhost' })]) {
        try { make(); } catch (error) { console.log(error.action); }
      }
      await checkAdapters({ replay: { checkAndMark: async (peerId, nonce, userId) => false } }, { only: ['replay'] })
        .catch((error) => console.log(error.code, error.failures.map(({ rule }) => rule).join()));`;
    assert.equal(await runProgram(project, 'testing.mjs', source), [
      'Run `npm install pg`, or pass a client of your own instead of connectionString.',
      'Run `npm install redis`, or pass a client of your own instead of url.',
      'STORAGE_NONCONFORMING replay-answers,replay-atomic,replay-nonces\n',
    ].join('\n'));
  });

  test('names itself and its version', async () => {
    const { version } = readJson(root, 'package.json');
    const source = "console.log(require('@stvor/sdk/package.json').version)";
    assert.equal(await runProgram(project, 'version.cjs', source), `${version}\n`);
  });

  test('compiles under TypeScript with NodeNext and Bundler, from ES modules and CommonJS', () => {
    borrow(project, ['@types/node', 'undici-types']);
    const types = join(project, '__test__', 'types');
    cpSync(join(root, '__test__', 'types'), types, { recursive: true });
    cpSync(join(root, 'examples'), join(project, 'examples'), { recursive: true });
    for (const name of readdirSync(types).filter((file) => file.startsWith('tsconfig.'))) {
      execFileSync(process.execPath, [program('typescript/bin/tsc'), '-p', join(types, name)], { stdio: 'inherit' });
    }
  });
});

describe('npx @stvor/sdk mock-relay', () => {
  test('serves /health, carries a message between two processes, and ends with exit code 0', async () => {
    const { child, url, port } = await startRelay();
    const health = await fetch(`http://127.0.0.1:${port}/health`);
    assert.equal(health.status, 200);

    const connected = (user) => `
      import { createApp } from '@stvor/sdk';
      const app = await createApp({ appToken: 'stvor_test', relayUrl: ${JSON.stringify(url)} });
      const client = await app.connect(${JSON.stringify(user)});`;
    const receiver = runProgram(project, 'receiver.mjs', `${connected('bob')}
      client.onMessage(async ({ senderId, content }) => {
        console.log(senderId, content);
        await app.disconnect();
      });`);
    const sender = runProgram(project, 'sender.mjs', `${connected('alice')}
      await client.send('bob', 'over the wire');
      await app.disconnect();`);
    assert.deepEqual(await Promise.all([receiver, sender]), ['alice over the wire\n', '']);

    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  });

  // npm leaves SIGINT to the terminal, which sends it to the server as well.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGKILL']) {
    test(`leaves no server behind when npx is ended by ${signal}`, { timeout: 20_000 }, async () => {
      const { child } = await startRelay();
      child.kill(signal);
      // The launcher and the server write to the same pipe: it closes when the last of them is gone.
      await once(child.stdout, 'close');
    });
  }

  test('passes arguments, output and the exit code on', async () => {
    const { child: first, port } = await startRelay();
    const second = spawn(process.execPath, [join(installed, 'sdk', 'bin', 'stvor.js'), 'mock-relay', '--port', String(port)]);
    let complaint = '';
    second.stderr.setEncoding('utf8').on('data', (text) => (complaint += text));
    const [code] = await once(second, 'close');
    assert.match(complaint, new RegExp(`^[^\n]*${port}[^\n]*\n$`));
    assert.equal(code, 1);
    first.kill('SIGTERM');
    await once(first, 'exit');
  });

  for (const signal of ['SIGINT', 'SIGTERM']) {
    test(`stops with exit code 0 when the launcher gets ${signal}`, async () => {
      const args = [join(installed, 'sdk', 'bin', 'stvor.js'), 'mock-relay', '--port', '0', '--output', 'json'];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      await listening(child);
      child.kill(signal);
      assert.deepEqual(await once(child, 'close'), [0, null]);
    });
  }
});

describe('where no prebuilt package fits', () => {
  const bare = join(directory, 'bare');
  before(() => install(bare, [main]));

  test('the error names the platform and how to build from source', async () => {
    await assert.rejects(runProgram(bare, 'app.cjs', "require('@stvor/sdk')"), (error) => {
      assert.match(error.stderr, new RegExp(`${platform()}\\b`));
      assert.match(error.stderr, /build\.mjs --release/);
      return true;
    });
  });

  test('an unknown platform is named too, by import and by the launcher', async () => {
    writeFileSync(join(bare, 'elsewhere.cjs'), "Object.defineProperty(process, 'arch', { value: 'riscv64' });");
    const args = ['--require', './elsewhere.cjs'];
    const names = (error) => {
      assert.match(error.stderr, new RegExp(`${process.platform}-riscv64.*no prebuilt package`));
      assert.match(error.stderr, /build\.mjs --release/);
      return true;
    };
    await assert.rejects(runProgram(bare, 'app.mjs', "import '@stvor/sdk'", { args }), names);
    const launch = "process.argv = [process.argv[0], 'stvor', 'mock-relay']; require('@stvor/sdk/package.json'); require('./node_modules/@stvor/sdk/bin/stvor.js')";
    await assert.rejects(runProgram(bare, 'launch.cjs', launch, { args }), names);
  });

  test('the packed sources build, and what they build is found', async () => {
    // Not in cargo's directory: what cargo notes of sources there would stand in the way of changes to these.
    const sources = join(directory, 'packed-sources');
    unpackSources(main, sources);
    const env = { ...withoutNpm(), CARGO_TARGET_DIR: targetDir() };
    execFileSync(process.execPath, [join(sources, 'scripts', 'build.mjs')], { cwd: sources, env, stdio: ['ignore', 'ignore', 'inherit'] });
    const source = "const { generateKeyPair } = require('./index.js'); console.log(generateKeyPair().privateKey.length);";
    assert.equal(await runProgram(sources, 'app.cjs', source), '32\n');
    const version = execFileSync(process.execPath, [join(sources, 'bin', 'stvor.js'), '--version'], { encoding: 'utf8' });
    assert.match(version, /^stvor \d+\.\d+\.\d+\n$/);
  });
});

function cargoMetadata() {
  return JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--locked']));
}

async function startRelay() {
  const child = npx(project, ['@stvor/sdk', 'mock-relay', '--port', '0', '--output', 'json']);
  return { child, ...(await listening(child)) };
}

async function listening(child) {
  const lines = createInterface({ input: child.stdout });
  const [line] = await once(lines, 'line');
  return JSON.parse(line);
}
