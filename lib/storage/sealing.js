'use strict';
// How `postgresStorage` seals private identity keys: AES-256-GCM under a key derived from the application's key
// (HKDF-SHA256) or passphrase (scrypt) with a random salt. The user's id and public key are authenticated with it,
// so one user's row cannot stand for another's.

const { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } = require('node:crypto');
const { promisify } = require('node:util');
const check = require('../arguments.js');
const { StvorError, assertOneOf, invalidArgument } = require('../errors.js');

const KEY_BYTES = 32;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const INFO = 'stvor-identity-sealing-v1';
/** 32 MiB and about a quarter of a second; OWASP's equal of N = 2^17, p = 1, for processes that start together. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 };

/** The secret that the application gives: `{ derive(salt), wipe() }`, or undefined without one. */
function secretOf({ key, passphrase }) {
  if (key !== undefined && passphrase !== undefined) assertOneOf('options', { key, passphrase }, ['key', 'passphrase']);
  if (key !== undefined) return keySecret(key);
  if (passphrase !== undefined) return passphraseSecret(passphrase);
  return undefined;
}

function keySecret(value) {
  const bytes = check.isBytes(value) ? value : undefined;
  if (bytes?.length !== KEY_BYTES) throw invalidArgument('key', `a Buffer of ${KEY_BYTES} bytes`, value);
  const key = Buffer.from(bytes);
  const derive = async (salt) => Buffer.from(hkdfSync('sha256', key, salt, INFO, KEY_BYTES));
  return { derive, wipe: () => key.fill(0) };
}

function passphraseSecret(value) {
  // One text has several forms in Unicode, and which of them is typed depends on the system.
  const passphrase = Buffer.from(check.content('passphrase', typeof value === 'string' ? value.normalize('NFC') : value));
  if (passphrase.length === 0) throw invalidArgument('passphrase', 'a string or Buffer that is not empty', value);
  const derive = (salt) => promisify(scrypt)(passphrase, salt, KEY_BYTES, SCRYPT);
  return { derive, wipe: () => passphrase.fill(0) };
}

/** Nonce, ciphertext, tag. `context` is authenticated and must be given again to open. */
function seal(key, plaintext, context) {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(encoded(context));
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed. Throws `STORAGE_KEY` for another key, another context, or altered bytes. */
function unseal(key, sealed, context) {
  try {
    const [nonce, tag] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(-TAG_BYTES)];
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(encoded(context));
    decipher.setAuthTag(tag);
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw wrongKey('The store is sealed under another key or passphrase, or was altered.');
  }
}

/** Each part with its length before it: different parts never give the same bytes. */
function encoded(parts) {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

function wrongKey(message) {
  return new StvorError('STORAGE_KEY', message, 'Give the key or passphrase that the store was made with.');
}

module.exports = { SALT_BYTES, seal, secretOf, unseal, wrongKey };
