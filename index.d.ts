/// <reference lib="esnext.disposable" />

import type { Bytes } from './ratchet.js';
import type { GivenAdapters, IdentityStore } from './storage.js';

export * from './ratchet.js';
export * from './storage.js';

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
  /**
   * `ws://`, `wss://`, `http://` or `https://` address. Default: `ws://localhost:4444`, the mock relay; in production
   * mode it must be given.
   */
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
  /**
   * `http://` or `https://` address of a backend of yours that verifies metrics. When the app is disconnected, an
   * {@link Attestation} is sent there, within two seconds, whether it arrives or not; see {@link StvorApp.flushMetrics}.
   * The AppToken goes along: production mode refuses `http://` to another machine with `INSECURE_BACKEND`.
   */
  backendUrl?: string | undefined;
  /**
   * Whether everything must survive restarts: `true` rejects with `STORAGE_REQUIRED` unless all four storage adapters
   * are given, and with `INSECURE_RELAY` or `INSECURE_BACKEND` where `relayUrl` or `backendUrl` names another machine
   * without TLS. Default: false.
   */
  productionMode?: boolean | undefined;
  /**
   * Where identities, sessions, nonces and fingerprints are kept, or a function that makes adapters for each user. What
   * is not given is kept in memory, with a warning. A promise is awaited. In production mode `ready()` of adapters that
   * have it is awaited too, for ten seconds at most.
   */
  storageAdapters?: GivenAdapters | PromiseLike<GivenAdapters> | ((userId: UserId) => GivenAdapters | PromiseLike<GivenAdapters>) | undefined;
  /** Whether production mode may use `ws://` and `http://` to another machine. Default: false. */
  allowInsecureRelay?: boolean | undefined;
  /**
   * Takes warnings, each of one line, instead of `process.emitWarning`: of the configuration, of failing loggers, of the
   * provided stores, and each kind of error once that no `onError` handler takes.
   */
  warn?: ((message: string, code: string) => void) | undefined;
  /**
   * Gets this app's log events, in batches soon after they happened: contents and keys are in none. Default: none are made,
   * unless the environment has `STVOR_LOG=<level>`, which prints those of all apps on stderr.
   */
  logger?: LogFunction | LogMethods | undefined;
  /** Up to which level `logger` is called. Default: `'info'`. */
  logLevel?: LogLevel | undefined;
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

/** The counts that the original has, and that attestations cover: since the app was made, after the cryptography. */
export interface Metrics {
  messagesEncrypted: number;
  messagesDecrypted: number;
  messagesRejected: number;
  replayAttempts: number;
  authFailures: number;
}

/** Durations in seconds. `count` and `sum` are over all of them. */
export interface Histogram {
  count: number;
  sum: number;
  /** For each bound, ascending: how many durations were `le` seconds at most. */
  buckets: { le: number; count: number }[];
}

/** Counts and durations since the app was made; docs/OBSERVABILITY.md says what each is of. */
export interface AppMetrics extends Metrics {
  /** Messages sealed again, since the recipient may not have got them. */
  messagesRetransmitted: number;
  /** Messages of ours that their recipients' handlers have completed. */
  receiptsReceived: number;
  /** Sessions that this app has begun. */
  sessionsBegun: number;
  /** Connections to the relay after the first. */
  reconnections: number;
  /** Calls of stores that failed. */
  storageFailures: number;
  /** Those that failed because another process had written the same records. */
  storageConflicts: number;
  /** From `send()` until the relay has the message; without `receipt: true`. */
  sendDuration: Histogram;
  /** From `send()` with `receipt: true` until the recipient's handlers have completed. */
  receiptDuration: Histogram;
  /** One step's write to the stores. */
  commitDuration: Histogram;
}

/** From least to most verbose. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** Gets log events; docs/OBSERVABILITY.md lists them. User ids are in the fields of `debug` and `trace` alone. */
export type LogFunction = (level: LogLevel, message: string, fields: Record<string, string | number | boolean>) => unknown;

/** An object that is called with message and fields, such as `console`. `debug` gets the level `trace` too. */
export type LogMethods = Record<Exclude<LogLevel, 'trace'>, (message: string, fields: Record<string, string | number | boolean>) => unknown>;

/** Metrics with a proof that they come from a holder of the AppToken, for {@link verifyAttestation}. */
export interface Attestation {
  metrics: Metrics;
  /** `attest_` and 32 hexadecimal digits, never the same twice. */
  attestationId: string;
  /** Milliseconds since the Unix epoch. */
  timestamp: number;
  /** `session_` and 32 hexadecimal digits: one app, from its start to its end. */
  sessionId: string;
  /** Counts the attestations of a session, from 0. */
  sequenceNumber: number;
  /** Lower-case hex HMAC-SHA256. */
  proof: string;
}

/** How metrics are sent. */
export interface FlushMetricsOptions {
  /** Where to, in place of the app's. */
  backendUrl?: string | undefined;
  /** Milliseconds that it may take. Default: 10,000. */
  timeout?: number | undefined;
}

/** What a backend knows of the session that an attestation is of. */
export interface KnownOfSession {
  /** Number of the session's attestation before; -1 or left out for the first. */
  lastSequenceNumber?: number | null | undefined;
  /** Counters of the session's attestation before: none may be less now. */
  lastMetrics?: Metrics | null | undefined;
  /**
   * Whether an attestation of this id was accepted before. A Set is given the ids that are accepted; a function is
   * asked once everything else is right, and says so at once, not by a promise.
   */
  seen?: Set<string> | ((attestationId: string) => boolean) | undefined;
  /** Milliseconds since the Unix epoch. Default: now. */
  now?: number | undefined;
}

/** What {@link verifyAttestation} finds. */
export interface AttestationVerdict {
  valid: boolean;
  reason:
    | 'Attestation verified'
    /** It is no attestation at all. */
    | 'Malformed attestation'
    /** Not made with this AppToken, or altered. */
    | 'Signature verification failed'
    /** Not the number after `lastSequenceNumber`. */
    | 'Sequence number not monotonic'
    /** More than one minute ahead. */
    | 'Attestation timestamp in the future'
    /** More than five minutes old. */
    | 'Attestation timestamp too old'
    /** A counter is less than in `lastMetrics`. */
    | 'Counters not monotonic'
    /** `seen` knows it. */
    | 'Attestation replayed';
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
  /** A store failed; `retryable` says whether it may work later. */
  | 'STORAGE_FAILED'
  /** Production mode needs stores that were not given. */
  | 'STORAGE_REQUIRED'
  /** Production mode refuses an unencrypted connection to another machine. */
  | 'INSECURE_RELAY'
  /** Production mode refuses to send metrics, and the AppToken with them, unencrypted to another machine. */
  | 'INSECURE_BACKEND'
  /** What a store keeps is truncated, altered, or of a later version. */
  | 'STORAGE_DAMAGED'
  /** Another process, or another store of this one, has the file open. */
  | 'STORAGE_LOCKED'
  /**
   * Adapters that take no user id would keep two users in the same rows, or two apps of this process would serve one
   * user from the same `sessions` adapter.
   */
  | 'STORAGE_SHARED'
  /** Another process has written a record since it was loaded; nothing was changed. */
  | 'STORAGE_CONFLICT'
  /** The key or passphrase is not the one that the store was sealed with. */
  | 'STORAGE_KEY'
  /** A store breaks rules that the SDK relies on; `failures` lists them. */
  | 'STORAGE_NONCONFORMING'
  /** The content is larger than the relay takes. */
  | 'PAYLOAD_TOO_LARGE'
  /** Too much waits for this recipient already; the same send may succeed later. */
  | 'OUTBOX_FULL'
  /** The peer speaks wire 3 only, and must speak more: `legacyPeers`, or what is sent, asks for it. */
  | 'PROTOCOL_MISMATCH'
  /** The recipient's handlers have not completed in time; the message is still on its way. */
  | 'RECEIPT_TIMEOUT'
  /** The backend for metrics cannot be reached, or did not answer in time. */
  | 'BACKEND_UNAVAILABLE'
  /** The backend for metrics does not accept an attestation. */
  | 'METRICS_REJECTED'
  /** What is to be imported was not saved by version 3.0.0, or is damaged. */
  | 'LEGACY_FORMAT'
  /** An identity store does not return the user's identity. */
  | 'IDENTITY_CONFLICT'
  /** Another client has connected as the same user: the relay delivers to that one, and nothing more arrives here. */
  | 'CONNECTED_ELSEWHERE'
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

/**
 * What two people compare, by voice or by scanning, to know that nobody stands between them: the same on both sides,
 * and tied to both identities and both user ids. Made by {@link StvorFacadeClient.safetyNumber}.
 */
export class SafetyNumber {
  private constructor();
  /** Whom it is shared with. */
  readonly peerId: UserId;
  /** Fingerprint of the peer's identity that it is of. */
  readonly fingerprint: string;
  /** 60 decimal digits. */
  readonly digits: string;
  /** What stands in the QR code, 65 bytes. */
  readonly bytes: Bytes;
  /** The digits in twelve groups of five, with spaces. */
  toString(): string;
  /** A QR code of `bytes` as an SVG image, black on white with the margin that readers need. */
  toQR(): string;
  /**
   * Whether `scanned`, the bytes of the other side's QR code, are these. Takes the same time whatever they are.
   *
   * @throws {StvorError} `INVALID_ARGUMENT` for anything but bytes.
   */
  matches(scanned: Uint8Array): boolean;
}

/** A peer shows another identity than the accepted one: nothing goes to or comes from them until it is trusted. */
export interface IdentityChange {
  readonly peerId: UserId;
  /** Whose client has noticed. */
  readonly userId: UserId;
  /** Fingerprint of the accepted identity, where it is known here and not only that it is another. */
  readonly previousFingerprint?: string;
  /** Fingerprint of the identity shown now, for {@link StvorApp.trust}. */
  readonly fingerprint: string;
  /** The number to compare before trusting it: of the identity shown now. */
  readonly safetyNumber: SafetyNumber;
}

/**
 * A connected user. Made by {@link StvorApp.connect} and {@link Stvor.connect} only. After `disconnect()`, handlers may
 * still be added and removed, and are not called.
 */
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
   * printed once as a process warning, or given to the app's `warn`.
   */
  onError(handler: (error: StvorError) => unknown): Unsubscribe;

  /** Calls `handler` when a peer of this user shows another identity; see {@link StvorApp.onIdentityChange}. */
  onIdentityChange(handler: (change: IdentityChange) => unknown): Unsubscribe;

  /**
   * The number to compare with a peer. It is of the identity that is accepted, also while another one is shown:
   * the number of that one comes with the {@link IdentityChange}. A peer who is not known yet is waited for, up to
   * the app's `timeout`, and their identity is pinned as with a first message.
   *
   * @throws {StvorError} `RECIPIENT_TIMEOUT`, `IDENTITY_CHANGED` (the accepted identity is not known here, only that
   * another one is shown), `STORAGE_FAILED`, `CLIENT_NOT_READY`, `INVALID_ARGUMENT`.
   */
  safetyNumber(peerId: UserId): Promise<SafetyNumber>;

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
   * @throws {StvorError} `AUTH_FAILED`, `RELAY_UNAVAILABLE`, `CLIENT_NOT_READY`, `INVALID_ARGUMENT`; of the stores
   * `STORAGE_FAILED`, `STORAGE_REQUIRED`, `STORAGE_SHARED`, `STORAGE_CONFLICT`, `STORAGE_KEY`, `STORAGE_LOCKED`,
   * `STORAGE_DAMAGED`, `IDENTITY_CONFLICT`.
   */
  connect(userId: UserId): Promise<StvorFacadeClient>;

  /** Disconnects one user or, without `userId`, everybody and the app. Repeated calls do nothing. */
  disconnect(userId?: UserId): Promise<void>;

  /** Whether somebody is connected and the relay is there: false while a lost connection is being restored. */
  isReady(): boolean;

  /**
   * Accepts `fingerprint` (64 hexadecimal digits) as the identity of `peerId` from now on, for every
   * user of this app. Until then nothing goes to or comes from a peer whose identity changed. A `tofu` adapter of your
   * own needs `replaceFingerprint(peerId, fingerprint, userId)` for it.
   *
   * @throws {StvorError} `CLIENT_NOT_READY`, `INVALID_ARGUMENT`; `STORAGE_FAILED`, not retryable where the adapter
   * keeps the former fingerprint.
   */
  trust(peerId: UserId, fingerprint: string): Promise<void>;

  /**
   * Calls `handler` when a peer of any user of this app shows another identity than the accepted one. `onError` gets
   * `IDENTITY_CHANGED` as well. Once for each identity that is shown; again after the user has connected anew.
   */
  onIdentityChange(handler: (change: IdentityChange) => unknown): Unsubscribe;

  /** Counts and durations over all users of this app. */
  getMetrics(): AppMetrics;

  /** The same as text for Prometheus, exposition format 0.0.4. */
  prometheus(): string;

  /**
   * The counts with a proof, to be sent to a backend by you. Each takes the next sequence number: one that the backend
   * does not get leaves a gap, and it refuses all later ones of this app. Send each until it has arrived, before the next.
   */
  createAttestation(): Attestation;

  /**
   * Sends an attestation to `POST <backendUrl>/api/metrics/attest` and resolves to it once the backend has accepted
   * it. Without a `backendUrl`, here or in the configuration, prints the counts as a warning and resolves to null.
   *
   * @throws {StvorError} `BACKEND_UNAVAILABLE`, `METRICS_REJECTED`, `INSECURE_BACKEND`, `INVALID_ARGUMENT`.
   */
  flushMetrics(options?: FlushMetricsOptions): Promise<Attestation | null>;

  /** The same as {@link flushMetrics}. */
  sendMetricsAttestation(options?: FlushMetricsOptions): Promise<Attestation | null>;

  /** The same as {@link disconnect}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes an app: checks the configuration and the stores, and reaches the relay.
 *
 * @throws {StvorError} `INVALID_APP_TOKEN`, `INVALID_ARGUMENT`, `AUTH_FAILED`, `RELAY_UNAVAILABLE`; in production mode
 * `STORAGE_REQUIRED`, `INSECURE_RELAY` and `INSECURE_BACKEND`; of the stores `STORAGE_FAILED`, `STORAGE_KEY`,
 * `STORAGE_LOCKED`, `STORAGE_DAMAGED`.
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

/** What the stores of an app need for {@link importLegacy}. Methods may be synchronous. */
export interface ImportAdapters {
  identity: {
    getIdentityKeyPair(userId: UserId): unknown;
    /** Keeps an identity that the store did not make, unless the user has one: then it rejects. Not called otherwise. */
    importIdentityKeyPair?(keyPair: { publicKey: Bytes; privateKey: Bytes }, userId: UserId): unknown;
  };
  sessions: {
    load(peerId: UserId, userId: UserId): unknown;
    save(peerId: UserId, state: Bytes, userId: UserId): unknown;
    saveMany?(userId: UserId, records: [UserId, Bytes][]): unknown;
  };
  tofu: {
    verifyFingerprint(peerId: UserId, fingerprint: string, userId: UserId): unknown;
    storeFingerprint(peerId: UserId, fingerprint: string, userId: UserId): unknown;
  };
}

/** A session as 3.0.0 saves it: JSON as text or bytes (a Buffer's JSON form too), or what was parsed of it. */
export type LegacySession = string | Uint8Array | object;

/** What {@link importLegacy} takes. */
export interface LegacyUser {
  userId: UserId;
  /** The identity record of 3.0.0, or its JSON. */
  identity: IdentityKeys | string;
  /** Sessions by peer. */
  sessions?: { [peerId: UserId]: LegacySession } | ReadonlyMap<UserId, LegacySession> | undefined;
  /** Those of the app that the user will connect to. */
  storageAdapters: ImportAdapters | ((userId: UserId) => ImportAdapters | Promise<ImportAdapters>);
}

/** What {@link importLegacy} has done. */
export interface LegacyImport {
  userId: UserId;
  /** Peers whose sessions go on. */
  imported: UserId[];
  /** Peers of whom the store had something already, which was left alone. */
  skipped: UserId[];
}

/** Where a {@link CryptoSessionManager} keeps its identity. Methods may be synchronous. */
export interface IdentityKeysStore {
  /** The saved keys, or null. */
  loadIdentityKeys(userId: UserId): Promise<IdentityKeys | null> | IdentityKeys | null;
  saveIdentityKeys(userId: UserId, keys: IdentityKeys): Promise<void> | void;
}

/**
 * Either of two stores that go by this name: documentation's name of {@link IdentityStore}, which apps take, and that of
 * version 3.0.0 for {@link IdentityKeysStore}, which {@link CryptoSessionManager} takes. Which methods there are is
 * checked where it is used.
 */
export interface IIdentityStore extends Partial<IdentityStore>, Partial<IdentityKeysStore> {}

/** Sessions by peer without a relay: the caller carries public keys and messages itself. */
export class CryptoSessionManager {
  /**
   * @param identityStore keeps the identity; without one it lives as long as this object.
   * @param sessionStore not used yet: a warning says so.
   * @throws {StvorError} `INVALID_ARGUMENT`, also for a store without `loadIdentityKeys` and `saveIdentityKeys`.
   */
  constructor(userId: UserId, identityStore?: IdentityKeysStore | IIdentityStore | null, sessionStore?: object | null);

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

/**
 * Judges an attestation that came to a backend. What was sent may have any shape: whatever is wrong with it is a
 * `reason`, never thrown.
 *
 * @param appToken the token that the sender is known by, not one that it names.
 * @throws {StvorError} `INVALID_ARGUMENT` for an `appToken` that is no text or empty, and for options that are wrong.
 */
export function verifyAttestation(attestation: unknown, appToken: AppToken, known?: KnownOfSession): AttestationVerdict;

/**
 * Brings what version 3.0.0 has saved of a user into storage adapters, before the user connects for the first time:
 * the identity, the sessions, which go on with peers that still run 3.0.0, and the peers' fingerprints. May be
 * repeated, say after a failure. Nothing is written unless everything could be read.
 *
 * The signed prekey of the record is not used any more: the user connects with a new one.
 *
 * @throws {StvorError} `LEGACY_FORMAT`: not saved by 3.0.0 (what 2.4 has saved cannot be read), or damaged;
 * `IDENTITY_CONFLICT`, `IDENTITY_CHANGED`, `STORAGE_FAILED`, `STORAGE_REQUIRED`, `INVALID_ARGUMENT`.
 */
export function importLegacy(user: LegacyUser): Promise<LegacyImport>;

/** These exports again, for CommonJS code that awaits its modules. */
export function load(): Promise<typeof import('./index.js')>;

export {};
