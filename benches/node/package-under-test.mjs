// Packs the release build as it would be published and puts it into node_modules here, so that
// what is measured is what users install.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packMain, packPlatform } from '../../scripts/pack.mjs';

const scope = fileURLToPath(new URL('node_modules/@stvor', import.meta.url));

/** Installs both packages; returns their sizes in bytes, `{packed, unpacked}`. */
export function installPackage() {
  const out = mkdtempSync(join(tmpdir(), 'stvor-bench-'));
  try {
    rmSync(scope, { recursive: true, force: true });
    const tarballs = [packMain(out), packPlatform(out)];
    tarballs.forEach(unpack);
    return { packed: sum(tarballs.map((file) => statSync(file).size)), unpacked: sizeOf(scope) };
  } finally {
    rmSync(out, { recursive: true });
  }
}

/** `stvor-sdk-linux-x64-gnu-3.6.0.tgz` holds `@stvor/sdk-linux-x64-gnu`. */
function unpack(tarball) {
  const directory = join(scope, /stvor-(sdk.*?)-\d+\.\d+\.\d+/.exec(tarball)[1]);
  mkdirSync(directory, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', directory, '--strip-components=1']);
}

function sizeOf(path) {
  const entry = statSync(path);
  return entry.isDirectory() ? sum(readdirSync(path).map((name) => sizeOf(join(path, name)))) : entry.size;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
