// Receipts: what a sender learns of the recipient's handlers, and what is given again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { mockRelay, users } from './support/relays.mjs';

/** The receipts of a client, as they come. */
function receiptsOf(client) {
  const queue = new Queue();
  client.onReceipt((receipt) => queue.push(receipt));
  return queue;
}

test('receipt: true resolves when the handler has completed, not before', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  const begun = new Queue();
  let [release, completed] = [undefined, false];
  bob.onMessage(async ({ id }) => {
    await new Promise((resolve) => {
      release = resolve;
      begun.push(id);
    });
    completed = true;
  });
  const sending = alice.send('bob', 'one', { receipt: true }).then((result) => ({ ...result, completed }));
  const id = await begun.next();
  release();
  assert.deepEqual(await sending, { id, status: 'received', completed: true });
});

test('both users in one app: nothing waits for a first message that a receipt waits for', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  messagesOf(bob);
  assert.equal((await alice.send('bob', 'one', { receipt: true })).status, 'received');
});

test('a handler that does not complete in time: RECEIPT_TIMEOUT, and the receipt comes when it does', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  const [receipts, begun] = [receiptsOf(alice), new Queue()];
  bob.onMessage(({ id }) => new Promise((resolve) => begun.push({ id, resolve })));
  await assert.rejects(alice.send('bob', 'one', { receipt: true, timeout: 300 }), { code: 'RECEIPT_TIMEOUT', peerId: 'bob' });
  const { id, resolve } = await begun.next();
  assert.equal(receipts.size, 0);
  resolve();
  assert.deepEqual(await receipts.next(), { id, recipientId: 'bob' });
});

test('onReceipt is told of every message, in the order of sending', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob, carol }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob', 'carol')];
  const receipts = receiptsOf(alice);
  messagesOf(bob);
  messagesOf(carol);
  const sent = { bob: [], carol: [] };
  for (let i = 0; i < 60; i += 1) {
    for (const to of ['bob', 'carol']) sent[to].push(alice.send(to, `message ${i}`));
  }
  const received = { bob: [], carol: [] };
  for (const { id, recipientId } of await receipts.take(120)) received[recipientId].push(id);
  for (const to of ['bob', 'carol']) assert.deepEqual(received[to], (await Promise.all(sent[to])).map(({ id }) => id), to);
});

test('a message whose handler fails, or whose content cannot be read, counts as handled', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  const errors = errorsOf(bob);
  bob.onMessage(() => { throw new Error('oops'); });
  assert.equal((await alice.send('bob', 'one', { receipt: true })).status, 'received');
  assert.equal((await errors.next()).code, 'HANDLER_FAILED');
});

test('without a handler there is no receipt; a handler that is added later makes it', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  await assert.rejects(alice.send('bob', 'one', { receipt: true, timeout: 300 }), { code: 'RECEIPT_TIMEOUT' });
  const receipts = receiptsOf(alice);
  messagesOf(bob);
  assert.equal((await receipts.next()).recipientId, 'bob');
});

test('what was not handled when a client left is given again, once; what was handled is not', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { app, bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  const begun = new Queue();
  bob.onMessage(({ content }) => {
    begun.push(content);
    if (content === 'two') return new Promise(() => {});
  });
  for (const content of ['one', 'two', 'three']) await alice.send('bob', content);
  assert.deepEqual(await begun.take(2), ['one', 'two']);
  await bob.disconnect();
  const again = await app.connect('bob');
  const inbox = messagesOf(again);
  assert.deepEqual((await inbox.take(2)).map(({ content }) => content), ['two', 'three']);
  assert.equal((await alice.send('bob', 'four', { receipt: true })).status, 'received');
  assert.equal((await inbox.next()).content, 'four');
  assert.equal(inbox.size, 0);
});

test('a receipt is waited for across the absence of the recipient', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { app, bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  messagesOf(bob);
  await alice.send('bob', 'one', { receipt: true });
  await bob.disconnect();
  const sending = alice.send('bob', 'two', { receipt: true });
  messagesOf(await app.connect('bob'));
  assert.equal((await sending).status, 'received');
});
