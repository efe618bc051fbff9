'use strict';

// Which prebuilt package fits this process, where the addon and the `stvor` binary lie, and what to say where
// nothing fits. Loading this file loads no native code.

const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { StvorError } = require('./lib/errors.js');

/** The platforms that have prebuilt packages, by the triple that they are compiled for. */
const targets = {
  'x86_64-unknown-linux-gnu': 'linux-x64-gnu',
  'aarch64-unknown-linux-gnu': 'linux-arm64-gnu',
  'x86_64-unknown-linux-musl': 'linux-x64-musl',
  'aarch64-unknown-linux-musl': 'linux-arm64-musl',
  'x86_64-apple-darwin': 'darwin-x64',
  'aarch64-apple-darwin': 'darwin-arm64',
  'x86_64-pc-windows-msvc': 'win32-x64-msvc',
  'aarch64-pc-windows-msvc': 'win32-arm64-msvc',
};

/** The name of this process's platform as package names have it, say `linux-x64-gnu`. */
function platform() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform === 'linux') return `${base}-${isMusl() ? 'musl' : 'gnu'}`;
  return process.platform === 'win32' ? `${base}-msvc` : base;
}

/** The platform's name for a compiler's triple, say `linux-x64-gnu` for `x86_64-unknown-linux-gnu`. */
function platformOf(triple) {
  return targets[triple] ?? platform();
}

/** The addon. The generated `binding.js` searches everywhere, which takes longer than loading what it finds. */
function binding() {
  try {
    return builtOrInstalled() ?? require('./binding.js');
  } catch (cause) {
    throw missing(cause);
  }
}

/** The addon where a build or an installation puts it; undefined where it is not, or does not load. */
function builtOrInstalled() {
  const base = `${process.platform}-${process.arch}`;
  const abis = { linux: ['-gnu', '-musl'], win32: ['-msvc'] }[process.platform] ?? [''];
  for (const name of abis.map((abi) => base + abi)) {
    const built = join(__dirname, `stvor.${name}.node`);
    try {
      return require(existsSync(built) ? built : `@stvor/sdk-${name}`);
    } catch {
      // For the other C library, or not there: the next one, and then binding.js, which says why.
    }
  }
}

/** The path of the bundled `stvor` binary: beside us in a source build, else in the platform's package. */
function binaryPath() {
  const name = process.platform === 'win32' ? 'stvor.exe' : 'stvor';
  const built = join(__dirname, name);
  if (existsSync(built)) return built;
  try {
    return require.resolve(`@stvor/sdk-${platform()}/${name}`);
  } catch (cause) {
    throw missing(cause);
  }
}

/** The error for a platform without a package that fits: names it, and says what to do. */
function missing(cause) {
  const name = platform();
  const known = Object.values(targets).includes(name);
  const why = known
    ? `its package @stvor/sdk-${name} is not installed (were optional dependencies left out?)`
    : `there is no prebuilt package for it`;
  const action =
    (known ? 'Install again with optional dependencies, or build' : 'Build') +
    ` it from source (needs Rust and a C compiler): node ${join(__dirname, 'scripts', 'build.mjs')} --release`;
  const message = `@stvor/sdk cannot load its native code for ${name}: ${why}. ${action}`;
  return new StvorError('UNSUPPORTED_PLATFORM', message, action, false, { cause });
}

/** As napi-rs tells them apart: glibc reports its version, musl's loader is named in ldd. */
function isMusl() {
  if (process.report) process.report.excludeNetwork = true; // spares name look-ups
  const report = process.report?.getReport();
  const { header, sharedObjects = [] } = typeof report === 'string' ? JSON.parse(report) : report ?? {};
  if (header?.glibcVersionRuntime) return false;
  if (sharedObjects.some((file) => file.includes('libc.musl-') || file.includes('ld-musl-'))) return true;
  try {
    return readFileSync('/usr/bin/ldd', 'utf8').includes('musl');
  } catch {
    return false;
  }
}

module.exports = { platform, platformOf, binaryPath, binding, missing, targets };
