'use strict';
// @stvor/sdk: the public names. One CommonJS implementation serves `import` and `require`, so that
// there is one StvorError for both. Named imports work because the object below is a literal.

const { Stvor, StvorApp, createApp } = require('./lib/app.js');
const { StvorFacadeClient } = require('./lib/client.js');
const { StvorError, STVOR_ERRORS } = require('./lib/errors.js');
const { CryptoSessionManager } = require('./lib/manager.js');
const { postgresStorage } = require('./lib/storage/postgres.js');
const { RedisReplayCache, redisReplayCache } = require('./lib/storage/redis.js');
const { generateFingerprint, verifyMetricsSignature } = require('./lib/proofs.js');
const {
  initializeCrypto,
  generateKeyPair,
  ecSign,
  ecVerify,
  x3dhSymmetric,
  establishSession,
  encryptMessage,
  decryptMessage,
  forceRatchet,
  serializeSession,
  deserializeSession,
} = require('./ratchet.js');

const init = createApp;
const load = async () => module.exports;

module.exports = {
  Stvor,
  StvorApp,
  StvorFacadeClient,
  StvorError,
  STVOR_ERRORS,
  createApp,
  init,
  load,
  postgresStorage,
  redisReplayCache,
  RedisReplayCache,
  CryptoSessionManager,
  generateFingerprint,
  verifyMetricsSignature,
  initializeCrypto,
  generateKeyPair,
  ecSign,
  ecVerify,
  x3dhSymmetric,
  establishSession,
  encryptMessage,
  decryptMessage,
  forceRatchet,
  serializeSession,
  deserializeSession,
};
