// HTTP: a relay that speaks nothing else, and clients of the original at the bundled relay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApp } from '@stvor/sdk';
import { messagesOf } from './support/collect.mjs';
import { httpRelay, originalClient } from './support/http-relay.mjs';
import { appOn, mockRelay, users } from './support/relays.mjs';

const polling = { pollIntervalMs: 20 };

test('two users talk over a relay that only speaks HTTP, whole batches and in order', async (t) => {
  const app = await appOn(t, await httpRelay(t), polling);
  const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
  const [toAlice, toBob] = [messagesOf(alice), messagesOf(bob)];
  const texts = Array.from({ length: 20 }, (_, i) => `message ${i}`);
  const results = await Promise.all(texts.map((text) => alice.send('bob', text)));
  assert.ok(results.every(({ id, status }) => typeof id === 'string' && status === 'delivered'));
  assert.deepEqual((await toBob.take(20)).map(({ content }) => content), texts);
  await bob.send('alice', 'got them');
  assert.equal((await toAlice.next()).content, 'got them');
});

test("an original client and ours read each other over the original's relay", async (t) => {
  const relay = await httpRelay(t);
  const app = await appOn(t, relay, polling);
  const alice = await app.connect('alice');
  const inbox = messagesOf(alice);
  const old = await originalClient(relay, 'old');
  await alice.send('old', 'Hello from ours 🔐');
  assert.deepEqual(await old.receive(), ['Hello from ours 🔐']);
  await old.send('alice', 'Hello from the original');
  const message = await inbox.next();
  assert.deepEqual([message.senderId, message.content], ['old', 'Hello from the original']);
  assert.ok(message.timestamp instanceof Date);
});

test('the original client may begin', async (t) => {
  const relay = await httpRelay(t);
  const app = await appOn(t, relay, polling);
  const alice = await app.connect('alice');
  const inbox = messagesOf(alice);
  const old = await originalClient(relay, 'old');
  await old.send('alice', 'first');
  assert.equal((await inbox.next()).content, 'first');
  await alice.send('old', 'second');
  assert.deepEqual(await old.receive(), ['second']);
});

test('the bundled relay serves original clients over HTTP and ours over WebSocket', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const inbox = messagesOf(alice);
  const [one, two] = [await originalClient(relay, 'one'), await originalClient(relay, 'two')];
  await one.send('alice', 'over HTTP');
  assert.equal((await inbox.next()).content, 'over HTTP');
  await alice.send('one', 'over WebSocket');
  assert.deepEqual(await one.receive(), ['over WebSocket']);
  await one.send('two', 'between originals');
  assert.deepEqual(await two.receive(), ['between originals']);
});

test("the bundled relay's HTTP requests answer as the original's", async (t) => {
  const relay = await mockRelay(t);
  const { call } = await originalClient(relay, 'someone');
  assert.equal((await call('POST', '/register', { user_id: 'u', publicKeys: {} })).body.status, 'registered');
  assert.equal((await call('GET', '/public-key/nobody')).status, 404);
  assert.equal((await call('GET', '/messages/nobody')).status, 404);
  assert.deepEqual((await call('GET', '/messages/u')).body, { messages: [], count: 0 });
  const { body } = await call('POST', '/message', { to: 'u', from: 'someone', ciphertext: 'AA', header: 'AA' });
  assert.equal(body.status, 'delivered');
  assert.equal((await call('POST', '/message', { to: 'nobody', from: 'someone', ciphertext: 'AA', header: 'AA' })).status, 404);
  const { messages, count } = (await call('GET', '/messages/u')).body;
  assert.deepEqual([count, messages[0].id, messages[0].from], [1, body.messageId, 'someone']);
  assert.deepEqual((await call('DELETE', `/message/${body.messageId}`)).body, { status: 'not_found' });
  assert.equal((await call('GET', '/usage')).body.limit, -1);
  assert.equal((await call('GET', '/no-such-thing')).status, 404);
  const unauthorized = await fetch(`${relay.httpUrl}/usage`, { headers: { authorization: 'Bearer wrong' } });
  assert.ok([200, 401].includes(unauthorized.status));
});

test('a trailing slash and user ids of every kind work over HTTP', async (t) => {
  const relay = await httpRelay(t);
  const app = await createApp({ appToken: 'stvor_test', relayUrl: `${relay.url}/`, ...polling });
  t.after(() => app.disconnect());
  const hub = await app.connect('hub');
  const inbox = messagesOf(hub);
  for (const id of ['alice@example.com', 'sl/ash', 'qu?ery#hash', 'per%cent', 'Алиса', 'with space']) {
    const client = await app.connect(id);
    await client.send('hub', id);
    assert.deepEqual([(await inbox.next()).senderId, id], [id, id]);
  }
});

test('no request is made after disconnect', async (t) => {
  const relay = await httpRelay(t);
  const app = await appOn(t, relay, polling);
  await app.connect('alice');
  await app.disconnect();
  const made = relay.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(relay.requests.length, made);
});
