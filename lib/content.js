'use strict';
// What a message carries, in its three kinds; src/content.rs has the same numbers.

const check = require('./arguments.js');

/** UTF-8: strings. */
const TEXT = 0;
/** Bytes as they are: Buffers and Uint8Arrays. */
const BYTES = 1;
/** Everything else, in CBOR. */
const CBOR = 2;

/**
 * The kind and bytes of a value to send. Strings are well-formed afterwards: lone surrogates become
 * U+FFFD, as everywhere in Node.js.
 */
function encodeContent(name, value) {
  if (typeof value === 'string') return { kind: TEXT, bytes: Buffer.from(value, 'utf8') };
  if (check.isBytes(value)) return { kind: BYTES, bytes: check.bytes(name, value) };
  // Loaded here: many programs send nothing but text, and none needs it to start.
  return { kind: CBOR, bytes: require('./structured.js').encodeStructured(name, value) };
}

/** The value that `payload` stands for: a string or a Buffer of the addon's. */
function decodeContent(kind, payload) {
  return kind === CBOR ? require('./structured.js').decodeStructured(payload) : payload;
}

module.exports = { encodeContent, decodeContent };
