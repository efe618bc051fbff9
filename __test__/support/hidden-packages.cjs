// Preloaded into a program: the packages that HIDDEN_PACKAGES names are as good as not installed.
const Module = require('node:module');

const hidden = process.env.HIDDEN_PACKAGES.split(',');
const { _resolveFilename: resolve } = Module;
Module._resolveFilename = function resolveVisible(request, ...rest) {
  if (!hidden.includes(request)) return resolve.call(this, request, ...rest);
  throw Object.assign(new Error(`Cannot find module '${request}'`), { code: 'MODULE_NOT_FOUND' });
};
