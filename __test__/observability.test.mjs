// Metrics of an app, and the same for Prometheus: what counts, and when.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { root } from '../scripts/cargo.mjs';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { readExposition } from './support/exposition.mjs';
import { conflict, memoryStorage } from './support/memory-storage.mjs';
import { appOn, frameRelay, mockRelay, users } from './support/relays.mjs';

/** Fields of getMetrics() and the metrics of prometheus() that are the same. */
const COUNTERS = {
  messagesEncrypted: 'stvor_messages_encrypted_total',
  messagesDecrypted: 'stvor_messages_decrypted_total',
  messagesRejected: 'stvor_messages_rejected_total',
  replayAttempts: 'stvor_replay_attempts_total',
  authFailures: 'stvor_auth_failures_total',
  messagesRetransmitted: 'stvor_messages_retransmitted_total',
  receiptsReceived: 'stvor_receipts_received_total',
  sessionsBegun: 'stvor_sessions_begun_total',
  reconnections: 'stvor_reconnections_total',
  storageFailures: 'stvor_storage_failures_total',
  storageConflicts: 'stvor_storage_conflicts_total',
};
const HISTOGRAMS = {
  sendDuration: 'stvor_send_duration_seconds',
  receiptDuration: 'stvor_receipt_duration_seconds',
  commitDuration: 'stvor_commit_duration_seconds',
};

function assertHistogram({ count, sum, buckets }, name) {
  assert.ok(buckets.length > 10, name);
  assert.equal(buckets[0].le, 0.0001, name);
  assert.equal(buckets.at(-1).le, 60, name);
  for (const [at, { le, count: within }] of buckets.entries()) {
    assert.ok(at === 0 || (le > buckets[at - 1].le && within >= buckets[at - 1].count), name);
    assert.ok(within <= count, name);
  }
  assert.equal(count === 0, sum === 0, name);
}

test('an app begins with zeros, in exactly the documented fields', async (t) => {
  const metrics = (await appOn(t, await mockRelay(t))).getMetrics();
  assert.deepEqual(Object.keys(metrics), [...Object.keys(COUNTERS), ...Object.keys(HISTOGRAMS)]);
  for (const name of Object.keys(COUNTERS)) assert.equal(metrics[name], 0, name);
  for (const name of Object.keys(HISTOGRAMS)) assertHistogram(metrics[name], name);
  const document = readFileSync(join(root, 'docs/OBSERVABILITY.md'), 'utf8');
  for (const [field, name] of Object.entries({ ...COUNTERS, ...HISTOGRAMS })) {
    assert.ok(document.includes(`| \`${field}\` | \`${name}\` |`), `${field} is documented`);
  }
});

test('sends, receipts and commits are counted and timed', async (t) => {
  const began = performance.now();
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  for (let n = 0; n < 3; n += 1) await alice.send('bob', n);
  assert.equal((await alice.send('bob', 'answered', { receipt: true })).status, 'received');
  await assert.rejects(alice.send('nobody', 'hello', { waitForRecipient: false }), { code: 'RECIPIENT_NOT_FOUND' });
  await inbox.take(4);
  const metrics = app.getMetrics();
  const seconds = (performance.now() - began) / 1000;
  assert.equal(metrics.messagesEncrypted, 4);
  assert.equal(metrics.messagesDecrypted, 4);
  assert.equal(metrics.receiptsReceived, 4, 'receipts count for all messages, whoever waits for them');
  assert.equal(metrics.sessionsBegun, 1);
  assert.deepEqual([metrics.sendDuration.count, metrics.receiptDuration.count], [3, 1]);
  assert.ok(metrics.commitDuration.count >= 5, 'each message is committed by both sides');
  for (const name of Object.keys(HISTOGRAMS)) {
    assertHistogram(metrics[name], name);
    assert.ok(metrics[name].sum < seconds, `${name} is in seconds`);
  }
  for (const name of ['messagesRejected', 'replayAttempts', 'authFailures', 'reconnections', 'storageFailures', 'storageConflicts']) {
    assert.equal(metrics[name], 0, name);
  }
});

test('what fails authentication counts as rejected and not as decrypted', async (t) => {
  const relay = await frameRelay(t, (frame, ws, state) => {
    if (frame.type !== 'message') return false;
    const { ciphertext } = frame.payload;
    const altered = `${ciphertext[0] === 'A' ? 'B' : 'A'}${ciphertext.slice(1)}`;
    state.users.get(frame.to).json({ ...frame, payload: { ...frame.payload, ciphertext: altered } });
    ws.json({ type: 'ack', id: frame.id });
    return true;
  });
  const [from, to] = [await appOn(t, relay), await appOn(t, relay)];
  const [alice, bob] = [await from.connect('alice'), await to.connect('bob')];
  const errors = errorsOf(bob);
  await alice.send('bob', 'altered on its way');
  assert.equal((await errors.next()).code, 'DECRYPTION_FAILED');
  const { messagesDecrypted, messagesRejected } = to.getMetrics();
  assert.equal(messagesDecrypted, 0);
  assert.ok(messagesRejected >= 1);
  assert.equal(from.getMetrics().receiptsReceived, 0);
});

test('a connection that is lost and made again is counted, and what is sent again over it', async (t) => {
  let swallow = true;
  const relay = await frameRelay(t, (frame) => frame.type === 'message' && swallow);
  const app = await appOn(t, relay);
  const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
  const inbox = messagesOf(bob);
  const sending = alice.send('bob', 'lost', { receipt: true, timeout: 30_000 });
  while (app.getMetrics().messagesEncrypted === 0) await new Promise(setImmediate);
  swallow = false;
  for (const socket of relay.sockets.clients) socket.terminate();
  assert.equal((await inbox.next()).content, 'lost');
  assert.equal((await sending).status, 'received');
  const { reconnections, messagesEncrypted } = app.getMetrics();
  assert.deepEqual([reconnections, messagesEncrypted], [1, 1]);
});

test('a message that a relay drops is sealed again, and counted', async (t) => {
  let dropped = 0;
  const relay = await frameRelay(t, (frame, ws) => {
    if (frame.type !== 'message' || frame.from !== 'alice' || dropped > 0) return false;
    dropped += 1;
    ws.json({ type: 'ack', id: frame.id });
    return true;
  });
  const app = await appOn(t, relay);
  const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
  const inbox = messagesOf(bob);
  await alice.send('bob', 'dropped once');
  assert.equal((await inbox.next()).content, 'dropped once');
  const { messagesEncrypted, messagesRetransmitted, messagesDecrypted } = app.getMetrics();
  assert.deepEqual([messagesEncrypted, messagesDecrypted], [1, 1]);
  assert.ok(messagesRetransmitted >= 1);
});

test('stores that fail, and writes that another process has overtaken, are counted', async (t) => {
  const storage = memoryStorage();
  const { saveMany } = storage.sessions;
  const failures = [];
  storage.sessions.saveMany = async (userId, rows) => {
    const error = failures.shift();
    if (error) throw error;
    return saveMany(userId, rows);
  };
  const relay = await mockRelay(t);
  const logged = [];
  const logger = (level, message, fields) => logged.push([level, message, fields.code]);
  const app = await appOn(t, relay, { storageAdapters: storage, logger });
  const bob = await (await appOn(t, relay)).connect('bob');
  const [alice, inbox] = [await app.connect('alice'), messagesOf(bob)];
  const errors = errorsOf(alice);
  await alice.send('bob', 'one');
  await inbox.next();
  const before = app.getMetrics();
  failures.push(conflict());
  await alice.send('bob', 'two');
  await inbox.next();
  failures.push(new Error('disk full'), new Error('disk full'));
  const refused = await alice.send('bob', 'three').then(() => undefined, (error) => error.code);
  assert.ok([undefined, 'STORAGE_FAILED'].includes(refused), refused); // or it was a receipt's step that failed
  assert.equal((await errors.next()).code, 'STORAGE_FAILED');
  const after = app.getMetrics();
  assert.equal(after.storageConflicts, before.storageConflicts + 1);
  assert.ok(after.storageFailures > before.storageFailures);
  await app.disconnect(); // which writes once more what a failed store may have kept
  const end = app.getMetrics();
  const count = (wanted) => logged.filter((event) => isDeepStrictEqual(event, wanted)).length;
  assert.equal(count(['info', 'store conflict', undefined]), end.storageConflicts);
  assert.equal(count(['warn', 'store failed', 'STORAGE_FAILED']), end.storageFailures);
});

test('prometheus() says the same in the exposition format, strictly read', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const [inbox, receipts] = [messagesOf(bob), new Queue()];
  alice.onReceipt((receipt) => receipts.push(receipt));
  for (let n = 0; n < 5; n += 1) await alice.send('bob', n);
  await Promise.all([inbox.take(5), receipts.take(5)]);
  const exposition = readExposition(app.prometheus());
  const metrics = app.getMetrics();
  assert.deepEqual([...exposition.keys()], [...Object.values(COUNTERS), ...Object.values(HISTOGRAMS)]);
  assert.equal(exposition.get('stvor_messages_encrypted_total').samples[0].value, 5);
  for (const [field, name] of Object.entries(COUNTERS)) {
    assert.equal(exposition.get(name).samples[0].value, metrics[field], name);
  }
  for (const [field, name] of Object.entries(HISTOGRAMS)) {
    const { samples } = exposition.get(name);
    const [sum, count] = samples.slice(-2).map((sample) => sample.value);
    assert.deepEqual([sum, count], [metrics[field].sum, metrics[field].count], name);
    const buckets = samples.slice(0, -3).map(({ labels, value }) => ({ le: Number(labels.le), count: value }));
    assert.deepEqual(buckets, metrics[field].buckets, name);
  }
});

test('attestations still cover the five counters of the original alone', async (t) => {
  const app = await appOn(t, await mockRelay(t));
  assert.deepEqual(Object.keys(app.createAttestation().metrics), Object.keys(COUNTERS).slice(0, 5));
});
