// A project of a user: an empty directory with the packed packages installed.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { npm, root } from './cargo.mjs';

const execute = promisify(execFile);

/**
 * Installs `tarballs` into `directory`, without reaching a registry: platform packages for other
 * machines are left out, as npm leaves them out.
 */
export function install(directory, tarballs) {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'package.json'), '{ "name": "consumer", "private": true }\n');
  npm(['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs], {
    cwd: directory,
    env: withoutNpm(),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Makes packages of the checkout's node_modules available to a consumer, as if it had installed them. */
export function borrow(directory, names) {
  for (const name of names) {
    const link = join(directory, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link, 'junction');
  }
}

/** Writes `source` into the file `name` of the project and runs it by `node`; resolves to what it prints. */
export async function runProgram(directory, name, source, { node = process.execPath, args = [], env } = {}) {
  writeFileSync(join(directory, name), source);
  const { stdout } = await execute(node, [...args, name], { cwd: directory, env: { ...withoutNpm(), ...env }, timeout: 60_000 });
  return stdout;
}

/** Starts `npx ...args` in the project; its stdout is piped. */
export function npx(directory, args) {
  return spawn('npx', args, {
    cwd: directory,
    env: withoutNpm(),
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  });
}

/**
 * Unpacks the main package's tarball into `directory`, whatever was there before. Tarballs of npm
 * date every file to 1985, and cargo would take changed sources for old ones: they get a new date.
 */
export function unpackSources(tarball, directory) {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', directory, '--strip-components=1']);
  const now = new Date();
  for (const name of readdirSync(directory, { recursive: true })) utimesSync(join(directory, name), now, now);
}

/** The environment without what the npm that runs us has put there. */
export function withoutNpm() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_(?!config_userconfig)|INIT_CWD|NODE_TEST_CONTEXT)/i.test(name)));
}
