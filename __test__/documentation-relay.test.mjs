// Over the documentation's relay-server.mjs, which tells nothing and drops what is sent to whoever is away: what was
// sent meanwhile arrives when they return, once and in order, also when the relay was away itself.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Queue } from './support/collect.mjs';
import { contents, documentationRelay, person } from './support/documentation-relay.mjs';

const together = { concurrency: 4, timeout: 60_000 };

const numbered = (count, what = 'message') => Array.from({ length: count }, (_, i) => `${what} ${i}`);

async function couple(t) {
  const relay = await documentationRelay(t);
  return { relay, alice: await person(t, relay, 'alice'), bob: await person(t, relay, 'bob') };
}

async function sendAll(from, to, list) {
  for (const result of await Promise.all(list.map((content) => from.send(to.name, content)))) assert.equal(result.status, 'sent');
}

/** Each gets what the other writes from now on, once and in order, and nothing else. */
async function goesOn(alice, bob) {
  for (let round = 0; round < 2; round += 1) {
    for (const [from, to] of [[alice, bob], [bob, alice]]) {
      const list = numbered(5, `${round} from ${from.name}`);
      await Promise.all(list.map((content) => from.send(to.name, content, { receipt: true })));
      assert.deepEqual(await contents(to, 5), list);
    }
  }
  for (const { inbox, errors } of [alice, bob]) assert.deepEqual([inbox.size, errors.size], [0, 0]);
}

/** What this relay had passed on when it ended is sent once more, since it acknowledges nothing: it is told and dropped. */
async function onlyRepetitions({ errors }) {
  while (errors.size > 0) assert.equal((await errors.next()).code, 'REPLAY_DETECTED');
}

describe('what is sent to somebody who is away arrives when they return', together, () => {
  test('in a conversation', async (t) => {
    const { alice, bob } = await couple(t);
    await goesOn(alice, bob);
    await bob.leave();
    await sendAll(alice, bob, numbered(200));
    await bob.arrive();
    assert.deepEqual(await contents(bob, 200), numbered(200));
    await goesOn(alice, bob);
  });

  test('before anything was said, by either', async (t) => {
    const { alice, bob } = await couple(t);
    await bob.leave();
    await sendAll(alice, bob, numbered(50));
    await bob.arrive();
    assert.deepEqual(await contents(bob, 50), numbered(50));
    await goesOn(alice, bob);
  });

  test('in several absences, and receipts tell of all of it', async (t) => {
    const { alice, bob } = await couple(t);
    const received = [];
    for (let absence = 0; absence < 3; absence += 1) {
      await bob.leave();
      received.push(...numbered(20, `in absence ${absence}`).map((content) => alice.send('bob', content, { receipt: true, timeout: 30_000 })));
      await bob.arrive();
      assert.deepEqual(await contents(bob, 20), numbered(20, `in absence ${absence}`));
    }
    for (const { status } of await Promise.all(received)) assert.equal(status, 'received');
    await goesOn(alice, bob);
  });

  test('also what a receipt was waited for in vain: RECEIPT_TIMEOUT, and the receipt when it has been handled', async (t) => {
    const { alice, bob } = await couple(t);
    const receipts = new Queue();
    await goesOn(alice, bob);
    alice.client.onReceipt((receipt) => receipts.push(receipt));
    await bob.leave();
    await assert.rejects(alice.send('bob', 'late', { receipt: true, timeout: 200 }), { code: 'RECEIPT_TIMEOUT', peerId: 'bob' });
    await bob.arrive();
    const { id } = await bob.inbox.next();
    assert.deepEqual(await receipts.next(), { id, recipientId: 'bob' });
    await goesOn(alice, bob);
  });

  test('with the sender gone and back in between, who was away when they returned', async (t) => {
    const { alice, bob } = await couple(t);
    await goesOn(alice, bob);
    await bob.leave();
    await sendAll(alice, bob, numbered(20));
    await alice.leave();
    await bob.arrive();
    assert.equal(bob.inbox.size, 0);
    await alice.arrive();
    assert.deepEqual(await contents(bob, 20), numbered(20));
    await goesOn(alice, bob);
  });

  test('both were away in turn, and both were written to', async (t) => {
    const { alice, bob } = await couple(t);
    await bob.leave();
    await sendAll(alice, bob, numbered(20, 'to bob'));
    await alice.leave();
    await bob.arrive();
    await sendAll(bob, alice, numbered(20, 'to alice'));
    await alice.arrive();
    assert.deepEqual(await contents(alice, 20), numbered(20, 'to alice'));
    assert.deepEqual(await contents(bob, 20), numbered(20, 'to bob'));
    await goesOn(alice, bob);
  });
});

describe('the relay is started again, and knows nobody', together, () => {
  test('between messages', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await goesOn(alice, bob);
    await relay.stop();
    await relay.start();
    await goesOn(alice, bob);
  });

  test('after messages that it has taken and dropped', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await goesOn(alice, bob);
    await bob.leave();
    await sendAll(alice, bob, numbered(50));
    await relay.stop();
    await relay.start();
    await bob.arrive();
    assert.deepEqual(await contents(bob, 50), numbered(50));
    await goesOn(alice, bob);
  });

  test('while somebody sends: what it has taken arrives, and so does what was sent while it was away', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await goesOn(alice, bob);
    const sending = numbered(300).map((content) => alice.send('bob', content, { receipt: true, timeout: 30_000 }));
    const firstFew = await contents(bob, 3);
    await relay.stop();
    const meanwhile = numbered(50, 'meanwhile').map((content) => alice.send('bob', content, { timeout: 30_000 }));
    await relay.start();
    assert.deepEqual([...firstFew, ...await contents(bob, 347)], [...numbered(300), ...numbered(50, 'meanwhile')]);
    for (const { status } of await Promise.all(sending)) assert.equal(status, 'received');
    for (const { status } of await Promise.all(meanwhile)) assert.equal(status, 'sent');
    await onlyRepetitions(bob);
    await goesOn(alice, bob);
  });

  test('after a first message that nobody has got', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await bob.leave();
    await sendAll(alice, bob, ['first']);
    await relay.stop();
    await relay.start();
    await bob.arrive();
    assert.deepEqual(await contents(bob, 1), ['first']);
    await goesOn(alice, bob);
  });
});

test('both send first at once', { timeout: 60_000 }, async (t) => {
  const { alice, bob } = await couple(t);
  await Promise.all([alice.client.waitForUser('bob'), bob.client.waitForUser('alice')]);
  await Promise.all([sendAll(alice, bob, numbered(30, 'from alice')), sendAll(bob, alice, numbered(30, 'from bob'))]);
  assert.deepEqual(await contents(bob, 30), numbered(30, 'from alice'));
  assert.deepEqual(await contents(alice, 30), numbered(30, 'from bob'));
  await goesOn(alice, bob);
});
