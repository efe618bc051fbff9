'use strict';
// Database clients that the user has installed: optional peers of this package, loaded only when a store
// is given an address instead of a client.

const { createRequire } = require('node:module');
const { join } = require('node:path');
const { StvorError } = require('../errors.js');

/** The first of the packages `names` that is installed: `{ name, module }`. */
function installed(option, names) {
  // Where package managers keep packages apart, ours may not see what the application has installed.
  for (const load of [require, createRequire(join(process.cwd(), 'application.js'))]) {
    for (const name of names) {
      const found = tryLoad(load, name);
      if (found !== undefined) return { name, module: found };
    }
  }
  throw new StvorError(
    'INVALID_ARGUMENT',
    `${option} needs ${names.join(' or ')}, which is not installed.`,
    `Run \`npm install ${names[0]}\`, or pass a client of your own instead of ${option}.`,
  );
}

function tryLoad(load, name) {
  try {
    return load(name);
  } catch (error) {
    // A package that is there and fails for another reason must say so itself.
    if (error?.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${name}'`)) return undefined;
    throw error;
  }
}

module.exports = { installed };
