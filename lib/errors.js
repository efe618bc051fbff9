'use strict';
// What the SDK throws and rejects with, and how native errors become it.

const { isUint8Array } = require('node:util').types;

/** Every code an error of this SDK can carry: the original's nine, then ours. */
const CODES = [
  'INVALID_APP_TOKEN',
  'AUTH_FAILED',
  'RELAY_UNAVAILABLE',
  'RECIPIENT_NOT_FOUND',
  'RECIPIENT_TIMEOUT',
  'CLIENT_NOT_READY',
  'DELIVERY_FAILED',
  'QUOTA_EXCEEDED',
  'RATE_LIMITED',
  'INVALID_ARGUMENT',
  'IDENTITY_CHANGED',
  'INVALID_BUNDLE',
  'DECRYPTION_FAILED',
  'REPLAY_DETECTED',
  'STORAGE_FAILED',
  'STORAGE_REQUIRED',
  'STORAGE_SHARED',
  'STORAGE_CONFLICT',
  'STORAGE_LOCKED',
  'STORAGE_KEY',
  'STORAGE_DAMAGED',
  'IDENTITY_CONFLICT',
  'CONNECTED_ELSEWHERE',
  'INSECURE_RELAY',
  'INSECURE_BACKEND',
  'STORAGE_NONCONFORMING',
  'PAYLOAD_TOO_LARGE',
  'OUTBOX_FULL',
  'PROTOCOL_MISMATCH',
  'RECEIPT_TIMEOUT',
  'BACKEND_UNAVAILABLE',
  'METRICS_REJECTED',
  'LEGACY_FORMAT',
  'INVALID_CONTENT',
  'HANDLER_FAILED',
  'UNSUPPORTED_PLATFORM',
];

/** Maps each code to itself, so that a misspelt comparison is `undefined` instead of never true. */
const STVOR_ERRORS = Object.freeze(Object.fromEntries(CODES.map((code) => [code, code])));

class StvorError extends Error {
  constructor(code, message, action, retryable = false, details = {}) {
    super(`${message} [${code}]`, 'cause' in details ? { cause: details.cause } : undefined);
    // Reading the stack fixes its first line while the message still carries the code.
    void this.stack;
    Object.defineProperty(this, 'message', { value: message, writable: true, configurable: true });
    this.code = code;
    this.action = action;
    this.retryable = retryable;
    if (details.peerId !== undefined) this.peerId = details.peerId;
  }

  toString() {
    return `${this.name}: ${this.message} [${this.code}]`;
  }
}
Object.defineProperty(StvorError.prototype, 'name', {
  value: 'StvorError',
  writable: true,
  configurable: true,
});

/** An INVALID_ARGUMENT that names the argument and never quotes its value, which may be secret. */
function invalidArgument(name, expected, value) {
  const message = `${name} must be ${expected}, not ${describe(value)}.`;
  return new StvorError('INVALID_ARGUMENT', message, `Correct ${name} and call again.`);
}

/** An INVALID_ARGUMENT unless exactly one of two options is given that take each other's place. */
function assertOneOf(name, options, [one, other]) {
  const count = [one, other].filter((option) => options[option] !== undefined).length;
  if (count === 1) return;
  const given = count === 0 ? `neither ${one} nor ${other} is given` : `both ${one} and ${other} are given`;
  throw new StvorError('INVALID_ARGUMENT', `${name} must hold either ${one} or ${other}: ${given}.`, `Give one of ${one} and ${other}.`);
}

/** `text` in one line: controls, line breaks and what turns the direction of writing are escaped. */
function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

function describe(value) {
  if (value === null) return 'null';
  if (value === undefined) return 'undefined';
  if (value === '') return 'an empty string';
  if (typeof value === 'string') return `a string of ${value.length} characters`;
  if (typeof value === 'number') return String(value);
  if (isUint8Array(value)) return value.length === 1 ? '1 byte' : `${value.length} bytes`;
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}

function clientNotReady() {
  return new StvorError(
    'CLIENT_NOT_READY',
    'Client is not ready. Call connect() first and await it.',
    'Await app.connect() before sending messages; after client.disconnect(), connect again, after app.disconnect() with a new app.',
  );
}

/**
 * Rebuilds a StvorError from what the addon threw or rejected with: JSON in the message.
 *
 * Called in the facade's own functions, so that the stack shows the caller's frames.
 */
function fromNative(error) {
  if (error instanceof StvorError) return error;
  const facts = unpack(error);
  if (facts === undefined) return error;
  const { code, message, action, retryable, peerId, cause, detail: networkSaid } = facts;
  const thrown = causes.get(cause);
  // A store of ours has said it better.
  if (thrown instanceof StvorError && thrown.code !== 'STORAGE_CONFLICT') return thrown;
  const details = { ...(peerId && { peerId }), ...(causes.has(cause) && { cause: thrown }), ...(networkSaid && { cause: said(networkSaid) }) };
  return new StvorError(code, message, action, retryable, details);
}

/** What the network said, as a cause. It was thrown nowhere here, so its stack names no place. */
function said(text) {
  const cause = new Error(text);
  cause.stack = `Error: ${text}`;
  return cause;
}

/** What stores have thrown of late: the addon carries a number, and gives it back with its own error. */
const causes = new Map();
const CAUSES_KEPT = 256;
let causeNumbers = 0;

/** Keeps what a store threw, and returns its number. */
function keepCause(thrown) {
  causeNumbers += 1;
  causes.set(causeNumbers, thrown);
  causes.delete(causeNumbers - CAUSES_KEPT);
  return causeNumbers;
}

/** Runs a call into the addon; what it throws becomes a StvorError. */
function calling(call) {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

function unpack(error) {
  const text = typeof error === 'string' ? error : error?.message;
  if (typeof text !== 'string' || !text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

module.exports = { StvorError, STVOR_ERRORS, assertOneOf, invalidArgument, printable, clientNotReady, fromNative, keepCause, calling };
