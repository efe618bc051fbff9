'use strict';

const { isUint8Array } = require('node:util').types;
const { invalidArgument } = require('./errors.js');
const native = require('../platform.js').binding();

/** Lower-case hex SHA-256 of an identity key, given as bytes or as base64url text. */
function generateFingerprint(identityKey) {
  const isText = typeof identityKey === 'string';
  if (!isText && !isUint8Array(identityKey)) {
    throw invalidArgument('identityKey', 'a public key as Buffer, Uint8Array or base64url', identityKey);
  }
  return native.fingerprint(isText ? Buffer.from(identityKey, 'base64url') : identityKey);
}

function verifyMetricsSignature(payload, proof, apiKey) {
  for (const [name, value] of Object.entries({ payload, proof, apiKey })) {
    if (typeof value !== 'string') throw invalidArgument(name, 'a string', value);
  }
  return native.verifyMetricsSignature(payload, proof, apiKey);
}

module.exports = { generateFingerprint, verifyMetricsSignature };
