// What comes for a client, by itself: when messages count as handled, and what waits for handlers.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { Stvor, StvorError } from '@stvor/sdk';
import { Queue, warnings } from './support/collect.mjs';
import { appOn, mockRelay, TOKEN } from './support/relays.mjs';

const { Inbox } = createRequire(import.meta.url)('../lib/inbox.js');
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** The codes of the warnings that were printed so far. */
const printedCodes = async (queue) => (await queue.take(queue.size)).map(({ code }) => code);

/** A connected client's inbox, and the counts of handled messages that the addon is told. */
function opened(warn) {
  const [inbox, told] = [new Inbox(warn), []];
  inbox.open((count) => told.push(count));
  return { inbox, told, push: (...contents) => contents.forEach((payload) => inbox.push({ id: 'm', senderId: 'alice', kind: 0, payload, timestamp: 0 })) };
}

describe('a message counts as handled', () => {
  test('when every handler has returned, and one call tells of all in a turn', async () => {
    const { inbox, told, push } = opened();
    const seen = [];
    inbox.onMessage(({ content }) => seen.push(content));
    push('one', 'two', 'three');
    inbox.run();
    assert.deepEqual([seen, told], [['one', 'two', 'three'], []]);
    await turn();
    assert.deepEqual(told, [3]);
  });

  for (const [kind, handler] of [['synchronous', (work) => () => work()], ['asynchronous, waiting for nothing', (work) => async () => work()]]) {
    test(`soon, however many wait, and the rest of the program goes on meanwhile: ${kind}`, async () => {
      const { inbox, told, push } = opened();
      let handled = 0;
      const turns = [];
      const work = () => {
        for (const end = performance.now() + 3; performance.now() < end;);
        handled += 1;
      };
      inbox.onMessage(handler(work));
      push(...Array.from({ length: 60 }, String));
      const watching = setInterval(() => turns.push(handled), 1);
      await inbox.run();
      clearInterval(watching);
      await turn();
      assert.equal(told.reduce((sum, count) => sum + count, 0), 60);
      assert.ok(told.length >= 10 && Math.max(...told) <= 10, `told of ${told}`);
      assert.ok(turns.length >= 10, `other turns at ${turns}`);
    });
  }

  test('when what asynchronous handlers return has settled, not before', async () => {
    const { inbox, told, push } = opened();
    const gates = new Map();
    inbox.onMessage(({ content }) => new Promise((resolve) => gates.set(content, resolve)));
    inbox.onMessage(() => {});
    push('one', 'two');
    inbox.run();
    await turn();
    assert.deepEqual([told, [...gates.keys()]], [[], ['one']]);
    gates.get('one')();
    await turn();
    await turn();
    assert.deepEqual([told, [...gates.keys()]], [[1], ['one', 'two']]);
    gates.get('two')();
    await turn();
    await turn();
    assert.deepEqual(told, [1, 1]);
  });

  test('when a handler failed', async () => {
    const { inbox, told, push } = opened();
    const errors = new Queue();
    inbox.onError((error) => errors.push(error));
    inbox.onMessage(({ content }) => { if (content === 'throws') throw new Error(content); });
    inbox.onMessage(async ({ content }) => { if (content === 'rejects') throw new Error(content); });
    push('throws', 'rejects', 'neither');
    await inbox.run();
    await turn();
    assert.deepEqual(told.reduce((sum, count) => sum + count, 0), 3);
    assert.deepEqual((await errors.take(2)).map(({ code, cause }) => [code, cause.message]), [['HANDLER_FAILED', 'throws'], ['HANDLER_FAILED', 'rejects']]);
  });

  for (const [how, wait] of [['at once', undefined], ['later', turn]]) {
    test(`when a handler failed ${how} that had changed its message, of which the genuine sender is told`, async () => {
      const { inbox, told, push } = opened();
      const errors = new Queue();
      inbox.onError((error) => errors.push(error));
      const fail = (message) => {
        [message.id, message.senderId] = [Symbol('id'), Object.assign(Object.create(null), { name: 'Alice' })];
        throw new Error('changed');
      };
      inbox.onMessage(wait === undefined ? fail : async (message) => { await wait(); fail(message); });
      push('one', 'two');
      await inbox.run();
      await turn();
      assert.equal(told.reduce((sum, count) => sum + count, 0), 2);
      for (const error of await errors.take(2)) {
        assert.deepEqual([error.message, error.peerId], ['A message handler failed, which was given m of "alice".', 'alice']);
      }
    });
  }

  test('when a handler failed: an id that the relay has chosen is printed in one line', async () => {
    const { inbox } = opened();
    const errors = new Queue();
    inbox.onError((error) => errors.push(error));
    inbox.onMessage(() => { throw new Error('no'); });
    inbox.push({ id: 'a\u001b[2J\n\u202eb', senderId: 'alice', kind: 0, payload: 'x', timestamp: 0 });
    inbox.run();
    assert.equal((await errors.next()).message, String.raw`A message handler failed, which was given a\u{1b}[2J\u{a}\u{202e}b of "alice".`);
  });

  test('never, while its handler is not done: a warning tells of it once', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const printed = [];
    const { inbox, told, push } = opened((message, code) => printed.push([code, message]));
    let done;
    inbox.onMessage(() => new Promise((resolve) => (done = resolve)));
    push('one', 'two', 'three');
    inbox.run();
    t.mock.timers.tick(30_000);
    done(); // in time
    await turn();
    t.mock.timers.tick(30_000);
    assert.deepEqual(printed, []);
    for (let looks = 0; looks < 5; looks++) t.mock.timers.tick(30_000);
    assert.deepEqual(printed, [['STVOR_HANDLER_PENDING', 'A message handler has not completed for 30 seconds, and all later messages wait for it: it was given m of "alice".']]);
    done();
    await turn();
    for (let looks = 0; looks < 5; looks++) t.mock.timers.tick(30_000);
    assert.equal(printed.length, 1);
    assert.equal(told.reduce((sum, count) => sum + count, 0), 2);
    inbox.close();
  });

  test('when its content cannot be read: INVALID_CONTENT instead of a call', async () => {
    const { inbox, told } = opened();
    const [messages, errors] = [[], new Queue()];
    inbox.onError((error) => errors.push(error));
    inbox.onMessage((message) => messages.push(message));
    inbox.push({ id: 'm', senderId: 'mallory', kind: 2, payload: Buffer.from([0xff]), timestamp: 0 });
    inbox.run();
    const error = await errors.next();
    assert.ok(error instanceof StvorError);
    assert.deepEqual([error.code, error.peerId, error.retryable], ['INVALID_CONTENT', 'mallory', false]);
    await turn();
    assert.deepEqual([messages, told], [[], [1]]);
  });
});

describe('a message does not count as handled', () => {
  test('while nobody handles it', async () => {
    const { inbox, told, push } = opened();
    push('one');
    inbox.run();
    await turn();
    assert.deepEqual(told, []);
  });

  test('when the client leaves during its handler; what was handled before is told', async () => {
    const { inbox, told, push } = opened();
    const seen = [];
    let leave;
    inbox.onMessage(({ content }) => {
      seen.push(content);
      if (content === 'two') return new Promise((resolve) => (leave = resolve));
    });
    push('one', 'two', 'three');
    const running = inbox.run();
    inbox.close();
    assert.deepEqual(told, [1]);
    leave();
    await running;
    await turn();
    assert.deepEqual([told, seen], [[1], ['one', 'two']]);
  });
});

describe('receipts', () => {
  test('go to every handler, until it is removed', async () => {
    const { inbox } = opened();
    await turn();
    const [first, second] = [[], []];
    const remove = inbox.onReceipt((receipt) => first.push(receipt));
    inbox.onReceipt((receipt) => second.push(receipt));
    inbox.pushReceipt({ id: 'a', recipientId: 'bob' });
    inbox.giveReceipts();
    remove();
    remove();
    inbox.pushReceipt({ id: 'b', recipientId: 'bob' });
    inbox.giveReceipts();
    assert.deepEqual(first, [{ id: 'a', recipientId: 'bob' }]);
    assert.deepEqual(second.map(({ id }) => id), ['a', 'b']);
  });

  test('are not held up by a message that is being handled', async () => {
    const { inbox, push } = opened();
    await turn();
    const ids = [];
    inbox.onMessage(() => new Promise(() => {}));
    inbox.onReceipt(({ id }) => ids.push(id));
    push('for ever');
    inbox.run();
    inbox.pushReceipt({ id: 'a', recipientId: 'bob' });
    inbox.giveReceipts();
    assert.deepEqual(ids, ['a']);
  });

  test('reach a handler that is added right after connect()', async () => {
    const { inbox } = opened();
    inbox.pushReceipt({ id: 'a', recipientId: 'bob' });
    inbox.giveReceipts();
    const ids = [];
    inbox.onReceipt(({ id }) => ids.push(id));
    await turn();
    assert.deepEqual(ids, ['a']);
  });

  test('whose handler fails are HANDLER_FAILED', async () => {
    const { inbox } = opened();
    const errors = new Queue();
    inbox.onError((error) => errors.push(error));
    inbox.onReceipt(() => { throw new Error('thrown'); });
    inbox.onReceipt(async () => { throw new Error('rejected'); });
    inbox.pushReceipt({ id: 'a', recipientId: 'bob' });
    await turn();
    assert.deepEqual((await errors.take(2)).map(({ code, message, cause, peerId }) => `${code} ${message} ${cause.message} ${peerId}`), [
      'HANDLER_FAILED A receipt handler failed, which was given a of "bob". thrown bob',
      'HANDLER_FAILED A receipt handler failed, which was given a of "bob". rejected bob',
    ]);
  });
});

test('an error whose handler fails is printed like one without a handler, and so is that failure', async () => {
  const printed = [];
  const { inbox } = opened((message, code) => printed.push([code, message]));
  inbox.onError(() => { throw new Error('in the handler'); });
  inbox.report(new StvorError('DECRYPTION_FAILED', 'What was refused.'));
  await turn();
  assert.deepEqual(printed.map(([code]) => code), ['DECRYPTION_FAILED', 'HANDLER_FAILED']);
  assert.match(printed[0][1], /^What was refused\./);
  assert.match(printed[1][1], /^An error handler failed, which was given DECRYPTION_FAILED: "What was refused\."\. Error: in the handler/);
});

test('an error that one of two handlers has dealt with is not printed, only that the other has failed', async () => {
  const printed = [];
  const { inbox } = opened((message, code) => printed.push([code, message]));
  inbox.onError(() => { throw new Error('in the handler'); });
  inbox.onError(() => {});
  inbox.report(new StvorError('DECRYPTION_FAILED', 'What was refused.'));
  await turn();
  assert.deepEqual(printed.map(([code]) => code), ['HANDLER_FAILED']);
  assert.match(printed[0][1], /in the handler.* Further ones are not printed\.$/s, 'and no advice to do what was done');
});

test('errors from before connect() resolved reach a handler that is added right after it', async (t) => {
  const printed = warnings(t);
  const inbox = new Inbox();
  inbox.report(new StvorError('DECRYPTION_FAILED', 'early'));
  inbox.open(() => {});
  const codes = [];
  inbox.onError(({ code }) => codes.push(code));
  await turn();
  inbox.report(new StvorError('REPLAY_DETECTED', 'later'));
  await turn();
  assert.deepEqual([codes, printed.size], [['DECRYPTION_FAILED', 'REPLAY_DETECTED'], 0]);
});

test('after disconnect() handlers may still be added and removed, and are never called', async (t) => {
  const app = await appOn(t, await mockRelay(t));
  const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
  await bob.disconnect();
  const removals = ['onMessage', 'onReceipt', 'onError', 'onIdentityChange'].map((name) => bob[name](() => assert.fail(name)));
  await alice.send('bob', 'for the next client');
  for (const remove of removals) remove();
  assert.throws(() => bob.onMessage('no function'), { code: 'INVALID_ARGUMENT' });
});

test("an app's own warn gets what no handler gets: each kind once, in one line", async (t) => {
  const relay = await mockRelay(t);
  const [printed, told] = [warnings(t), new Queue()];
  const warn = (message, code) => told.push({ message, code });
  const alice = await (await appOn(t, relay)).connect('alice');
  const app = await appOn(t, relay, { warn });
  const carol = await Stvor.connect({ userId: 'carol', appToken: TOKEN, relayUrl: relay.url, warn });
  t.after(() => carol.disconnect());
  for (const client of [await app.connect('bob'), carol]) {
    client.onMessage(() => { throw new Error('two\n lines'); });
    await alice.send(client.getUserId(), 'one', { receipt: true });
    await alice.send(client.getUserId(), 'two', { receipt: true });
    const lines = [];
    do lines.push(await told.next()); while (lines.at(-1).code !== 'HANDLER_FAILED'); // after those of the configuration
    assert.match(lines.at(-1).message, /^A message handler failed, which was given [0-9a-f]{32} of "alice"\. Error: two lines .*onError\(\)\.$/);
    assert.equal(told.size, 0);
  }
  assert.ok(!(await printedCodes(printed)).includes('HANDLER_FAILED'));
});

test('a warn that fails is told to the process, and nothing else comes of it', async (t) => {
  const printed = warnings(t);
  for (const warn of [() => { throw new Error('no warnings'); }, async () => { throw new Error('no warnings'); }]) {
    const app = await appOn(t, await mockRelay(t), { warn });
    assert.equal(await app.flushMetrics(), null);
    await turn();
    assert.ok((await printedCodes(printed)).includes('STVOR_WARN_FAILED'));
  }
});

test('without a handler they are printed then', async (t) => {
  const printed = warnings(t);
  const inbox = new Inbox();
  inbox.report(new StvorError('DECRYPTION_FAILED', 'early'));
  inbox.open(() => {});
  assert.equal((await printed.next()).code, 'DECRYPTION_FAILED');
});
