'use strict';
// Where the warnings of stores that are provided here go: to the app that uses the store, else to the process.

const check = require('../arguments.js');

const told = new WeakMap();
/** What the process was told. */
const printed = new Set();

/** Sends the warnings of `store` through `warn`. */
function warnThrough(store, warn) {
  told.set(store, warn);
}

/** Gives a warning of `store`; the process gets each kind once. */
function warnOf(store, message, code) {
  const warn = told.get(store);
  if (warn !== undefined) return warn(message, code);
  if (!printed.has(code)) check.warn(message, code);
  printed.add(code);
}

module.exports = { warnOf, warnThrough };
