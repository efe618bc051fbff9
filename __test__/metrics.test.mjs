// Verified metrics: what an app counts, attests and sends, and what a backend makes of it.
import assert from 'node:assert/strict';
import { createHmac, hkdfSync } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createApp, Stvor, verifyAttestation, verifyMetricsSignature } from '@stvor/sdk';
import { metricsHandler } from '../examples/metrics-backend/backend.mjs';
import { root } from '../scripts/cargo.mjs';
import { messagesOf, Queue, warnings } from './support/collect.mjs';
import { appOn, mockRelay, TOKEN, users } from './support/relays.mjs';
import { program } from './support/child.mjs';

const COUNTERS = ['messagesEncrypted', 'messagesDecrypted', 'messagesRejected', 'replayAttempts', 'authFailures'];
const vectors = JSON.parse(readFileSync(join(root, 'crates/protocol/tests/vectors/v3.0.0/metrics.json')));

/** A proof by a few lines that are not ours. */
function proof({ metrics, sessionId, sequenceNumber, timestamp, attestationId }, token) {
  const key = Buffer.from(hkdfSync('sha256', token, Buffer.alloc(32), 'stvor-metrics-attestation-v1', 32));
  const text = JSON.stringify({ metrics, sessionId, sequenceNumber, timestamp, attestationId });
  return createHmac('sha256', key).update(text).digest('hex');
}

function attestation(changes = {}, token = TOKEN) {
  const unsigned = {
    metrics: Object.fromEntries(COUNTERS.map((name, at) => [name, at])),
    attestationId: `attest_${'a'.repeat(32)}`,
    timestamp: Date.now(),
    sessionId: `session_${'b'.repeat(32)}`,
    sequenceNumber: 0,
    ...changes,
  };
  return { ...unsigned, proof: proof(unsigned, token) };
}

/** A backend on a free port that answers as the test says, and what it was sent. */
async function backend(t, respond) {
  const requests = new Queue();
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    requests.push({ method: request.method, url: request.url, type: request.headers['content-type'], body: JSON.parse(text) });
    respond(response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

const accepts = (response) => response.writeHead(200).end('{}');

describe('an attestation', () => {
  test('has the form and the proof of the original, and counts from 0', async (t) => {
    const app = await appOn(t, await mockRelay(t));
    const [first, second] = [app.createAttestation(), app.createAttestation()];
    assert.deepEqual(Object.keys(first), ['metrics', 'attestationId', 'timestamp', 'sessionId', 'sequenceNumber', 'proof']);
    assert.deepEqual(Object.keys(first.metrics), COUNTERS);
    assert.match(first.attestationId, /^attest_[0-9a-f]{32}$/);
    assert.match(first.sessionId, /^session_[0-9a-f]{32}$/);
    assert.ok(Math.abs(first.timestamp - Date.now()) < 10_000);
    assert.equal(first.proof, proof(first, TOKEN));
    assert.deepEqual([first.sequenceNumber, second.sequenceNumber], [0, 1]);
    assert.equal(second.sessionId, first.sessionId);
    assert.notEqual(second.attestationId, first.attestationId);
    const known = { lastSequenceNumber: 0, lastMetrics: first.metrics };
    assert.deepEqual(verifyAttestation(second, TOKEN, known), { valid: true, reason: 'Attestation verified' });
    assert.notEqual((await appOn(t, await mockRelay(t))).createAttestation().sessionId, first.sessionId);
  });

  test('counts what succeeded cryptographically, of all users', async (t) => {
    const relay = await mockRelay(t);
    const { app, alice, bob } = await users(t, relay, 'alice', 'bob');
    const inbox = messagesOf(bob);
    for (let n = 0; n < 3; n += 1) await alice.send('bob', n);
    await inbox.take(3);
    await assert.rejects(alice.send('nobody', 'hello', { waitForRecipient: false }), { code: 'RECIPIENT_NOT_FOUND' });
    const { metrics } = app.createAttestation();
    assert.deepEqual(metrics, { messagesEncrypted: 3, messagesDecrypted: 3, messagesRejected: 0, replayAttempts: 0, authFailures: 0 });
    const counted = app.getMetrics();
    assert.deepEqual(metrics, Object.fromEntries(COUNTERS.map((name) => [name, counted[name]])));
  });
});

describe('sending metrics', () => {
  test('is one POST in the form of the original', async (t) => {
    const { url, requests } = await backend(t, accepts);
    const app = await appOn(t, await mockRelay(t));
    for (const backendUrl of [url, `${url}/`]) {
      const sent = await app.flushMetrics({ backendUrl });
      const { method, url: path, type, body } = await requests.next();
      assert.deepEqual([method, path, type], ['POST', '/api/metrics/attest', 'application/json']);
      assert.deepEqual(Object.keys(body), ['appToken', 'attestation']);
      assert.deepEqual(body, { appToken: TOKEN, attestation: sent });
    }
  });

  test('goes to the backend of the configuration, and once more when the app ends', async (t) => {
    const { url, requests } = await backend(t, accepts);
    const relay = await mockRelay(t);
    const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, backendUrl: url });
    const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
    const inbox = messagesOf(bob);
    await app.sendMetricsAttestation();
    await alice.send('bob', 'hello');
    await inbox.next();
    await app.disconnect('alice');
    await app.disconnect();
    await app.disconnect();
    const [first, last] = (await requests.take(2)).map(({ body }) => body.attestation);
    assert.deepEqual([first.sequenceNumber, last.sequenceNumber], [0, 1]);
    assert.deepEqual([first.metrics.messagesEncrypted, last.metrics.messagesEncrypted, last.metrics.messagesDecrypted], [0, 1, 1]);
    assert.equal(requests.size, 0);
    const carol = await Stvor.connect({ userId: 'carol', appToken: TOKEN, relayUrl: relay.url, backendUrl: url });
    await carol.disconnect();
    assert.equal((await requests.next()).body.attestation.sequenceNumber, 0);
  });

  test('never keeps an app from ending', async (t) => {
    const relay = await mockRelay(t);
    const silent = await backend(t, () => {});
    const failing = await backend(t, (response) => response.writeHead(500).end());
    for (const backendUrl of [silent.url, failing.url, 'http://127.0.0.1:1', 'http://nowhere.invalid']) {
      const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, backendUrl });
      await app.connect('alice');
      const began = performance.now();
      await app.disconnect();
      assert.ok(performance.now() - began < 10_000, backendUrl);
    }
  });

  test('without a backend prints one line of counts and resolves to null', async (t) => {
    const printed = warnings(t);
    const app = await appOn(t, await mockRelay(t));
    await app.connect('alice');
    assert.equal(await app.flushMetrics(), null);
    const { name, code, message } = await printed.next();
    assert.deepEqual([name, code], ['StvorWarning', 'STVOR_METRICS']);
    assert.match(message, /: messagesEncrypted 0, messagesDecrypted 0, .*, authFailures 0\.$/);
    assert.doesNotMatch(message, /alice|stvor_test|\n/);
    await app.disconnect();
    assert.equal(printed.size, 0);
  });

  test('fails with what to do, and gives the number to the next attestation', async (t) => {
    const relay = await mockRelay(t);
    const app = await appOn(t, relay);
    const down = app.flushMetrics({ backendUrl: 'http://127.0.0.1:1' });
    await assert.rejects(down, { name: 'StvorError', code: 'BACKEND_UNAVAILABLE', retryable: true });
    const refusing = await backend(t, (response) => response.writeHead(403).end());
    await assert.rejects(app.flushMetrics({ backendUrl: refusing.url }), { code: 'METRICS_REJECTED', retryable: false, message: /403/ });
    const silent = await backend(t, () => {});
    await assert.rejects(app.flushMetrics({ backendUrl: silent.url, timeout: 200 }), { code: 'BACKEND_UNAVAILABLE' });
    const redirecting = await backend(t, (response) => response.writeHead(307, { location: silent.url }).end());
    await assert.rejects(app.flushMetrics({ backendUrl: redirecting.url }), { code: 'METRICS_REJECTED' });
    assert.equal(silent.requests.size, 1);
    assert.ok((await app.flushMetrics({ backendUrl: (await backend(t, accepts)).url })).sequenceNumber <= 1);
    for (const backendUrl of ['ftp://localhost', 'localhost:3000', '', 7, null]) {
      await assert.rejects(app.flushMetrics({ backendUrl }), { code: 'INVALID_ARGUMENT', message: /^backendUrl / });
      await assert.rejects(createApp({ appToken: TOKEN, relayUrl: relay.url, backendUrl }), { code: 'INVALID_ARGUMENT', message: /^backendUrl / });
    }
    await assert.rejects(app.flushMetrics({ backend: 'http://localhost' }), { code: 'INVALID_ARGUMENT' });
  });

  test('shows why a backend refuses, as far as it is short and can be printed', async (t) => {
    const app = await appOn(t, await mockRelay(t));
    const refusal = async (body) => {
      const { url } = await backend(t, (response) => response.writeHead(403).end(body));
      return app.flushMetrics({ backendUrl: url }).then(assert.fail, ({ code, message }) => [code, message]);
    };
    const bare = 'The backend does not accept the metrics: HTTP status 403.';
    const told = (reason) => `The backend does not accept the metrics: HTTP status 403, "${reason}".`;
    for (const [body, message] of [
      [JSON.stringify({ valid: false, reason: 'Unknown AppToken' }), told('Unknown AppToken')],
      [JSON.stringify({ reason: ' \u001b[31mred\n\u202eline ' }), told(String.raw`\u{1b}[31mred\n\u{202e}line`)],
      [JSON.stringify({ reason: 'x'.repeat(1_000) }), told(`${'x'.repeat(200)}…`)],
      [JSON.stringify({ reason: 'x'.repeat(5_000) }), bare],
      ['{"reason":7}', bare], ['{"reason":""}', bare], ['{"error":"no"}', bare], ['Forbidden', bare], ['', bare],
    ]) assert.deepEqual(await refusal(body), ['METRICS_REJECTED', message], body.slice(0, 40));
  });

  test('knows a refusal although its reason does not come', async (t) => {
    const app = await appOn(t, await mockRelay(t));
    const { url } = await backend(t, (response) => response.writeHead(403).write('{"reason":'));
    await assert.rejects(app.flushMetrics({ backendUrl: url }), { code: 'METRICS_REJECTED', message: /HTTP status 403\.$/ });
  });

  test('misses no number where a backend first hangs up, then refuses everything, then works', async (t) => {
    let answer = (response) => response.destroy();
    const { url, requests } = await backend(t, (response) => answer(response));
    const app = await appOn(t, await mockRelay(t));
    await assert.rejects(app.flushMetrics({ backendUrl: url }), { code: 'BACKEND_UNAVAILABLE' });
    answer = (response) => response.writeHead(403).end();
    await assert.rejects(app.flushMetrics({ backendUrl: url }), { code: 'METRICS_REJECTED' });
    answer = accepts;
    assert.equal((await app.flushMetrics({ backendUrl: url })).sequenceNumber, 0);
    assert.equal((await app.flushMetrics({ backendUrl: url })).sequenceNumber, 1);
    const numbers = (await requests.take(5)).map(({ body }) => body.attestation.sequenceNumber);
    assert.deepEqual(numbers, [0, 0, 1, 0, 1]);
    assert.equal(requests.size, 0);
  });

  test('goes on after an answer that was lost, whether or not the attestation had arrived', async (t) => {
    let last = -1;
    let loses = true;
    const requests = new Queue();
    const server = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      const { attestation: { sequenceNumber } } = JSON.parse(text);
      requests.push(sequenceNumber);
      const taken = sequenceNumber === last + 1;
      if (taken) last = sequenceNumber;
      if (loses) return request.socket.destroy();
      response.writeHead(taken ? 200 : 409).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const backendUrl = `http://127.0.0.1:${server.address().port}`;
    const app = await appOn(t, await mockRelay(t));
    await assert.rejects(app.flushMetrics({ backendUrl }), { code: 'BACKEND_UNAVAILABLE' });
    loses = false;
    assert.equal((await app.flushMetrics({ backendUrl })).sequenceNumber, 1);
    const flushes = Array.from({ length: 5 }, () => app.flushMetrics({ backendUrl }));
    const numbers = (await Promise.all(flushes)).map(({ sequenceNumber }) => sequenceNumber);
    assert.deepEqual(numbers.sort(), [2, 3, 4, 5, 6]);
    const seen = await requests.take(requests.size);
    assert.deepEqual([...new Set(seen)], [0, 1, 2, 3, 4, 5, 6]);
  });
});

describe('verifying an attestation', () => {
  for (const { note, attestation: given, appToken, lastSequenceNumber, now, result } of vectors.verifyAttestation) {
    test(`as the original: ${note}`, () => {
      const verdict = verifyAttestation(given, appToken, { lastSequenceNumber, now });
      // The one difference: the original takes any time in the future.
      const ahead = given.timestamp > now + 60_000;
      assert.deepEqual(verdict, ahead ? { valid: false, reason: 'Attestation timestamp in the future' } : result);
    });
  }

  test('draws the lines at five minutes and one', () => {
    const now = Date.now();
    const at = (timestamp) => verifyAttestation(attestation({ timestamp }), TOKEN, { now }).reason;
    assert.equal(at(now - 300_000), 'Attestation verified');
    assert.equal(at(now - 300_001), 'Attestation timestamp too old');
    assert.equal(at(now + 60_000), 'Attestation verified');
    assert.equal(at(now + 60_001), 'Attestation timestamp in the future');
    assert.equal(verifyAttestation(attestation({ timestamp: now }), TOKEN).valid, true);
    assert.equal(verifyAttestation(attestation({ timestamp: 0 }), TOKEN).valid, false);
  });

  test('refuses any counter that is less than before', () => {
    const lastMetrics = Object.fromEntries(COUNTERS.map((name) => [name, 5]));
    const judged = (metrics) => verifyAttestation(attestation({ metrics }), TOKEN, { lastMetrics }).reason;
    assert.equal(judged(lastMetrics), 'Attestation verified');
    for (const name of COUNTERS) {
      assert.equal(judged({ ...lastMetrics, [name]: 6 }), 'Attestation verified', name);
      assert.equal(judged({ ...lastMetrics, [name]: 4 }), 'Counters not monotonic', name);
    }
  });

  test('refuses a number that is not the next', () => {
    const judged = (sequenceNumber, lastSequenceNumber) =>
      verifyAttestation(attestation({ sequenceNumber }), TOKEN, { lastSequenceNumber }).valid;
    assert.deepEqual([judged(0, -1), judged(8, 7), judged(8, undefined), judged(8, null)], [true, true, true, true]);
    assert.deepEqual([judged(7, 7), judged(6, 7), judged(9, 7), judged(0, 7)], [false, false, false, false]);
  });

  test('refuses ids that were seen, and asks only of what is genuine', () => {
    const seen = new Set();
    const genuine = attestation();
    assert.equal(verifyAttestation({ ...genuine, proof: '0'.repeat(64) }, TOKEN, { seen }).valid, false);
    assert.equal(seen.size, 0);
    assert.equal(verifyAttestation(genuine, TOKEN, { seen }).valid, true);
    assert.deepEqual(verifyAttestation(genuine, TOKEN, { seen }), { valid: false, reason: 'Attestation replayed' });
    const asked = [];
    const ask = (answer) => ({ seen: (id) => { asked.push(id); return answer; } });
    assert.equal(verifyAttestation(genuine, 'stvor_other', ask(false)).reason, 'Signature verification failed');
    assert.deepEqual(asked, []);
    assert.equal(verifyAttestation(genuine, TOKEN, ask(true)).reason, 'Attestation replayed');
    assert.equal(verifyAttestation(genuine, TOKEN, ask(false)).valid, true);
    assert.deepEqual(asked, [genuine.attestationId, genuine.attestationId]);
  });

  test('refuses any altered field', () => {
    const genuine = attestation();
    const altered = [
      ...COUNTERS.map((name) => ({ metrics: { ...genuine.metrics, [name]: 99 } })),
      { attestationId: `attest_${'c'.repeat(32)}` }, { sessionId: `session_${'c'.repeat(32)}` },
      { timestamp: genuine.timestamp + 1 }, { sequenceNumber: 1 }, { proof: genuine.proof.toUpperCase() }, { proof: '' },
    ];
    for (const change of altered) {
      const verdict = verifyAttestation({ ...genuine, ...change }, TOKEN);
      assert.deepEqual(verdict, { valid: false, reason: 'Signature verification failed' }, JSON.stringify(change));
    }
    assert.equal(verifyMetricsSignature(JSON.stringify(genuine), genuine.proof, TOKEN), false);
  });

  test('throws for nothing that may come from outside', () => {
    const cycle = attestation();
    cycle.metrics = cycle;
    let deep = {};
    for (let level = 0; level < 50_000; level += 1) deep = { metrics: deep };
    const throwing = (trap) => new Proxy({}, { [trap]() { throw new Error('on purpose'); } });
    const genuine = attestation();
    const hostile = [
      undefined, null, true, 0, NaN, 1n, '', 'text', '{}', [], [genuine], {}, () => {}, Symbol('x'), new Date(NaN), Buffer.alloc(9), cycle, deep,
      throwing('get'), throwing('ownKeys'), throwing('has'), { get metrics() { throw new Error('on purpose'); } },
      { toJSON() { throw new Error('on purpose'); } }, { toJSON: () => genuine.proof }, Object.create(null),
      { ...genuine, timestamp: '0' }, { ...genuine, timestamp: -1 }, { ...genuine, timestamp: 1.5 }, { ...genuine, timestamp: 1e300 },
      { ...genuine, sequenceNumber: Infinity }, { ...genuine, sequenceNumber: 2 ** 64 }, { ...genuine, sequenceNumber: null },
      { ...genuine, sessionId: 7 }, { ...genuine, sessionId: '\ud800' }, { ...genuine, attestationId: ['x'] }, { ...genuine, proof: {} },
      { ...genuine, metrics: null }, { ...genuine, metrics: [] }, { ...genuine, metrics: { ...genuine.metrics, replayAttempts: 1n } },
      { ...genuine, metrics: { ...genuine.metrics, replayAttempts: undefined } }, { ...genuine, proof: 'x'.repeat(1_000_000) },
    ];
    for (const [at, shape] of hostile.entries()) {
      const { valid, reason } = verifyAttestation(shape, TOKEN, { lastSequenceNumber: -1, seen: new Set() });
      assert.equal(valid, false, `shape ${at}`);
      assert.match(reason, /^(Malformed attestation|Signature verification failed)$/, `shape ${at}`);
    }
    assert.equal(verifyAttestation({ ...genuine, more: deep }, TOKEN).valid, true);
  });

  test("says which of the backend's own options is wrong", () => {
    const invalid = (name) => ({ code: 'INVALID_ARGUMENT', message: new RegExp(`^${name} `) });
    const judge = (options) => () => verifyAttestation(attestation(), TOKEN, options);
    assert.throws(judge({ now: 'now' }), invalid('now'));
    assert.throws(judge({ lastSequenceNumber: 1.5 }), invalid('lastSequenceNumber'));
    assert.throws(judge({ lastMetrics: { messagesEncrypted: 1 } }), invalid('lastMetrics'));
    assert.throws(judge({ lastMetrics: 7 }), invalid('lastMetrics'));
    assert.throws(judge({ seen: [] }), invalid('seen'));
    for (const seen of [async () => false, () => Promise.reject(new Error('no database'))]) assert.throws(judge({ seen }), invalid('seen'));
    for (const token of [undefined, null, '', 7, {}, []]) {
      for (const given of [attestation(), 'nonsense']) assert.throws(() => verifyAttestation(given, token), invalid('appToken'));
    }
    assert.throws(judge({ last: 1 }), { code: 'INVALID_ARGUMENT', message: /"last"/ });
  });
});

describe('the example backend', () => {
  /** The backend over a log of its own, under node:http. */
  async function serve(t, auditLog, around = (handler) => handler) {
    const handler = await metricsHandler({ tokens: ['stvor_another', TOKEN], auditLog });
    const server = createServer(around(handler));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    return `http://127.0.0.1:${server.address().port}`;
  }
  const post = async (url, body, path = '/api/metrics/attest') => {
    const response = await fetch(url + path, { method: 'POST', headers: { connection: 'close' }, body });
    return [response.status, await response.json()];
  };
  const directory = (t) => {
    const path = mkdtempSync(join(tmpdir(), 'stvor-audit-'));
    t.after(() => rmSync(path, { recursive: true }));
    return path;
  };
  const lines = (path) => readFileSync(path, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

  test('accepts what an app sends, refuses what it sent before, and logs both', async (t) => {
    const auditLog = join(directory(t), 'audit.jsonl');
    const url = await serve(t, auditLog);
    const { app, alice } = await users(t, await mockRelay(t), 'alice', 'bob');
    await alice.send('bob', 'hello');
    const [first, second] = [await app.flushMetrics({ backendUrl: url }), await app.flushMetrics({ backendUrl: url })];
    assert.deepEqual([first.sequenceNumber, second.sequenceNumber], [0, 1]);
    const again = await post(url, JSON.stringify({ appToken: TOKEN, attestation: first }));
    assert.deepEqual(again, [403, { valid: false, reason: 'Sequence number not monotonic' }]);
    const log = lines(auditLog);
    assert.deepEqual(log.map(({ valid }) => valid), [true, true, false]);
    assert.deepEqual(log[1].attestation, second);
    assert.doesNotMatch(readFileSync(auditLog, 'utf8'), new RegExp(TOKEN));

    // Another process goes on from the log, also from one whose last line was cut off.
    appendFileSync(auditLog, '{"valid":true,"key":"');
    const next = await serve(t, auditLog);
    const stale = await post(next, JSON.stringify({ appToken: TOKEN, attestation: second }));
    assert.equal(stale[0], 403);
    assert.equal((await app.flushMetrics({ backendUrl: next })).sequenceNumber, 2);
  });

  test('survives whatever it is sent', async (t) => {
    const auditLog = join(directory(t), 'audit.jsonl');
    const url = await serve(t, auditLog);
    assert.equal((await post(url, 'no JSON'))[0], 400);
    assert.equal((await post(url, 'x'.repeat(20_000)))[0], 413);
    for (const body of ['null', '7', '[]', '{}', JSON.stringify({ appToken: 'stvor_unknown', attestation: attestation() })]) {
      assert.deepEqual(await post(url, body), [403, { valid: false, reason: 'Unknown AppToken' }], body);
    }
    const odd = JSON.stringify({ appToken: TOKEN, attestation: { sessionId: '__proto__' } });
    assert.deepEqual(await post(url, odd), [403, { valid: false, reason: 'Malformed attestation' }]);
    assert.equal((await post(url, '{}', '/other'))[0], 404);
  });

  test('runs in Express, where the body may have been read before', async (t) => {
    const auditLog = join(directory(t), 'audit.jsonl');
    // What Express and its json() do for a handler: set `body`, pass `next`.
    const url = await serve(t, auditLog, (handler) => async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      request.body = JSON.parse(text);
      await handler(request, response, () => response.writeHead(418).end('{}'));
    });
    const app = await appOn(t, await mockRelay(t));
    assert.equal((await app.flushMetrics({ backendUrl: url })).sequenceNumber, 0);
    assert.equal((await post(url, '{}', '/other'))[0], 418);
  });

  test('runs as a program', async (t) => {
    const auditLog = join(directory(t), 'audit.jsonl');
    const env = { STVOR_APP_TOKENS: TOKEN, AUDIT_LOG: auditLog, PORT: '0' };
    const child = program(t, { file: join(root, 'examples/metrics-backend/backend.mjs'), env });
    const [url] = /http:\S+/.exec(await child.line(/^Metrics backend on/));
    const app = await appOn(t, await mockRelay(t));
    await app.flushMetrics({ backendUrl: url });
    assert.equal(lines(auditLog).length, 1);
  });
});
