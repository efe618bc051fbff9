// A peer who does not handle what it gets: what is sent to it is kept up to a limit, and then refused until it has.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { contents, documentationRelay, person } from './support/documentation-relay.mjs';
import { mockRelay, users } from './support/relays.mjs';

const MAX_MESSAGES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** For many at once on a busy machine. */
const patient = { timeout: 60_000 };

const full = { code: 'OUTBOX_FULL', peerId: 'bob', retryable: true };

/** `alice` and `bob` in apps of their own, `bob` without a handler; `receipts` are those that `alice` gets. */
async function couple(t) {
  const relay = await mockRelay(t);
  const [{ alice, carol }, { app, bob }] = [await users(t, relay, 'alice', 'carol'), await users(t, relay, 'bob')];
  const receipts = new Queue();
  alice.onReceipt((receipt) => receipts.push(receipt));
  return { relay, alice, carol, app, bob, receipts, errors: errorsOf(alice) };
}

/** What is sent and received from now on, in order, once. */
async function goesOn(alice, bob, inbox) {
  const results = await Promise.all(['one', 'two', 'three'].map((content) => alice.send('bob', content, { receipt: true })));
  assert.deepEqual(results.map(({ status }) => status), ['received', 'received', 'received']);
  assert.deepEqual((await inbox.take(3)).map(({ content }) => content), ['one', 'two', 'three']);
  assert.equal(inbox.size, 0);
}

test(`${MAX_MESSAGES} messages wait for a peer, and no more: OUTBOX_FULL until it has handled some`, async (t) => {
  const { alice, carol, bob, receipts, errors } = await couple(t);
  await Promise.all(Array.from({ length: MAX_MESSAGES }, (_, i) => alice.send('bob', i, patient)));
  for (const content of ['too much', { too: 'much' }]) await assert.rejects(alice.send('bob', content), full);
  await assert.rejects(alice.send('bob', 'too much', { receipt: true }), full);

  const others = messagesOf(carol);
  assert.equal((await alice.send('carol', 'others are not concerned', { receipt: true })).status, 'received');
  assert.equal((await others.next()).content, 'others are not concerned');

  const inbox = messagesOf(bob);
  while ((await receipts.next()).recipientId !== 'bob');
  await alice.send('bob', 'there is room');
  assert.deepEqual((await inbox.take(MAX_MESSAGES)).map(({ content }) => content), Array.from({ length: MAX_MESSAGES }, (_, i) => i));
  assert.equal((await inbox.next()).content, 'there is room');
  await goesOn(alice, bob, inbox);
  assert.equal(errors.size, 0);
});

test('64 MiB wait for a peer, and no more: OUTBOX_FULL until it has handled some', async (t) => {
  const { alice, bob, receipts, errors } = await couple(t);
  const size = 640 * 1024;
  const count = Math.floor(MAX_BYTES / size);
  for (let i = 0; i < count; i += 1) await alice.send('bob', Buffer.alloc(size, i), patient);
  await assert.rejects(alice.send('bob', Buffer.alloc(size)), full);

  const inbox = messagesOf(bob);
  await receipts.next();
  await alice.send('bob', Buffer.alloc(size, count));
  for (let i = 0; i <= count; i += 1) {
    const { content } = await inbox.next();
    assert.ok(content.length === size && content[0] === i % 256 && content[size - 1] === i % 256, `content ${i}`);
  }
  await goesOn(alice, bob, inbox);
  assert.equal(errors.size, 0);
});

test('sends that wait for somebody who is not there yet are as limited', async (t) => {
  const { relay, alice } = await couple(t);
  const sends = Array.from({ length: MAX_MESSAGES }, (_, i) => alice.send('dave', i, patient));
  await assert.rejects(alice.send('dave', 'too much'), { code: 'OUTBOX_FULL', peerId: 'dave', retryable: true });
  const { dave } = await users(t, relay, 'dave');
  const inbox = messagesOf(dave);
  await Promise.all(sends);
  assert.deepEqual((await inbox.take(MAX_MESSAGES)).map(({ content }) => content), Array.from({ length: MAX_MESSAGES }, (_, i) => i));
  assert.equal((await alice.send('dave', 'there is room', { receipt: true })).status, 'received');
});

test('all that the outbox takes arrives, though a relay has dropped all of it', async (t) => {
  const relay = await documentationRelay(t);
  const [alice, bob] = [await person(t, relay, 'alice'), await person(t, relay, 'bob')];
  await alice.send('bob', 'first', { receipt: true });
  assert.deepEqual(await contents(bob, 1), ['first']);
  await bob.leave();
  const numbers = Array.from({ length: MAX_MESSAGES }, (_, i) => i);
  await Promise.all(numbers.map((number) => alice.send('bob', number, patient)));
  await assert.rejects(alice.send('bob', 'too much'), full);
  await bob.arrive();
  assert.deepEqual(await contents(bob, MAX_MESSAGES), numbers);
  assert.equal((await alice.send('bob', 'there is room', { receipt: true })).status, 'received');
  assert.deepEqual([await contents(bob, 1), bob.inbox.size], [['there is room'], 0]);
});

describe('a handler that does not complete', () => {
  test('holds up what comes after it; sends resolve as delivered, and receipts are RECEIPT_TIMEOUT', async (t) => {
    const { alice, bob, receipts } = await couple(t);
    const begun = new Queue();
    bob.onMessage(({ content }) => new Promise((resolve) => begun.push({ content, resolve })));
    const expired = { code: 'RECEIPT_TIMEOUT', peerId: 'bob', retryable: false };
    const sends = ['one', 'two', 'three'].map((content) => assert.rejects(alice.send('bob', content, { receipt: true, timeout: 500 }), expired));
    const { content, resolve } = await begun.next();
    assert.equal(content, 'one');
    await Promise.all(sends);
    assert.equal((await alice.send('bob', 'four')).status, 'delivered');
    assert.deepEqual([begun.size, receipts.size], [0, 0], 'nobody was called after one that has not completed');
    resolve();
    for (const content of ['two', 'three', 'four']) {
      assert.equal((await receipts.next()).recipientId, 'bob');
      const call = await begun.next();
      assert.equal(call.content, content, 'what timed out is on its way all the same');
      call.resolve();
    }
    await receipts.next();
  });

  test('is asked again after the client has left and connected anew, and only for what it has not completed', async (t) => {
    const { alice, app, bob } = await couple(t);
    const stays = [['one', 'two'], ['two', 'three'], ['three', 'four', 'five']];
    let client = bob;
    for (const content of ['one', 'two', 'three', 'four', 'five']) await alice.send('bob', content);
    for (const [stay, expected] of stays.entries()) {
      const begun = new Queue();
      const completes = expected.length - 1;
      let calls = 0;
      client.onMessage(({ content }) => {
        begun.push(content);
        calls += 1;
        if (calls > completes && stay < stays.length - 1) return new Promise(() => {});
      });
      assert.deepEqual(await begun.take(expected.length), expected);
      await client.disconnect();
      client = await app.connect('bob');
    }
    const inbox = messagesOf(client);
    await goesOn(alice, client, inbox);
  });

  test('and one that throws: the message counts as handled, the next one comes', async (t) => {
    const { alice, bob } = await couple(t);
    const errors = errorsOf(bob);
    const seen = [];
    bob.onMessage(({ content }) => {
      seen.push(content);
      throw new Error(`no ${content}`);
    });
    bob.onMessage(async ({ content }) => {
      if (content === 'two') throw new Error('not this one');
    });
    for (const content of ['one', 'two', 'three']) assert.equal((await alice.send('bob', content, { receipt: true })).status, 'received');
    assert.deepEqual(seen, ['one', 'two', 'three']);
    const reported = await errors.take(4);
    assert.deepEqual(reported.map(({ code, cause }) => `${code}: ${cause.message}`), ['HANDLER_FAILED: no one', 'HANDLER_FAILED: no two', 'HANDLER_FAILED: not this one', 'HANDLER_FAILED: no three']);
  });
});
