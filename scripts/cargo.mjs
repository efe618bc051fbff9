// Where the project lies, how its programs are run, and what cargo is given.
// Node built-ins only: these scripts run before anything is installed.
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The cargo packages that a build makes: the addon and the `stvor` binary. */
export const packages = ['-p', 'stvor-sdk', '-p', 'stvor-cli'];

/** The triple of this machine. Every build names it, so that all of them share one set of outputs. */
export function hostTriple() {
  return /^host: (.*)$/m.exec(output('rustc', ['-vV']))[1];
}

/** Where cargo puts what it builds; follows CARGO_TARGET_DIR and cargo's own configuration. */
export function targetDir() {
  const metadata = output('cargo', ['metadata', '--format-version', '1', '--no-deps']);
  return JSON.parse(metadata).target_directory;
}

/** What `command` prints; throws an explained error where it is missing. */
export function output(command, args) {
  try {
    return execFileSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  } catch (error) {
    throw error.code === 'ENOENT' ? missing(command) : error;
  }
}

/** Runs `command` with its output shown; throws if it fails. Returns its stdout where `stdio` pipes that. */
export function run(command, args, options = {}) {
  const { status, signal, error, stdout } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) throw error.code === 'ENOENT' ? missing(command) : error;
  if (status !== 0) throw new Failed(`\`${[command, ...args].join(' ')}\` failed: ${signal ?? `exit code ${status}`}`);
  return stdout;
}

/** Runs the npm that runs us, or the one in PATH. */
export function npm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli && /npm-cli\.[cm]?js$/.test(cli)) return run(process.execPath, [cli, ...args], options);
  return run('npm', args, { shell: process.platform === 'win32', ...options });
}

/** The JavaScript file of a program that a dev dependency brings. */
export const program = (path) => join(root, 'node_modules', path);

/** A program we ran failed and has said why: nothing of ours is to be added but its name. */
export class Failed extends Error {}

/** Runs `main`; an expected failure ends the process with one line instead of a stack. */
export async function script(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Failed ? error.message : error);
    process.exitCode = 1;
  }
}

function missing(command) {
  const how = /^(cargo|rustc)$/.test(command) ? 'install Rust (https://rustup.rs), then try again' : 'install it, then try again';
  return new Failed(`\`${command}\` was not found: ${how}`);
}
