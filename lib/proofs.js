'use strict';

const { isUint8Array } = require('node:util').types;
const check = require('./arguments.js');
const { StvorError, calling, invalidArgument } = require('./errors.js');
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

/** The fields of an attestation, at every depth: nothing else of what was sent is looked at. */
const ATTESTATION_FIELDS = [
  'metrics',
  'messagesEncrypted',
  'messagesDecrypted',
  'messagesRejected',
  'replayAttempts',
  'authFailures',
  'attestationId',
  'timestamp',
  'sessionId',
  'sequenceNumber',
  'proof',
];
const KNOWN_OPTIONS = ['lastSequenceNumber', 'lastMetrics', 'seen', 'now'];

/** Judges an attestation of any shape; throws for the token and options only, which are the backend's own. */
function verifyAttestation(attestation, appToken, options) {
  if (typeof appToken !== 'string' || appToken === '') throw invalidArgument('appToken', 'the AppToken that the sender is known by', appToken);
  const known = knownOptions(options);
  let text;
  try {
    text = JSON.stringify(attestation, ATTESTATION_FIELDS);
  } catch {
    // A getter that throws, a cycle, a BigInt.
  }
  if (typeof text !== 'string') return refused('Malformed attestation');
  const { seen, ...rest } = known;
  const problem = calling(() => native.verifyAttestation(text, appToken, rest));
  if (problem !== null) return refused(problem);
  // Only what is genuine is looked up and remembered.
  if (wasSeen(seen, JSON.parse(text).attestationId)) return refused('Attestation replayed');
  return { valid: true, reason: 'Attestation verified' };
}

function refused(reason) {
  return { valid: false, reason };
}

/** Asks a function; a Set remembers what it was asked. */
function wasSeen(seen, attestationId) {
  if (typeof seen === 'function') return Boolean(atOnce(seen(attestationId)));
  if (seen === undefined) return false;
  const before = seen.has(attestationId);
  seen.add(attestationId);
  return before;
}

/** A promise is true whatever it resolves to. */
function atOnce(answer) {
  if (typeof answer?.then !== 'function') return answer;
  Promise.resolve(answer).catch(() => {}); // nobody else hears of it
  const why = 'seen must be a function that answers at once, and returns a promise.';
  throw new StvorError('INVALID_ARGUMENT', why, 'Ask your database before verifyAttestation(), and let seen return what it said.');
}

function knownOptions(value) {
  const { lastSequenceNumber, lastMetrics, seen, now = Date.now() } = check.options('options', value, KNOWN_OPTIONS);
  if (!Number.isSafeInteger(now) || now < 0) throw invalidArgument('now', 'a time in milliseconds', now);
  const last = lastSequenceNumber ?? undefined;
  if (last !== undefined && !Number.isSafeInteger(last)) {
    throw invalidArgument('lastSequenceNumber', 'a whole number', last);
  }
  const metrics = lastMetrics ?? undefined;
  if (seen !== undefined && typeof seen !== 'function' && !(seen instanceof Set)) {
    throw invalidArgument('seen', 'a Set or a function', seen);
  }
  return {
    now,
    lastSequenceNumber: last,
    lastMetrics: metrics && JSON.stringify(check.object('lastMetrics', metrics), ATTESTATION_FIELDS),
    seen,
  };
}

module.exports = { generateFingerprint, verifyAttestation, verifyMetricsSignature };
