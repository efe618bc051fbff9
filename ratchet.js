'use strict';
// The Double Ratchet by itself: keys, sessions and messages as bytes, no relay, no names.

const { inspect } = require('node:util');
const check = require('./lib/arguments.js');
const { calling, fromNative, invalidArgument } = require('./lib/errors.js');
const native = require('./platform.js').binding();

const { RatchetSession } = native;
const PUBLIC_KEY_BYTES = 65;
const PRIVATE_KEY_BYTES = 32;
/** Ratchet key (65), previous chain length (4), message number (4), nonce (12). */
const HEADER_BYTES = 85;
const TAG_BYTES = 16;

/** Nothing needs to be initialised; kept because the original's users await it. */
async function initializeCrypto() {}

function generateKeyPair() {
  const pair = Buffer.allocUnsafeSlow(PUBLIC_KEY_BYTES + PRIVATE_KEY_BYTES);
  native.generateKeyPairInto(pair);
  return {
    publicKey: pair.subarray(0, PUBLIC_KEY_BYTES),
    privateKey: pair.subarray(PUBLIC_KEY_BYTES),
  };
}

function ecSign(data, keyPair) {
  const bytes = check.content('data', data);
  const { privateKey } = pairOf('keyPair', keyPair);
  return calling(() => native.ecSign(bytes, privateKey));
}

function ecVerify(data, signature, publicKey) {
  const bytes = check.content('data', data);
  check.bytes('signature', signature);
  check.bytes('publicKey', publicKey);
  return calling(() => native.ecVerify(bytes, signature, publicKey));
}

function x3dhSymmetric(myIdentityKeyPair, mySignedPreKeyPair, peerIdentityKey, peerSignedPreKey) {
  const keys = agreementKeys(myIdentityKeyPair, mySignedPreKeyPair, peerIdentityKey, peerSignedPreKey);
  return calling(() => native.agree(...keys));
}

function establishSession(myIdentityKeyPair, mySignedPreKeyPair, peerIdentityKey, peerSignedPreKey) {
  const keys = agreementKeys(myIdentityKeyPair, mySignedPreKeyPair, peerIdentityKey, peerSignedPreKey);
  return calling(() => RatchetSession.establish(...keys));
}

// The two hot paths: one native call each, which writes into memory allocated here.

function encryptMessage(session, plaintext) {
  assertSession(session);
  const bytes = check.content('plaintext', plaintext);
  const message = Buffer.allocUnsafe(HEADER_BYTES + bytes.length + TAG_BYTES);
  try {
    session.encryptInto(bytes, message);
  } catch (error) {
    throw fromNative(error);
  }
  return { ciphertext: message.subarray(HEADER_BYTES), header: message.subarray(0, HEADER_BYTES) };
}

function decryptMessage(session, ciphertext, header) {
  assertSession(session);
  check.bytes('ciphertext', ciphertext);
  check.bytes('header', header);
  const plaintext = Buffer.allocUnsafe(Math.max(0, ciphertext.length - TAG_BYTES));
  try {
    session.decryptInto(header, ciphertext, plaintext);
  } catch (error) {
    throw fromNative(error);
  }
  return plaintext;
}

function forceRatchet(session) {
  assertSession(session);
  calling(() => session.forceRatchet());
}

function serializeSession(session) {
  assertSession(session);
  return calling(() => session.serialize());
}

function deserializeSession(data) {
  const bytes = check.content('data', data);
  return calling(() => RatchetSession.deserialize(bytes));
}

function assertSession(session) {
  if (!(session instanceof RatchetSession)) {
    throw invalidArgument('session', 'a session of establishSession or deserializeSession', session);
  }
}

function pairOf(name, value) {
  check.object(name, value);
  return {
    publicKey: check.bytes(`${name}.publicKey`, value.publicKey),
    privateKey: check.bytes(`${name}.privateKey`, value.privateKey),
  };
}

function agreementKeys(myIdentityKeyPair, mySignedPreKeyPair, peerIdentityKey, peerSignedPreKey) {
  const identity = pairOf('myIdentityKeyPair', myIdentityKeyPair);
  const prekey = pairOf('mySignedPreKeyPair', mySignedPreKeyPair);
  return [
    identity.publicKey,
    identity.privateKey,
    prekey.publicKey,
    prekey.privateKey,
    check.bytes('peerIdentityKey', peerIdentityKey),
    check.bytes('peerSignedPreKey', peerSignedPreKey),
  ];
}

/** What console.log shows of a session: public facts only. */
Object.defineProperty(RatchetSession.prototype, inspect.custom, {
  value(depth, options) {
    const { state, sendCount, recvCount, prevSendCount } = this;
    return `RatchetSession ${inspect({ state, sendCount, recvCount, prevSendCount }, options)}`;
  },
});

const load = async () => module.exports;

module.exports = {
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
  load,
};
