/// <reference lib="esnext.disposable" />

export * from './ratchet.js';

/** Identifies an application to its relay: 1 to 4,096 printable ASCII characters without spaces. */
export type AppToken = string;

/** A user's name: 1 to 256 bytes of UTF-8, compared byte by byte. */
export type UserId = string;

/** Text, or bytes. */
export type MessageContent = string | Uint8Array;

/** How {@link createApp} makes an app. */
export interface StvorAppConfig {
  /** Identifies your application to the relay, which decides whether it accepts it. */
  appToken: AppToken;
  /** `ws://`, `wss://`, `http://` or `https://` address. Default: `ws://localhost:4444`, the mock relay. */
  relayUrl?: string | undefined;
  /** Milliseconds that reaching the relay, and each send, may take. Default: 10,000. */
  timeout?: number | undefined;
  /** Milliseconds between two polls of a relay that only speaks HTTP. Default: 1,000. */
  pollIntervalMs?: number | undefined;
  /** PEM certificates of authorities to trust besides the system's, for a relay with a private one. */
  ca?: string | Uint8Array | undefined;
  /**
   * Whether peers that speak wire 3 only, as version 3.0.0 does, may be spoken to. Refused, sends to them are
   * rejected with `PROTOCOL_MISMATCH`, and what they send is dropped. A peer that was seen with wire 4 is never
   * spoken to in wire 3. Default: `'allow'`; in production mode `'refuse'`.
   */
  legacyPeers?: 'allow' | 'refuse' | undefined;
  /** Requires durable storage, which this version cannot use yet: `true` rejects with `STORAGE_REQUIRED`. */
  productionMode?: boolean | undefined;
  /** Not used yet: a warning says so. Everything is kept in memory. */
  storageAdapters?: object | undefined;
}

/** How {@link Stvor.connect} makes a client. */
export interface StvorConnectOptions extends StvorAppConfig {
  /** The user to connect. */
  userId: UserId;
}

/** How one message is sent. */
export interface SendOptions {
  /**
   * Milliseconds until the relay must have the message, waiting for a recipient that it does not
   * know yet included. Default: the app's `timeout`.
   */
  timeout?: number | undefined;
  /** Whether to wait for such a recipient, or to reject with `RECIPIENT_NOT_FOUND`. Default: true. */
  waitForRecipient?: boolean | undefined;
  /**
   * Whether to wait until the recipient's handlers have completed, and not only until the relay has the message.
   * If that takes longer than `timeout` the send is rejected with `RECEIPT_TIMEOUT`; the message is still on its way.
   * A recipient that speaks wire 3 gives no receipts: the send resolves as without this option. Default: false.
   */
  receipt?: boolean | undefined;
}

/**
 * How far a message got: `delivered` to the recipient's connection, `queued` at the relay for an
 * absent recipient, or `sent` to a relay that does not say. All three are the relay's word. `received`,
 * for `receipt: true`, is the recipient's: its handlers have completed.
 */
export type DeliveryStatus = 'delivered' | 'queued' | 'sent' | 'received';

/** What `send` resolves to. */
export interface SendResult {
  /** The message's id, as the recipient sees it where the relay carries it. */
  id: string;
  status: DeliveryStatus;
}

/** A message as handlers get it. `T` is what the sender is known to send; nothing checks it. */
export interface DecryptedMessage<T = unknown> {
  /** The message's id, the same that `send` resolved to. */
  readonly id: string;
  /** Who sent it. */
  readonly senderId: UserId;
  /** What was sent, with the types that it had; of a wire-3 peer, valid UTF-8 as a string, other bytes as a Buffer. */
  readonly content: T;
  /** When it was sent. Authenticated, unless the peer speaks wire 3. */
  readonly timestamp: Date;
  /** The same as `senderId`. */
  readonly from: UserId;
  /** The same as `content`. */
  readonly data: T;
}

/** Says that a message of ours was handled by its recipient. */
export interface Receipt {
  /** The message's id, as `send` resolved to. */
  readonly id: string;
  /** Who handled it. */
  readonly recipientId: UserId;
}

/** A message handler that declares at most one parameter. */
export type MessageHandler<T = unknown> = (message: DecryptedMessage<T>) => unknown;

/** A message handler that declares two or three parameters. */
export type ContentHandler<T = unknown> = (
  from: UserId,
  content: T,
  message: DecryptedMessage<T>,
) => unknown;

// Overloads that differ in the number of a callback's parameters leave the parameters of one form
// untyped in TypeScript; a union of these two with MessageHandler types both. The generic
// signatures do nothing but make an interface give no types to functions of their length.

/** Gives types to the parameters of functions that declare two or three. */
interface ContentHandlerTypes<T> {
  (from: UserId, content: T, message: DecryptedMessage<T>): unknown;
  <_>(none: never): unknown;
}

/** Takes functions of two or three parameters, and gives types to none. */
interface ContentHandlers<T> {
  (from: UserId, content: T, message: DecryptedMessage<T>): unknown;
  <_>(from: UserId, content: T, message: DecryptedMessage<T>): unknown;
}

/** Removes the handler that was added; repeated calls do nothing. */
export type Unsubscribe = () => void;

/** Counts since the app was made. Only what succeeded cryptographically counts as decrypted. */
export interface Metrics {
  messagesEncrypted: number;
  messagesDecrypted: number;
  messagesRejected: number;
  replayAttempts: number;
  authFailures: number;
}

/** Metrics as {@link verifyMetricsSignature} checks them. */
export interface SignedMetrics {
  /** The exact JSON text that was signed. */
  payload: string;
  /** Lower-case hex HMAC-SHA256 of it. */
  proof: string;
}

/** A user's public keys as relays carry them: base64url texts. */
export interface SerializedPublicKeys {
  identityKey: string;
  signedPreKey: string;
  /** DER signature of the signed prekey by the identity key. */
  signedPreKeySignature: string;
  /** Always empty. */
  oneTimePreKey: string;
}

/** Every code that a {@link StvorError} can carry. */
export type ErrorCode =
  /** The AppToken is not printable text. */
  | 'INVALID_APP_TOKEN'
  /** The relay refused the AppToken. */
  | 'AUTH_FAILED'
  /** The relay cannot be reached, or did not answer as a relay. */
  | 'RELAY_UNAVAILABLE'
  /** The relay does not know the recipient. */
  | 'RECIPIENT_NOT_FOUND'
  /** The recipient did not appear within the waiting time. */
  | 'RECIPIENT_TIMEOUT'
  /** The app or client is not connected, or no longer. */
  | 'CLIENT_NOT_READY'
  /** The relay did not take the message. */
  | 'DELIVERY_FAILED'
  /** The AppToken's quota is used up. */
  | 'QUOTA_EXCEEDED'
  /** Too many requests for the relay. */
  | 'RATE_LIMITED'
  /** An argument is wrong; the message names it. */
  | 'INVALID_ARGUMENT'
  /** A peer's identity key is not the one first seen; `app.trust()` accepts the new one. */
  | 'IDENTITY_CHANGED'
  /** A peer's public keys are malformed or not signed by its identity key. */
  | 'INVALID_BUNDLE'
  /** A received message could not be opened. The session is unchanged. */
  | 'DECRYPTION_FAILED'
  /** A received message had been received before. */
  | 'REPLAY_DETECTED'
  /** A store failed. */
  | 'STORAGE_FAILED'
  /** Production mode needs stores that were not given. */
  | 'STORAGE_REQUIRED'
  /** The content is larger than the relay takes. */
  | 'PAYLOAD_TOO_LARGE'
  /** Too much waits for this recipient already; the same send may succeed later. */
  | 'OUTBOX_FULL'
  /** The peer speaks wire 3 only, and must speak more: `legacyPeers`, or what is sent, asks for it. */
  | 'PROTOCOL_MISMATCH'
  /** The recipient's handlers have not completed in time; the message is still on its way. */
  | 'RECEIPT_TIMEOUT'
  /** A received message is authentic, but its content cannot be read. */
  | 'INVALID_CONTENT'
  /** A handler of yours threw or rejected; `cause` is what it threw. */
  | 'HANDLER_FAILED'
  /** There is no native code for this machine; the message says how to build it. */
  | 'UNSUPPORTED_PLATFORM';

/** Maps each code to itself. */
export const STVOR_ERRORS: { readonly [Code in ErrorCode]: Code };

/** The error of everything in this package. Printed: `StvorError: <message> [<code>]`. */
export class StvorError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    action?: string,
    retryable?: boolean,
    details?: { cause?: unknown; peerId?: UserId | undefined },
  );
  readonly name: 'StvorError';
  readonly code: ErrorCode;
  /** What to do about it. */
  readonly action: string | undefined;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Whom it is about, where it is about one peer. */
  readonly peerId?: UserId;
  /** What brought it about, where something else did. */
  readonly cause?: unknown;
}

/** A connected user. Made by {@link StvorApp.connect} and {@link Stvor.connect} only. */
export class StvorFacadeClient {
  private constructor();

  /**
   * Encrypts `content` for `to` and hands it to the relay. Calls are carried out in the order they
   * are made, awaited or not.
   *
   * A content arrives as what it was: a string; bytes (Buffer or Uint8Array), as a Buffer; a number, bigint,
   * boolean, null, undefined or Date; a typed array; arrays, plain objects, Maps and Sets of these. What cannot be
   * carried is `INVALID_ARGUMENT`, which names the place in it: functions, symbols, cycles, instances of classes.
   * A recipient that speaks wire 3 takes strings and bytes only.
   *
   * @throws {StvorError} `RECIPIENT_NOT_FOUND`, `RECIPIENT_TIMEOUT`, `DELIVERY_FAILED`,
   * `QUOTA_EXCEEDED`, `RATE_LIMITED`, `RELAY_UNAVAILABLE`, `IDENTITY_CHANGED`, `PAYLOAD_TOO_LARGE`,
   * `OUTBOX_FULL`, `PROTOCOL_MISMATCH`, `RECEIPT_TIMEOUT`, `CLIENT_NOT_READY`, `INVALID_ARGUMENT`.
   */
  send<T = unknown>(to: UserId, content: T, options?: SendOptions): Promise<SendResult>;

  /**
   * Calls `handler` with every message, one after another in order of arrival; a handler that
   * returns a promise is awaited before the next message. Several handlers may be added.
   *
   * The two forms are told apart by the number of parameters that the function declares: two or
   * more get sender and content, fewer get the message. Parameters with a default value and rest
   * parameters do not count, as in `Function.length`; `(...args) => {}` gets the message.
   *
   * Messages that arrive before the first handler, or faster than handlers finish, wait in memory.
   *
   * A message counts as handled when every handler has completed, also by throwing or rejecting, which is
   * reported as `HANDLER_FAILED`. The sender is told then. Those not handled when the client disconnects
   * are given again when the user connects anew.
   */
  onMessage<T = unknown>(handler: MessageHandler<T> | ContentHandlerTypes<T> | ContentHandlers<T>): Unsubscribe;

  /**
   * Calls `handler` when a message of ours has been handled by its recipient, in the order of sending for each;
   * `receipt: true` is not needed for it. Receipts are not kept for handlers that are added later.
   */
  onReceipt(handler: (receipt: Receipt) => unknown): Unsubscribe;

  /**
   * Calls `handler` with everything that goes wrong apart from a call of yours: messages that could
   * not be opened, changed identities, failing handlers. Without any handler each kind of error is
   * printed once as a process warning.
   */
  onError(handler: (error: StvorError) => unknown): Unsubscribe;

  /**
   * Whether `userId`, another user than this one, becomes known to the relay within `timeout` milliseconds (default 10,000).
   *
   * @throws {StvorError} `CLIENT_NOT_READY`, `INVALID_ARGUMENT`.
   */
  waitForUser(userId: UserId, timeout?: number): Promise<boolean>;

  /** The user's id. */
  getUserId(): UserId;

  /** Lower-case hex SHA-256 of this user's identity key, to compare with what a peer sees. */
  fingerprint(): string;

  /**
   * Leaves the relay. No handler is called any more, and sends under way are rejected. The process
   * may end when no client is connected. Repeated calls do nothing.
   */
  disconnect(): Promise<void>;

  /** The same as {@link disconnect}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Users of one relay connection. Made by {@link createApp} only. */
export class StvorApp {
  private constructor();

  /**
   * Connects a user; repeated for the same user, the same client.
   *
   * @throws {StvorError} `AUTH_FAILED`, `RELAY_UNAVAILABLE`, `CLIENT_NOT_READY`, `INVALID_ARGUMENT`.
   */
  connect(userId: UserId): Promise<StvorFacadeClient>;

  /** Disconnects one user or, without `userId`, everybody and the app. Repeated calls do nothing. */
  disconnect(userId?: UserId): Promise<void>;

  /** Whether somebody is connected and the relay is there: false while a lost connection is being restored. */
  isReady(): boolean;

  /**
   * Accepts `fingerprint` (64 hexadecimal digits) as the identity of `peerId` from now on, for every
   * user of this app. Until then nothing goes to or comes from a peer whose identity changed.
   *
   * @throws {StvorError} `CLIENT_NOT_READY`, `INVALID_ARGUMENT`.
   */
  trust(peerId: UserId, fingerprint: string): Promise<void>;

  /** Counts over all users of this app. */
  getMetrics(): Metrics;

  /** The same as {@link disconnect}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes an app: checks the configuration and reaches the relay.
 *
 * @throws {StvorError} `INVALID_APP_TOKEN`, `AUTH_FAILED`, `RELAY_UNAVAILABLE`, `STORAGE_REQUIRED`,
 * `INVALID_ARGUMENT`.
 */
export function createApp(config: StvorAppConfig): Promise<StvorApp>;

/** The same as {@link createApp}. */
export const init: typeof createApp;

/** The entry points under one name. */
export const Stvor: {
  /** The same as {@link createApp}. */
  readonly init: typeof createApp;
  /** The same as the function {@link createApp}. */
  readonly createApp: typeof createApp;
  /**
   * One user with an app of its own, which the client's `disconnect()` closes too.
   *
   * @throws {StvorError} as {@link createApp} and {@link StvorApp.connect}.
   */
  connect(options: StvorConnectOptions): Promise<StvorFacadeClient>;
};

/** Key pairs of a user as the original's identity stores keep them: base64url texts, in clear. */
export interface IdentityKeys {
  identityKeyPair: { publicKey: string; privateKey: string };
  signedPreKeyPair: { publicKey: string; privateKey: string };
  signedPreKeySignature: string;
}

/** Where a {@link CryptoSessionManager} keeps its identity. Methods may be synchronous. */
export interface IIdentityStore {
  /** The saved keys, or null. */
  loadIdentityKeys(userId: UserId): Promise<IdentityKeys | null> | IdentityKeys | null;
  saveIdentityKeys(userId: UserId, keys: IdentityKeys): Promise<void> | void;
}

/** Sessions by peer without a relay: the caller carries public keys and messages itself. */
export class CryptoSessionManager {
  /**
   * @param identityStore keeps the identity; without one it lives as long as this object.
   * @param sessionStore not used yet: a warning says so.
   */
  constructor(userId: UserId, identityStore?: IIdentityStore | null, sessionStore?: object | null);

  /**
   * Loads or makes the identity.
   *
   * @throws {StvorError} `STORAGE_FAILED` when the store fails or returns keys that do not fit.
   */
  initialize(): Promise<void>;

  /** What peers need to establish a session. */
  getPublicKeys(): SerializedPublicKeys;

  /**
   * Establishes a session with a peer, or renews it with the same peer's new keys; earlier messages
   * of the peer can still be read.
   *
   * @throws {StvorError} `INVALID_BUNDLE` for keys or a signature that are not valid,
   * `IDENTITY_CHANGED` for another identity than before.
   */
  establishSession(peerId: UserId, publicKeys: SerializedPublicKeys): Promise<void>;

  /** The same as {@link establishSession}. */
  establishSessionWithPeer(peerId: UserId, publicKeys: SerializedPublicKeys): Promise<void>;

  hasSession(peerId: UserId): boolean;

  /**
   * Encrypts for a peer; both results are base64url texts.
   *
   * @throws {StvorError} `CLIENT_NOT_READY` without a session.
   */
  encryptForPeer(peerId: UserId, plaintext: MessageContent): { ciphertext: string; header: string };

  /**
   * Decrypts a peer's message.
   *
   * @throws {StvorError} `DECRYPTION_FAILED`; the session is then unchanged. `CLIENT_NOT_READY`
   * without a session.
   */
  decryptFromPeer(peerId: UserId, ciphertext: string, header: string): string;

  /** Takes a new ratchet key with the peer's next message; see the ratchet's `forceRatchet`. */
  forceRatchet(peerId: UserId): void;
}

/**
 * Lower-case hex SHA-256 of an identity public key, whose validity is not checked.
 *
 * @param identityKey 65 bytes, or their base64url text.
 */
export function generateFingerprint(identityKey: Uint8Array | string): string;

/**
 * Whether `proof` signs `payload` under the key that `apiKey`, the AppToken, yields. False for a
 * payload that is not JSON.
 */
export function verifyMetricsSignature(payload: string, proof: string, apiKey: AppToken): boolean;

/** These exports again, for CommonJS code that awaits its modules. */
export function load(): Promise<typeof import('./index.js')>;

export {};
