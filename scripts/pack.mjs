// Makes the tarballs that are published: the main package, and one for each platform whose
// build is there. What the packaging test installs is what users install.
//
//   node scripts/pack.mjs [--out DIR] [--from DIR]     tarballs; `--from` holds <platform>/ directories
//   node scripts/pack.mjs --manifests                  npm/<platform>/package.json again
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.mjs';
import { npm, root, script } from './cargo.mjs';

const { platform: thisPlatform, platformOf } = createRequire(import.meta.url)('../platform.js');

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** Every platform with a package of its own. */
export const platforms = manifest.napi.targets.map(platformOf);

/** The package.json of the package for `platform`. */
export function platformManifest(platform) {
  const [os, cpu, abi] = platform.split('-');
  const { version, license, engines, repository, homepage } = manifest;
  return {
    name: `${manifest.name}-${platform}`,
    version,
    description: `The native code of ${manifest.name} for ${platform}`,
    license,
    repository,
    homepage,
    engines,
    os: [os],
    cpu: [cpu],
    ...(os === 'linux' && { libc: [abi === 'musl' ? 'musl' : 'glibc'] }),
    main: addonName(platform),
    files: [addonName(platform), binaryName(platform)],
  };
}

/** The package.json of the main package as it is published: with the platforms, without what only a checkout uses. */
export function mainManifest() {
  const { scripts: _scripts, devDependencies: _dev, overrides: _overrides, napi: _napi, ...published } = manifest;
  const optionalDependencies = Object.fromEntries(platforms.map((name) => [`${manifest.name}-${name}`, manifest.version]));
  return { ...published, optionalDependencies };
}

/** Packs the main package into `out` and returns the tarball's path. */
export function packMain(out) {
  return inStage((stage) => {
    const paths = contents(root).map(({ path }) => path);
    const bundled = bundle(paths);
    for (const path of paths.filter((path) => !(path in bundled))) copyInto(stage, path);
    for (const [path, text] of Object.entries(bundled)) if (text !== null) writeInto(stage, path, text);
    writeJson(join(stage, 'package.json'), mainManifest());
    return pack(stage, out);
  });
}

/** Packs the package for `platform` from the addon and binary in `from`; returns the tarball's path. */
export function packPlatform(out, platform = thisPlatform(), from = root) {
  return inStage((stage) => {
    const directory = join(root, 'npm', platform);
    cpSync(directory, stage, { recursive: true });
    copyFileSync(join(root, 'LICENSE'), join(stage, 'LICENSE'));
    copyFileSync(join(from, addonName(platform)), join(stage, addonName(platform)));
    copyFileSync(join(from, binaryName(platform)), join(stage, binaryName(platform)));
    chmodSync(join(stage, binaryName(platform)), 0o755);
    return pack(stage, out);
  });
}

/** What npm would put into the package in `directory`. */
function contents(directory) {
  return npmJson(['pack', '--dry-run', '--json', '--ignore-scripts'], directory)[0].files;
}

function pack(directory, out) {
  mkdirSync(out, { recursive: true });
  const [{ filename }] = npmJson(['pack', '--json', '--ignore-scripts', '--pack-destination', resolve(out)], directory);
  return resolve(out, filename);
}

/** npm's JSON on stdout; its warnings stay out of it. */
function npmJson(args, cwd) {
  return JSON.parse(npm([...args, '--loglevel=error'], { cwd, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' }));
}

function inStage(work) {
  const stage = mkdtempSync(join(tmpdir(), 'stvor-pack-'));
  try {
    return work(stage);
  } finally {
    rmSync(stage, { recursive: true });
  }
}

function copyInto(stage, path) {
  mkdirSync(dirname(join(stage, path)), { recursive: true });
  copyFileSync(join(root, path), join(stage, path));
}

function writeInto(stage, path, text) {
  mkdirSync(dirname(join(stage, path)), { recursive: true });
  writeFileSync(join(stage, path), text);
}

function writeManifests() {
  for (const platform of platforms) {
    mkdirSync(join(root, 'npm', platform), { recursive: true });
    writeJson(join(root, 'npm', platform, 'package.json'), platformManifest(platform));
    writeFileSync(
      join(root, 'npm', platform, 'README.md'),
      `# ${manifest.name}-${platform}\n\nThe native code of [${manifest.name}](${manifest.homepage}) for ${platform}. Install that package instead of this one.\n`,
    );
  }
}

const addonName = (platform) => `stvor.${platform}.node`;
const binaryName = (platform) => (platform.startsWith('win32') ? 'stvor.exe' : 'stvor');
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(() => {
    const option = (name) => process.argv.includes(name) && process.argv[process.argv.indexOf(name) + 1];
    if (process.argv.includes('--manifests')) return writeManifests();
    const out = option('--out') || join(root, 'dist');
    const from = option('--from');
    console.log(packMain(out));
    if (!from) return console.log(packPlatform(out));
    for (const platform of platforms.filter((name) => existsSync(join(from, name)))) {
      console.log(packPlatform(out, platform, join(from, platform)));
    }
  });
}
