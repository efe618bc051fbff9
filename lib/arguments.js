'use strict';
// Checks of what callers pass in. Each returns the value in the form that the addon takes.

const { isUint8Array } = require('node:util').types;
const { StvorError, invalidArgument } = require('./errors.js');

/** The relay's own limit: longer ids could never be reached. */
const MAX_USER_ID_BYTES = 256;
/** The longest delay that a timer can hold, about 24.8 days. */
const MAX_DELAY_MS = 2 ** 31 - 1;
const LONE_SURROGATE = /\p{Surrogate}/u;

const CONFIG_OPTIONS = [
  'appToken',
  'relayUrl',
  'timeout',
  'pollIntervalMs',
  'ca',
  'legacyPeers',
  'backendUrl',
  'productionMode',
  'storageAdapters',
  'allowInsecureRelay',
  'warn',
  'logger',
  'logLevel',
];
const LEGACY_PEERS = ['allow', 'refuse'];
const RELAY_SCHEMES = ['ws:', 'wss:', 'http:', 'https:'];
const DEFAULT_RELAY_URL = 'ws://localhost:4444';
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_POLL_INTERVAL_MS = 1_000;

function userId(name, value) {
  if (typeof value !== 'string' || value === '') {
    throw invalidArgument(name, 'a non-empty string', value);
  }
  // Different lone surrogates would become the same U+FFFD, and so would different users.
  if (LONE_SURROGATE.test(value)) throw invalidArgument(name, 'a well-formed string', value);
  if (Buffer.byteLength(value) > MAX_USER_ID_BYTES) {
    throw invalidArgument(name, `a string of at most ${MAX_USER_ID_BYTES} bytes`, value);
  }
  return value;
}

function object(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(name, 'an object', value);
  }
  return value;
}

/** An options argument: may be left out, must be an object otherwise, with no options but those `known`. */
function options(name, value, known) {
  if (value === undefined) return {};
  const unknown = Object.keys(object(name, value)).find((key) => !known.includes(key) && value[key] !== undefined);
  if (unknown !== undefined) throw unknownOption(name, unknown, known);
  return value;
}

function unknownOption(name, key, known) {
  return new StvorError(
    'INVALID_ARGUMENT',
    `${name} holds ${JSON.stringify(key)}, which is not an option.`,
    `The options are ${known.join(', ')}.`,
  );
}

function oneOf(name, value, values, otherwise) {
  if (value === undefined) return otherwise;
  if (!values.includes(value)) throw invalidArgument(name, values.map((one) => `'${one}'`).join(' or '), value);
  return value;
}

function handler(name, value) {
  if (typeof value !== 'function') throw invalidArgument(name, 'a function', value);
  return value;
}

function boolean(name, value, otherwise) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'boolean') throw invalidArgument(name, 'a boolean', value);
  return value;
}

/** A time in milliseconds, from `least` up to what a timer can hold. */
function milliseconds(name, value, otherwise, least = 0) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number' || !(value >= least && value <= MAX_DELAY_MS)) {
    throw invalidArgument(name, `a number of milliseconds from ${least} to ${MAX_DELAY_MS}`, value);
  }
  return Math.ceil(value);
}

/** Whether `bytes` takes a value. */
const isBytes = isUint8Array;

/** Bytes as they are. Shared memory is copied: another thread could change it half-way. */
function bytes(name, value, expected = 'a Buffer or Uint8Array') {
  if (!isUint8Array(value)) throw invalidArgument(name, expected, value);
  return value.buffer instanceof SharedArrayBuffer ? Buffer.from(value) : value;
}

/** Text or bytes, as bytes: text as UTF-8 (lone surrogates become U+FFFD, as everywhere in Node.js). */
function content(name, value) {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  return bytes(name, value, 'a string, Buffer or Uint8Array');
}

function fingerprint(name, value) {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/i.test(value)) {
    throw invalidArgument(name, 'a fingerprint of 64 hexadecimal digits', value);
  }
  return value.toLowerCase();
}

function appToken(value) {
  // It travels in an HTTP header.
  if (typeof value === 'string' && /^[!-~]{1,4096}$/.test(value)) return value;
  throw new StvorError(
    'INVALID_APP_TOKEN',
    'Invalid AppToken format. AppToken must be a non-empty string of printable characters.',
    "Pass the AppToken that your relay's operator gave you; the mock relay takes any that begins with stvor_.",
  );
}

function relayUrl(value) {
  if (value === undefined) return DEFAULT_RELAY_URL;
  if (typeof value !== 'string' || !RELAY_SCHEMES.includes(schemeOf(value))) {
    throw invalidArgument('relayUrl', 'a ws://, wss://, http:// or https:// address', value);
  }
  return value;
}

/** Where metrics are sent, and the AppToken with them; may be left out. */
function backendUrl(value, productionMode = false) {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !['http:', 'https:'].includes(schemeOf(value))) {
    throw invalidArgument('backendUrl', 'an http:// or https:// address', value);
  }
  if (productionMode && !isSecure(value)) throw insecureBackend();
  return value;
}

function schemeOf(address) {
  try {
    return new URL(address).protocol;
  } catch {
    return undefined;
  }
}

function certificates(value) {
  if (value === undefined) return undefined;
  const expected = 'PEM certificates as a string or Buffer';
  const pem = typeof value === 'string' ? Buffer.from(value) : bytes('ca', value, expected);
  if (!Buffer.from(pem).includes('-----BEGIN CERTIFICATE-----')) {
    throw invalidArgument('ca', expected, value);
  }
  return Buffer.from(pem);
}

/** Checks a configuration and returns what the addon's `open` takes. */
function config(value) {
  object('config', value);
  const native = {
    appToken: appToken(value.appToken),
    relayUrl: relayUrl(value.relayUrl),
    timeoutMs: milliseconds('timeout', value.timeout, DEFAULT_TIMEOUT_MS, 1),
    pollIntervalMs: milliseconds('pollIntervalMs', value.pollIntervalMs, DEFAULT_POLL_INTERVAL_MS, 1),
    ca: certificates(value.ca),
  };
  if (value.storageAdapters !== undefined && typeof value.storageAdapters !== 'function') {
    object('storageAdapters', value.storageAdapters);
  }
  if (isClass(value.storageAdapters)) throw storageClass();
  if (value.warn !== undefined) handler('warn', value.warn);
  const production = boolean('productionMode', value.productionMode, false);
  boolean('allowInsecureRelay', value.allowInsecureRelay, false);
  const legacyPeers = oneOf('legacyPeers', value.legacyPeers, LEGACY_PEERS, production ? 'refuse' : 'allow');
  return { ...native, refuseLegacyPeers: legacyPeers === 'refuse' };
}

/** A class is a function too, but cannot be called; nothing else has a prototype that is fixed. */
function isClass(value) {
  return typeof value === 'function' && Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false;
}

function storageClass() {
  return new StvorError(
    'INVALID_ARGUMENT',
    'storageAdapters is a class, which cannot be called without new.',
    'Give an object with the four adapters, or a function (userId) => adapters.',
  );
}

/** What production mode asks of the relay's address. */
function productionRelay({ productionMode, relayUrl, allowInsecureRelay }) {
  if (!productionMode) return;
  if (relayUrl === undefined) throw invalidArgument('relayUrl', 'the address of your relay in production mode', relayUrl);
  if (!allowInsecureRelay && !isSecure(relayUrl)) throw insecureRelay();
}

/** Whether nobody on the way can read the AppToken, or who writes to whom: TLS, or this machine. */
function isSecure(address) {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'wss:' || protocol === 'https:') return true;
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

function insecureRelay() {
  return new StvorError(
    'INSECURE_RELAY',
    'Production mode needs TLS to the relay: relayUrl names another machine without it.',
    'Use wss:// or https://, or say allowInsecureRelay: true where the network itself is trusted.',
  );
}

function insecureBackend() {
  return new StvorError(
    'INSECURE_BACKEND',
    'Production mode needs TLS to the backend for metrics: backendUrl names another machine without it.',
    'Use https://, since the AppToken goes there too; allowInsecureRelay is about the relay alone.',
  );
}

/** Says once for each configuration what in it has no effect. */
function warnAboutConfig(value, warn) {
  const unknown = Object.keys(value).filter((key) => !CONFIG_OPTIONS.includes(key) && value[key] !== undefined);
  if (unknown.length > 0) {
    const names = unknown.map((key) => JSON.stringify(key)).join(', ');
    warn(`Unknown configuration options have no effect: ${names}.`, 'STVOR_UNKNOWN_OPTION');
  }
}

/** What a configuration's warnings go through: its own `warn`, or Node.js's. */
function warner(value) {
  if (value.warn === undefined) return warn;
  const failed = (error) => warn(`The warn callback threw: ${error?.message}`, 'STVOR_WARN_FAILED');
  return (message, code) => {
    try {
      // Of one line: what a cause says may have several.
      const result = value.warn(message.replace(/\s*[\r\n]\s*/g, ' '), code);
      if (typeof result?.then === 'function') result.then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  };
}

/** The kinds of adapter that this process was told of as missing, where none was given at all. */
const told = new Set();

/**
 * Warns of each missing adapter: once an app where some are given, since that is likely a mistake; where none
 * are, which is how development begins, once in a process, unless the application wants to be told.
 */
function warnOnce(through, config) {
  const known = through === warn && config.storageAdapters === undefined ? told : new Set();
  return (kind, message) => {
    if (known.has(kind)) return;
    known.add(kind);
    through(message, 'STVOR_MEMORY_ONLY');
  };
}

function warn(message, code) {
  process.emitWarning(message, { type: 'StvorWarning', code });
}

module.exports = {
  DEFAULT_TIMEOUT_MS,
  backendUrl,
  boolean,
  bytes,
  config,
  content,
  fingerprint,
  handler,
  isBytes,
  milliseconds,
  object,
  oneOf,
  options,
  productionRelay,
  userId,
  warn,
  warnAboutConfig,
  warnOnce,
  warner,
};
