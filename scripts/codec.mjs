// Makes lib/cborg.js: the CBOR library as one CommonJS file. The library is ES modules only, which
// CommonJS cannot load on every Node.js that we run on, and the package has no dependencies.
//
//   node scripts/codec.mjs
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, script } from './cargo.mjs';

/** What of the library lib/structured.js uses. */
const ENTRY = "export { decode, encode, Token, Tokenizer, Type } from 'cborg';";
const file = join(root, 'lib', 'cborg.js');

/** Writes the file, unless it is there and of this version. */
export function makeCodec() {
  const library = join(root, 'node_modules', 'cborg');
  const { version } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8'));
  const banner = `/* cborg ${version}, https://github.com/rvagg/cborg, in one file.\n${readFileSync(join(library, 'LICENSE'), 'utf8').trim()}\n*/`;
  if (existsSync(file) && readFileSync(file, 'utf8').includes(banner)) return;
  const { buildSync } = createRequire(import.meta.url)('esbuild'); // here: it may just have been installed
  const { outputFiles } = buildSync({
    stdin: { contents: ENTRY, resolveDir: root },
    banner: { js: banner },
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node18',
    minifySyntax: true,
    minifyWhitespace: true,
    write: false,
  });
  writeFileSync(file, outputFiles[0].text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await script(makeCodec);
