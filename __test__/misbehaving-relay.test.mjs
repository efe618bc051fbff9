// Relays that break their promises: the client refuses, reports, goes on; it never crashes or hangs.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { createApp, CryptoSessionManager } from '@stvor/sdk';
import { errorsOf, messagesOf, rejection, warnings } from './support/collect.mjs';
import { appOn, fakeRelay, frameRelay, TOKEN } from './support/relays.mjs';

const config = (relay, more) => ({ appToken: TOKEN, relayUrl: relay.url, ...more });

async function couple(t, relay) {
  const app = await appOn(t, relay);
  return { app, alice: await app.connect('alice'), bob: await app.connect('bob') };
}

test('the relay says nothing at all after the upgrade, as relays without handshake do: usable, and sends are "sent"', async (t) => {
  const clients = new Map();
  const relay = await fakeRelay(t, {
    onSocket: (ws) => ws.onFrame((frame) => {
      if (frame.type === 'announce') clients.set(frame.user, ws);
      if (frame.type === 'announce') for (const other of new Set(clients.values())) other.json(frame);
      if (frame.type === 'message') clients.get(frame.to)?.json(frame);
    }),
  });
  const { alice, bob } = await couple(t, relay);
  const inbox = messagesOf(bob);
  assert.equal((await alice.send('bob', 'hi')).status, 'sent');
  assert.equal((await inbox.next()).content, 'hi');
});

test('the connection is taken but the upgrade never answered: RELAY_UNAVAILABLE after the timeout', async (t) => {
  const relay = await fakeRelay(t, { onRequest: () => {} });
  relay.sockets.shouldHandle = () => false;
  await assert.rejects(createApp(config({ url: relay.httpUrl }, { timeout: 200 })), { code: 'RELAY_UNAVAILABLE', retryable: true });
});

test('a server that is no relay: RELAY_UNAVAILABLE', async (t) => {
  const relay = await fakeRelay(t, {});
  for (const [url, why] of [[relay.url, /ws:.*: HTTP error: 426/], [relay.httpUrl, /http:.*: \/health is answered with 404/]]) {
    const error = await rejection(createApp(config({ url: `${url}/a/path?token=secret` })));
    assert.equal(error.code, 'RELAY_UNAVAILABLE');
    assert.match(error.cause.message, why);
    assert.doesNotMatch(error.cause.message, /path|secret/, 'nothing of the address but where it leads');
  }
  const site = await fakeRelay(t, { onRequest: (_request, response) => response.end('<!doctype html>') });
  const error = await rejection(createApp(config({ url: site.httpUrl })));
  assert.equal(error.code, 'RELAY_UNAVAILABLE');
  assert.match(error.cause.message, /^http:.*: an answer that is no relay's$/);
});

test('handshake refused and closed with 4001: AUTH_FAILED', async (t) => {
  const relay = await fakeRelay(t, {
    onSocket: (ws) => {
      ws.json({ type: 'handshake', status: 'error', reason: 'Invalid token' });
      ws.close(4001, 'Unauthorized');
    },
  });
  await assert.rejects(createApp(config(relay)), { code: 'AUTH_FAILED' });
});

const garbage = [
  'not json', '', '{}', '[]', 'null', '7', '"text"', '{"type":"unknown"}', '{"type":7}', '{"type":"message"}',
  '{"type":"message","to":"alice"}', '{"type":"message","to":"alice","from":"bob","payload":null}',
  '{"type":"message","to":"alice","from":"bob","payload":{"ciphertext":"!","header":"!"}}',
  '{"type":"message","to":"alice","from":"alice","payload":{}}', '{"type":"message","to":7,"from":[],"payload":{}}',
  '{"type":"announce"}', '{"type":"announce","user":7,"pub":7}', '{"type":"announce","user":"eve","pub":"x"}',
  '{"type":"announce","user":"eve","pub":{"identityKey":"AAAA","signedPreKey":"AAAA"}}', '{"type":"ack"}', '{"type":"ack","id":"unknown"}',
  '{"type":"queued","id":{}}', '{"type":"handshake"}', '{"type":"handshake","status":"maybe"}', '{"type":"error"}',
  `{"type":"announce","user":"${'x'.repeat(100_000)}"}`, '{"a":'.repeat(200),
];

test('garbage frames are survived', async (t) => {
  const relay = await frameRelay(t, (frame, ws) => {
    if (frame.type === 'message') for (const text of garbage) ws.send(text);
    if (frame.type === 'message') ws.send(Buffer.from([0xff, 0x00, 0xfe]));
    return false;
  });
  const { alice, bob } = await couple(t, relay);
  alice.onError(() => {});
  bob.onError(() => {});
  const inbox = messagesOf(bob);
  for (const content of ['one', 'two']) {
    assert.equal((await alice.send('bob', content)).status, 'delivered');
    assert.equal((await inbox.next()).content, content);
  }
});

test('an altered message is DECRYPTION_FAILED for onError, and the conversation goes on', async (t) => {
  const relay = await frameRelay(t, (frame, ws, state) => {
    if (frame.type !== 'message') return false;
    const { ciphertext } = frame.payload;
    const altered = ciphertext[0] === 'A' ? `B${ciphertext.slice(1)}` : `A${ciphertext.slice(1)}`;
    state.users.get(frame.to).json({ ...frame, id: 'altered', payload: { ...frame.payload, ciphertext: altered } });
    return false;
  });
  const { app, alice, bob } = await couple(t, relay);
  const [inbox, errors] = [messagesOf(bob), errorsOf(bob)];
  for (const content of ['one', 'two', 'three']) {
    await alice.send('bob', content);
    assert.equal((await inbox.next()).content, content);
    const error = await errors.next();
    assert.equal(error.code, 'DECRYPTION_FAILED');
    assert.equal(error.peerId, 'alice');
  }
  assert.ok(app.getMetrics().messagesRejected >= 3); // what is sent again is altered again
});

test('errors of the moment of connecting reach an onError that is added right after it', async (t) => {
  const relay = await frameRelay(t, (frame, ws) => {
    if (frame.type !== 'announce') return false;
    const payload = { header: 'A'.repeat(114), ciphertext: 'A'.repeat(40) };
    ws.json({ type: 'announce', user: 'mallory', pub: { ...frame.pub, signedPreKeySignature: 'AAAA' } });
    ws.json({ type: 'message', id: 'm', from: 'mallory', to: frame.user, payload });
    return false;
  });
  const app = await appOn(t, relay);
  const printed = warnings(t);
  for (const name of ['alice', 'bob']) {
    const errors = errorsOf(await app.connect(name));
    assert.equal((await errors.next()).code, 'INVALID_BUNDLE');
  }
  assert.equal(printed.size, 0);
});

test('without an error handler a failed receive is a process warning with the code', async (t) => {
  const relay = await frameRelay(t, (frame, ws, state) => {
    if (frame.type === 'message') state.users.get(frame.to).json({ ...frame, payload: { ...frame.payload, ciphertext: 'A'.repeat(40) } });
    return frame.type === 'message';
  });
  const app = await appOn(t, relay, { timeout: 300 });
  const [alice] = [await app.connect('alice'), await app.connect('bob')];
  const queue = warnings(t);
  const sending = alice.send('bob', 'x').catch(() => {});
  const warning = await queue.next();
  assert.equal(warning.name, 'StvorWarning');
  assert.equal(warning.code, 'DECRYPTION_FAILED');
  await sending;
});

test('a message delivered twice is handled once', async (t) => {
  const relay = await frameRelay(t, (frame, ws, state) => {
    if (frame.type === 'message') state.users.get(frame.to).json(frame);
    return false;
  });
  const { alice, bob } = await couple(t, relay);
  bob.onError(() => {});
  const inbox = messagesOf(bob);
  for (const content of ['one', 'two', 'three']) await alice.send('bob', content);
  assert.deepEqual((await inbox.take(3)).map(({ content }) => content), ['one', 'two', 'three']);
  assert.equal(inbox.size, 0);
});

test('a connection that breaks is made again, and what was not acknowledged is sent again', async (t) => {
  let broken = 0;
  const relay = await frameRelay(t, (frame, ws) => {
    if (frame.type !== 'message' || broken === 2) return false;
    broken += 1;
    ws.terminate();
    return true;
  });
  const { alice, bob } = await couple(t, relay);
  bob.onError(() => {});
  alice.onError(() => {});
  const inbox = messagesOf(bob);
  assert.equal((await alice.send('bob', 'through')).status, 'delivered');
  assert.equal((await inbox.next()).content, 'through');
  assert.equal(broken, 2);
});

test('a relay that goes away: sends fail after their time, the client can still leave', async (t) => {
  const relay = await frameRelay(t);
  const { app, alice, bob } = await couple(t, relay);
  for (const client of [alice, bob]) client.onError(() => {});
  await relay.close();
  // Longer than the first pause before the relay is tried again.
  const error = await rejection(alice.send('bob', 'x', { timeout: 1_000 }));
  assert.deepEqual([error.code, error.retryable], ['RELAY_UNAVAILABLE', true]);
  assert.match(error.cause.message, /^ws:.*refused/i, 'why it is away');
  await app.disconnect();
});

test("keys that the relay made up in somebody's name are refused when they are not signed", async (t) => {
  const eve = new CryptoSessionManager('eve');
  await eve.initialize();
  const pub = { ...eve.getPublicKeys(), signedPreKeySignature: '' };
  const relay = await frameRelay(t, (frame, ws) => {
    if (frame.type === 'announce' && frame.user === 'alice') ws.json({ type: 'announce', user: 'victim', pub });
    return false;
  });
  const app = await appOn(t, relay);
  const alice = await app.connect('alice');
  alice.onError(() => {});
  await assert.rejects(alice.send('victim', 'secret', { timeout: 300 }), (error) => ['INVALID_BUNDLE', 'RECIPIENT_TIMEOUT'].includes(error.code));
  assert.ok(!relay.frames.some((frame) => frame.type === 'message'));
});

test('a server that takes the connection and says nothing: the documented error, after the timeout', async (t) => {
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const started = performance.now();
  await assert.rejects(createApp(config({ url: `ws://127.0.0.1:${server.address().port}` }, { timeout: 300 })), (error) => {
    assert.equal(String(error), 'StvorError: Relay handshake timeout [RELAY_UNAVAILABLE]');
    assert.equal(error.stack.split('\n')[0], String(error));
    assert.equal(error.cause.message, `ws://127.0.0.1:${server.address().port}: no answer within the timeout`);
    return error.retryable;
  });
  assert.ok(performance.now() - started >= 290);
});

test('recorded messages played back are not delivered again', async (t) => {
  const recorded = [];
  const relay = await frameRelay(t, (frame) => {
    if (frame.type === 'message') recorded.push(frame);
    return false;
  });
  const { alice, bob } = await couple(t, relay);
  const [inbox, errors] = [messagesOf(bob), errorsOf(bob)];
  await alice.send('bob', 'one');
  await bob.send('alice', 'two');
  await alice.send('bob', 'three');
  for (const frame of recorded.filter(({ to }) => to === 'bob')) relay.users.get('bob').json(frame);
  assert.deepEqual((await inbox.take(2)).map(({ content }) => content), ['one', 'three']);
  await alice.send('bob', 'four');
  assert.equal((await inbox.next()).content, 'four');
  while (errors.size > 0) assert.ok(['REPLAY_DETECTED', 'DECRYPTION_FAILED'].includes((await errors.next()).code));
});
