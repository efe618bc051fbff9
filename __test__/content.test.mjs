// What a message can carry, from one client to another.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { createApp } from '@stvor/sdk';
import { errorsOf, messagesOf } from './support/collect.mjs';
import { httpRelay, originalClient } from './support/http-relay.mjs';
import { appOn, mockRelay, TOKEN, users } from './support/relays.mjs';
import { values } from './support/values.mjs';

const { binding } = createRequire(import.meta.url)('../platform.js');

test('every value arrives as what it was', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  await Promise.all(values.map(([, value]) => alice.send('bob', value)));
  for (const [name, value] of values) assert.deepStrictEqual((await inbox.next()).content, value instanceof Uint8Array && value.constructor === Uint8Array ? Buffer.from(value) : value, name);
});

test('strings arrive as strings, Buffers and Uint8Arrays as Buffers, whatever is in them', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const texts = ['', 'text', '\ufeffmarked', '\ufeff', 'a\0b', '🔐📩✅', 'Привет, мир', 'x'.repeat(1 << 19)];
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const bytes = [Buffer.alloc(0), Buffer.from('valid UTF-8'), all, new Uint8Array([0xed, 0xa0, 0x80]), Buffer.from('🔐').subarray(0, 3), Buffer.alloc(1 << 19, 'x')];
  for (const content of [...texts, ...bytes]) {
    await alice.send('bob', content);
    const received = (await inbox.next()).content;
    assert.deepStrictEqual(received, typeof content === 'string' ? content : Buffer.from(content));
  }
});

test('a value is sent as it was at the call', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const value = { list: [1], bytes: new Uint16Array([1]) };
  const sending = alice.send('bob', value);
  value.list.push(2);
  value.bytes[0] = 2;
  await sending;
  assert.deepStrictEqual((await inbox.next()).content, { list: [1], bytes: new Uint16Array([1]) });
});

test('what cannot be carried is INVALID_ARGUMENT, names its place, and nothing is sent', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const user = { name: 'Alice', save() {} };
  await assert.rejects(alice.send('bob', { user }), { code: 'INVALID_ARGUMENT', message: 'content.user.save is a function, which cannot be sent.' });
  await assert.rejects(alice.send('bob', new Array(2 ** 32 - 1)), { code: 'PAYLOAD_TOO_LARGE' });
  await alice.send('bob', 'the only one');
  assert.equal((await inbox.next()).content, 'the only one');
});

test('a content that its sender made unreadable is INVALID_CONTENT, and the conversation goes on', async (t) => {
  const relay = await mockRelay(t);
  const { bob } = await users(t, relay, 'bob');
  const [inbox, errors] = [messagesOf(bob), errorsOf(bob)];
  // A malicious peer: the addon without the facade, so that any bytes may claim to be CBOR.
  let drained = () => {};
  const { NativeApp } = binding();
  const app = await NativeApp.open({ appToken: TOKEN, relayUrl: relay.url, timeoutMs: 10_000, pollIntervalMs: 1_000, refuseLegacyPeers: false }, () => drained());
  t.after(() => app.close());
  const mallory = await app.connect('mallory', 1);
  const sent = (number) => new Promise((resolve) => {
    drained = () => app.takeEvents().includes(number) && resolve();
  });
  const hostile = ['', '00ff', '81'.repeat(700_000), 'd9524d82622e2a6167', 'bb001fffffffffffff', 'a16161ff'];
  for (const [i, hex] of hostile.entries()) {
    const settled = sent(100 + i);
    mallory.send(100 + i, 'bob', 2, Buffer.from(hex, 'hex'), { waitForRecipient: true, receipt: false });
    await settled;
    const error = await errors.next();
    assert.deepEqual([error.code, error.peerId, error.retryable], ['INVALID_CONTENT', 'mallory', false]);
  }
  mallory.send(200, 'bob', 2, Buffer.from('83010203', 'hex'), { waitForRecipient: true, receipt: false });
  assert.deepEqual((await inbox.next()).content, [1, 2, 3]);
  assert.equal(inbox.size, 0);
});

test('a wire-3 peer takes text and bytes; anything else is PROTOCOL_MISMATCH', async (t) => {
  const relay = await httpRelay(t);
  const original = await originalClient(relay, 'original');
  const app = await appOn(t, relay, { pollIntervalMs: 20 });
  const alice = await app.connect('alice');
  await alice.send('original', 'text');
  await alice.send('original', Buffer.from('bytes'));
  await assert.rejects(alice.send('original', { a: 1 }), { code: 'PROTOCOL_MISMATCH', peerId: 'original', retryable: false });
  assert.deepEqual(await original.receive(), ['text', 'bytes']);
});

test("legacyPeers: 'refuse' sends nothing to a wire-3 peer and takes nothing from one", async (t) => {
  const relay = await httpRelay(t);
  const original = await originalClient(relay, 'original');
  const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, pollIntervalMs: 20, legacyPeers: 'refuse' });
  t.after(() => app.disconnect());
  const alice = await app.connect('alice');
  const [inbox, errors] = [messagesOf(alice), errorsOf(alice)];
  await assert.rejects(alice.send('original', 'text'), { code: 'PROTOCOL_MISMATCH', peerId: 'original', retryable: false });
  await original.send('alice', 'text');
  assert.equal((await errors.next()).code, 'PROTOCOL_MISMATCH');
  assert.equal(inbox.size, 0);
});
