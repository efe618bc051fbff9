/**
 * The Double Ratchet by itself: keys, sessions and messages as bytes; no relay, no names.
 *
 * Wrong arguments throw a StvorError with code `INVALID_ARGUMENT` that names the argument.
 */

/** A Node.js `Buffer`; without Node.js's type declarations, the `Uint8Array` that every Buffer is. */
export type Bytes = typeof globalThis extends { Buffer: { from(data: string): infer B } }
  ? B extends Uint8Array
    ? B
    : Uint8Array
  : Uint8Array;

/** A P-256 key pair. */
export interface KeyPair {
  /** 65 bytes: `04 || x || y`. */
  publicKey: Bytes;
  /** 32 bytes, big-endian. Shorter keys of the original, which drops leading zeros, are read too. */
  privateKey: Bytes;
}

/** A key pair as arguments take it: any bytes will do. */
export interface KeyPairInput {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

/**
 * Where a session stands: `pending` until the first message in either direction, `initiated` when
 * we sent it, `established` once a message of the peer has been read.
 */
export type SessionStateName = 'pending' | 'initiated' | 'established';

/**
 * A session: an opaque native object that the functions here advance. Its secrets never leave
 * native memory except through {@link serializeSession}, and printing it shows none.
 */
export interface SessionState {
  readonly state: SessionStateName;
  /** Messages sent in the current sending chain. */
  readonly sendCount: number;
  /** Messages received in the current receiving chain, skipped ones included. */
  readonly recvCount: number;
  /** Messages sent in the previous sending chain. */
  readonly prevSendCount: number;
  /** Our identity public key. */
  readonly identityKey: Bytes;
  /** The peer's identity public key. */
  readonly peerIdentityKey: Bytes;
  /** Our current ratchet public key, the one that headers carry. */
  readonly ratchetPublicKey: Bytes;
  /** The peer's ratchet key: null while `pending`, its signed prekey while `initiated`. */
  readonly peerRatchetPublicKey: Bytes | null;
}

/** A message of {@link encryptMessage}. */
export interface RatchetMessage {
  /** AES-256-GCM output: as long as the plaintext, then the tag of 16 bytes. */
  ciphertext: Bytes;
  /** 85 bytes: ratchet key (65), previous chain length (4), message number (4), nonce (12). */
  header: Bytes;
}

/** Does nothing; nothing needs to be initialised. Kept for code written for v3.0.0. */
export function initializeCrypto(): Promise<void>;

/** Makes a P-256 key pair. */
export function generateKeyPair(): KeyPair;

/** Signs `data` with ECDSA over SHA-256; the signature is DER. */
export function ecSign(data: Uint8Array | string, keyPair: KeyPairInput): Bytes;

/**
 * Whether `signature` (strict DER) is `publicKey`'s over `data`.
 *
 * @throws {StvorError} `INVALID_ARGUMENT` when `publicKey` is not a point of the curve.
 */
export function ecVerify(
  data: Uint8Array | string,
  signature: Uint8Array,
  publicKey: Uint8Array,
): boolean;

/**
 * The shared secret of symmetric X3DH, 32 bytes: the same on both sides, whoever begins.
 *
 * @throws {StvorError} `INVALID_ARGUMENT` for keys that are not of the curve, or two equal identities.
 */
export function x3dhSymmetric(
  myIdentityKeyPair: KeyPairInput,
  mySignedPreKeyPair: KeyPairInput,
  peerIdentityKey: Uint8Array,
  peerSignedPreKey: Uint8Array,
): Bytes;

/**
 * A session with a peer. Both sides establish on their own; whoever encrypts first begins.
 *
 * The peer's signed prekey is taken as it is: check its signature with {@link ecVerify} first.
 *
 * @throws {StvorError} `INVALID_ARGUMENT` for keys that are not of the curve, or two equal identities.
 */
export function establishSession(
  myIdentityKeyPair: KeyPairInput,
  mySignedPreKeyPair: KeyPairInput,
  peerIdentityKey: Uint8Array,
  peerSignedPreKey: Uint8Array,
): SessionState;

/** Encrypts for the peer and advances the session. Text is sent as its UTF-8. */
export function encryptMessage(
  session: SessionState,
  plaintext: Uint8Array | string,
): RatchetMessage;

/**
 * Decrypts a message of the peer and advances the session.
 *
 * @throws {StvorError} `DECRYPTION_FAILED` for a message that is altered, foreign or already read,
 * or that skips more than 256 others; the session is then unchanged.
 */
export function decryptMessage(
  session: SessionState,
  ciphertext: Uint8Array,
  header: Uint8Array,
): Bytes;

/**
 * Makes the session take a new ratchet key as soon as the peer can follow: with the next message
 * received. Nothing is lost and the peer needs to do nothing.
 */
export function forceRatchet(session: SessionState): void;

/** The session as the JSON text of v3.0.0, in UTF-8. It holds the keys in clear: store it sealed. */
export function serializeSession(session: SessionState): Bytes;

/**
 * Reads what {@link serializeSession}, or v3.0.0, wrote.
 *
 * @throws {StvorError} `INVALID_ARGUMENT` when it is not a serialised session.
 */
export function deserializeSession(data: Uint8Array | string): SessionState;

/** These exports again, for CommonJS code that awaits its modules. */
export function load(): Promise<typeof import('./ratchet.js')>;
