// What a user writes in an ES module. Compiled, not run; `@ts-expect-error` marks what must not compile.
import {
  createApp,
  init,
  Stvor,
  StvorApp,
  StvorError,
  StvorFacadeClient,
  STVOR_ERRORS,
  CryptoSessionManager,
  generateFingerprint,
  generateKeyPair as generateFromRoot,
  importLegacy,
  postgresStorage,
  redisReplayCache,
  RedisReplayCache,
  SafetyNumber,
  verifyAttestation,
  verifyMetricsSignature,
} from '@stvor/sdk';
import type { Attestation, AttestationVerdict, IdentityChange, ImportAdapters, LegacyImport, Unsubscribe } from '@stvor/sdk';
import type { AppMetrics, LogFunction, LogLevel } from '@stvor/sdk';
import type { DecryptedMessage, ErrorCode, IdentityKeysStore, IIdentityStore, Metrics, PostgresStorage, Receipt, SendResult, StorageAdapters, StvorAppConfig } from '@stvor/sdk';
import { decryptMessage, encryptMessage, establishSession, generateKeyPair } from '@stvor/sdk/ratchet';
import type { KeyPair, SessionState } from '@stvor/sdk/ratchet';
import { startMockRelay } from '@stvor/sdk/mock-relay';
import { adapterCases, checkAdapters } from '@stvor/sdk/testing';
import type { ConformanceReport } from '@stvor/sdk/testing';
import type { MockRelay } from '@stvor/sdk/mock-relay';

const config: StvorAppConfig = { appToken: 'stvor_dev_test123', relayUrl: 'ws://localhost:4444', timeout: 5_000, pollIntervalMs: 500, legacyPeers: 'refuse' };
const app: StvorApp = await createApp(config);
const same: StvorApp = await init(config);
const another: StvorApp = await Stvor.init({ appToken: 'demo_token' });
const alone: StvorFacadeClient = await Stvor.connect({ userId: 'carol', ...config });
const alice: StvorFacadeClient = await app.connect('alice');

// Both documented forms of a handler, and the unsubscribe function.
const unsubscribe: () => void = alice.onMessage((message: DecryptedMessage) => {
  const text: string = typeof message.content === 'string' ? message.content : '';
  const at: Date = message.timestamp;
  return [text, at, message.senderId, message.from, message.data, message.id];
});
alice.onMessage((message) => message.senderId.toUpperCase());
alice.onMessage((from, content) => console.log(`${from.toUpperCase()}: ${content}`));
alice.onMessage(async (from, content) => void (await Promise.resolve([from, content])));
unsubscribe();

// Contents of any type; `T` states what two programs have agreed on.
interface Order { id: bigint; items: Map<string, number>; placed: Date; note?: string }
const order: Order = { id: 1n, items: new Map([['tea', 2]]), placed: new Date() };
await alice.send('bob', order);
await alice.send<Order>('bob', order, { receipt: true });
for (const content of [1, 1n, true, null, undefined, new Date(), new Set([1]), [1, 'two'], { three: 3 }]) await alice.send('bob', content);
alice.onMessage<Order>((message) => message.content.items.get('tea')?.toFixed());
alice.onMessage<Order>((from, { placed }) => `${from.length} ${placed.getTime()}`);
alice.onMessage<Order>(async (_from, _content, message) => message.data.id + 1n);
alice.onMessage((message: DecryptedMessage<Order>) => message.content.note?.length);
alice.onMessage((from, content) => (content instanceof Map ? content.size : from.length));

const noReceipts: () => void = alice.onReceipt((receipt) => {
  const { id, recipientId }: Receipt = receipt;
  return id.length + recipientId.length;
});
noReceipts();
alice.onError((error) => {
  const code: ErrorCode = error.code;
  console.error(code, error.retryable, error.action, error.peerId);
});

const result: SendResult = await alice.send('bob', 'hello', { timeout: 1_000, waitForRecipient: false });
const status: 'delivered' | 'queued' | 'sent' | 'received' = result.status;
await alice.send('bob', new Uint8Array([1, 2, 3]));
await alice.send('bob', Buffer.from('bytes'));
const known: boolean = await alice.waitForUser('bob', 1_000);
const fingerprint: string = alice.fingerprint();
await app.trust('bob', fingerprint);
const metrics: Metrics = app.getMetrics();
const counted: AppMetrics = app.getMetrics();
const shortest: number | undefined = counted.sendDuration.buckets[0]?.le;
const exposition: string = app.prometheus();
const log: LogFunction = (level: LogLevel, message, fields) => console.error(level, message, fields['app']);
const logging: StvorAppConfig[] = [{ ...config, logger: log, logLevel: 'trace' }, { ...config, logger: console }];
// @ts-expect-error no such level
const unheard: StvorAppConfig = { ...config, logger: log, logLevel: 'verbose' };
// @ts-expect-error a method is missing
const mute: StvorAppConfig = { ...config, logger: { error: log, warn: log, info: log } };
const ready: boolean = app.isReady();
await app.disconnect(alice.getUserId());
await app.disconnect();

try {
  await alice.send('bob', 'hello');
} catch (error) {
  if (error instanceof StvorError && error.code === STVOR_ERRORS.RECIPIENT_NOT_FOUND) console.log(error.message);
}

const store: IIdentityStore = { loadIdentityKeys: async () => null, saveIdentityKeys: async () => {} };
// The documentation's interface of the same name is for apps.
const documented: IIdentityStore = { async getIdentityKeyPair() { return generateKeyPair(); } };
const perUser: IIdentityStore = { getIdentityKeyPair: async (userId) => (userId === '' ? generateKeyPair() : generateFromRoot()) };
await createApp({ ...config, storageAdapters: { identity: documented } });
await createApp({ ...config, storageAdapters: async () => ({ identity: perUser }) });
class Identities implements IIdentityStore {
  async getIdentityKeyPair() { return generateKeyPair(); }
}
class Keys implements IIdentityStore {
  async loadIdentityKeys() { return null; }
  async saveIdentityKeys() {}
}
await createApp({ ...config, storageAdapters: { identity: new Identities() } });
const kept = new CryptoSessionManager('alice', new Keys());
const inClear: IdentityKeysStore = new Keys();
// @ts-expect-error a session store is none of both
await createApp({ ...config, storageAdapters: { identity: { save() {}, load: () => null } } });
// @ts-expect-error none of both
const neither: IIdentityStore = { getIdentityKeypair: () => null };
void [kept, new CryptoSessionManager('bob', inClear), neither];
declare const stores: ImportAdapters;
const manager = new CryptoSessionManager('alice', store);
await manager.initialize();
await manager.establishSession('bob', manager.getPublicKeys());
const sealed: { ciphertext: string; header: string } = manager.encryptForPeer('bob', 'hello');
const opened: string = manager.decryptFromPeer('bob', sealed.ciphertext, sealed.header);
const number: SafetyNumber = await alice.safetyNumber('bob');
const compared: [string, string, Buffer, boolean, string] = [`${number}`, number.digits, number.bytes, number.matches(number.bytes), number.toQR()];
const forget: Unsubscribe = app.onIdentityChange(({ peerId, userId, previousFingerprint, fingerprint, safetyNumber }: IdentityChange) => {
  const before: string | undefined = previousFingerprint;
  console.log(peerId, userId, before, fingerprint, safetyNumber.fingerprint);
});
alice.onIdentityChange((change) => void change.safetyNumber.toQR());
const attestation: Attestation = app.createAttestation();
const sent: Attestation | null = await app.flushMetrics({ backendUrl: 'https://backend.example' });
const verdict: AttestationVerdict = verifyAttestation(attestation, 'stvor_token', { lastSequenceNumber: -1, lastMetrics: null, seen: new Set<string>(), now: 0 });
verifyAttestation('anything', 'stvor_token', { seen: (id) => id.length > 0 });
const moved: LegacyImport = await importLegacy({ userId: 'alice', identity: '{}', sessions: { bob: '{}' }, storageAdapters: () => stores });
void [compared, forget, sent, verdict.reason, moved.imported];
const valid: boolean = verifyMetricsSignature('{}', 'proof', 'stvor_token');

const pair: KeyPair = generateKeyPair();
const session: SessionState = establishSession(pair, generateFromRoot(), pair.publicKey, pair.publicKey);
const { ciphertext, header } = encryptMessage(session, 'text');
const bytes: Buffer = decryptMessage(session, ciphertext, header);
const counts: number = session.sendCount + session.recvCount + session.prevSendCount;
const print: string = generateFingerprint(pair.publicKey);

const relay: MockRelay = await startMockRelay({ port: 0 });
const port: number = relay.port;
await relay.close();

// @ts-expect-error: the AppToken is required.
await createApp({ relayUrl: 'ws://localhost:4444' });
// @ts-expect-error: no such option.
await createApp({ appToken: 'stvor_x', relayURL: 'ws://localhost:4444' });
// @ts-expect-error: no such value.
await createApp({ appToken: 'stvor_x', legacyPeers: 'never' });
// @ts-expect-error: not what was agreed on.
await alice.send<Order>('bob', { id: 1 });
// @ts-expect-error: no such option.
await alice.send('bob', 'hello', { reciept: true });
// @ts-expect-error: a content is unknown until it is looked at.
alice.onMessage((message) => message.content.length);
// @ts-expect-error: the same.
alice.onMessage((from, content) => content.length);
// @ts-expect-error: clients come from connect().
new StvorFacadeClient();
// @ts-expect-error: the root key stays in native memory.
session.rootKey;
// @ts-expect-error: sessions are advanced by the functions only.
session.sendCount = 1;

export { counted, shortest, exposition, logging, unheard, mute };
export { same, another, alone, status, known, metrics, ready, opened, valid, bytes, counts, print, port };

// The bytes of this package are Buffers where Node.js's types are known, never `any`.
type IsAny<T> = 0 extends 1 & T ? true : false;
const bytesAreTyped: IsAny<KeyPair['publicKey']> = false;
const contentIsTyped: IsAny<DecryptedMessage['content']> = false;
const codes: Record<'OUTBOX_FULL' | 'PROTOCOL_MISMATCH' | 'RECEIPT_TIMEOUT' | 'INVALID_CONTENT', string> = STVOR_ERRORS;
void [bytesAreTyped, contentIsTyped, codes];

// Storage: the provided stores are adapters, alone and combined, and so are stores written by hand.
const storage: PostgresStorage = postgresStorage({ pool: { query: async () => ({ rows: [] }) }, key: new Uint8Array(32) });
const cache: RedisReplayCache = redisReplayCache({ url: 'redis://localhost', ttlSeconds: 300 });
const adapters: StorageAdapters = { ...storage, replay: cache };
const own: StorageAdapters = {
  identity: { getIdentityKeyPair: async () => generateKeyPair() },
  sessions: { save() {}, load: () => null },
  replay: { ready: async () => {}, checkAndMark: (peerId, nonce, userId) => nonce.length === peerId.length + userId.length },
  tofu: { storeFingerprint: async () => {}, verifyFingerprint: async (_peerId, fingerprint) => fingerprint === '' || null },
};
const report: ConformanceReport = await checkAdapters(own, { reopen: () => own, only: ['replay'], oneWriter: true });
await checkAdapters((userId) => (userId === 'alice' ? adapters : own));
for (const { name, run } of adapterCases({ replay: cache })) console.log(name, (await run())?.skipped, report.passed);
await Promise.all([cache.ready(), storage.sessions.ready()]);
await storage.close();
// @ts-expect-error one of the four is missing
const incomplete: StorageAdapters = { identity: own.identity, sessions: own.sessions, replay: cache };
// @ts-expect-error a nonce is bytes
await cache.checkAndMark('bob', 'nonce', 'alice');
console.log(incomplete, new RedisReplayCache({ client: { set: async () => 'OK' } }).perUser);
