// Builds the addon (`stvor.<platform>.node`) and the `stvor` binary into the project's directory.
//
//   node scripts/build.mjs [--release] [--target TRIPLE] [napi's cross-building flags]
//
// Without --release it uses the `local` profile: as fast at run time, rebuilt in seconds. In an
// installed package there is no napi program: cargo alone builds, and the packed binding.js is used.
import { chmodSync, copyFileSync, existsSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTriple, packages, program, root, run, script, targetDir } from './cargo.mjs';

const { platform, platformOf } = createRequire(import.meta.url)('../platform.js');

/** Builds both; `flags` go to the napi program. */
export function build({ release = false, target = hostTriple(), flags = [] } = {}) {
  const profile = release ? 'release' : 'local';
  const napi = program('@napi-rs/cli/dist/cli.js');
  const built = join(targetDir(), target, profile);
  if (existsSync(napi)) {
    const outputs = ['--platform', '--js', 'binding.js', '--dts', 'binding.d.ts'];
    run(process.execPath, [napi, 'build', ...outputs, '--profile', profile, '--target', target, ...flags, '--', ...packages]);
  } else {
    run('cargo', ['build', '--locked', '--profile', profile, '--target', target, ...packages], { env: sourceEnv(target) });
    replace(join(built, libraryName(target)), join(root, `stvor.${target === hostTriple() ? platform() : platformOf(target)}.node`));
  }
  const binary = target.includes('windows') ? 'stvor.exe' : 'stvor';
  replace(join(built, binary), join(root, binary), 0o755);
}

/**
 * The addon with what a test needs to look for root keys in memory. Lies among cargo's outputs, far from
 * what is packed. Returns its path.
 */
export function buildTestAddon(target = hostTriple()) {
  const built = join(targetDir(), target, 'local');
  const features = ['--features', 'stvor-sdk/test-hooks'];
  run('cargo', ['build', '--quiet', '--profile', 'local', '--target', target, ...packages, ...features]);
  const addon = join(built, 'stvor.test-hooks.node');
  replace(join(built, libraryName(target)), addon);
  return addon;
}

/** Puts a copy in place in one step, so that a running program keeps the file it has open. */
function replace(from, to, mode = 0o644) {
  const fresh = `${to}.new`;
  copyFileSync(from, fresh);
  chmodSync(fresh, mode);
  renameSync(fresh, to);
}

function libraryName(target) {
  if (target.includes('windows')) return 'stvor_sdk.dll';
  return target.includes('apple') ? 'libstvor_sdk.dylib' : 'libstvor_sdk.so';
}

/** musl links statically by default, and then cannot make the shared library that an addon is. */
function sourceEnv(target) {
  if (!target.includes('musl')) return process.env;
  return { ...process.env, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ''} -C target-feature=-crt-static`.trim() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(() => {
    const args = process.argv.slice(2);
    const release = args.includes('--release');
    const at = args.indexOf('--target');
    const target = at < 0 ? undefined : args[at + 1];
    const flags = args.filter((arg, i) => arg !== '--release' && (at < 0 || (i !== at && i !== at + 1)));
    build({ release, target, flags });
  });
}
