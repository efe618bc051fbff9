// The package's JavaScript in few files: Node.js takes longer to find, read and wrap a dozen small
// ones than to load the addon. The public entry points stay files of their own; everything that they
// share goes into bundle.js, each module still a function of its own. What reads and writes CBOR stays
// outside: few programs send what needs it, and reading it would take a tenth of the time. So do the
// stores that are loaded by their first use, and the conformance suite, which only tests load.
import { readFileSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { root } from './cargo.mjs';

const library = filesIn('lib');
const usual = ['embedded', 'postgres', 'redis'].map((name) => `lib/storage/${name}.js`);
const seldom = [
  'lib/structured.js',
  'lib/cborg.js',
  ...library.filter((path) => /^lib\/(conformance|storage)\//.test(path) && !usual.includes(path)),
];
const shared = ['platform.js', 'ratchet.js', ...library].filter((path) => !seldom.includes(path));
const isShared = (path) => shared.includes(path);

function filesIn(directory) {
  const entries = readdirSync(join(root, directory), { withFileTypes: true });
  return entries.flatMap((entry) => {
    const path = `${directory}/${entry.name}`;
    return entry.isDirectory() ? filesIn(path) : [path];
  });
}

/** The files to pack instead of the checkout's: path -> text, or null for a file that is left out. */
export function bundle(paths) {
  const entries = paths.filter((path) => /^[^/]*\.js$/.test(path) && path !== 'binding.js' && !isShared(path));
  return {
    ...Object.fromEntries(shared.map((path) => [path, null])),
    ...Object.fromEntries([...entries, ...seldom.filter((path) => path !== 'lib/cborg.js')].map((path) => [path, entry(path)])),
    'platform.js': front('platform.js'),
    'ratchet.js': front('ratchet.js'),
    'bundle.js': bundled(),
  };
}

/** What stays of a bundled module that is asked for by its name. `import` finds the names only where they are written out. */
function front(path) {
  const [, names] = /^module\.exports = \{([^}]*)\};$/m.exec(readFileSync(join(root, path), 'utf8'));
  return `'use strict';\nconst {${names}} = require('./bundle.js')('${path}');\nmodule.exports = {${names}};\n`;
}

/** A module that stays a file of its own. */
function entry(path) {
  const bundlePath = from(posix.dirname(path), 'bundle.js');
  return rewritten(path, posix.dirname(path)).replace(/^'use strict';\n/, `$&const bundled = require('${bundlePath}');\n`);
}

function bundled() {
  // In parentheses, the functions are compiled with the file; without, each again when it is called.
  const modules = shared.map((path) => `'${path}': (function (module, bundled) {\n${rewritten(path, '.')}\n}),\n`);
  return `'use strict';
const modules = {
${modules.join('')}};
const loaded = Object.create(null);
module.exports = function bundled(path) {
  if (path in loaded) return loaded[path].exports;
  const module = (loaded[path] = { exports: {} });
  modules[path](module, bundled);
  return module.exports;
};
`;
}

/** The module's text for a file in `directory`, asking the bundle for what is in it. */
function rewritten(path, directory) {
  const text = readFileSync(join(root, path), 'utf8');
  return text.replace(/\brequire\('(\.[^']*)'\)/g, (call, to) => {
    const target = posix.join(posix.dirname(path), to);
    return isShared(target) ? `bundled('${target}')` : `require('${from(directory, target)}')`;
  });
}

/** How a file in `directory` names `path`. */
function from(directory, path) {
  const relative = posix.relative(directory, path);
  return relative.startsWith('.') ? relative : `./${relative}`;
}
