'use strict';
// Whoever imports the package loads this file; the storage, with the parts of Node.js that it needs, is loaded by
// its first call.

function postgresStorage(options) {
  return require('./postgres-storage.js').postgresStorage(options);
}

module.exports = { postgresStorage };
