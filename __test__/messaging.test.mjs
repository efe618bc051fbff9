// Sending and receiving over the bundled relay: what a message is, who gets it, in which order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateFingerprint, StvorError } from '@stvor/sdk';
import { errorsOf, messagesOf, Queue, warnings } from './support/collect.mjs';
import { mockRelay, users } from './support/relays.mjs';

test('a message arrives with id, senderId, content, timestamp and the aliases', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const before = Date.now();
  const { id, status } = await alice.send('bob', 'Hello! 🔐');
  const message = await inbox.next();
  assert.equal(status, 'delivered');
  assert.equal(typeof id, 'string');
  assert.equal(message.id, id);
  assert.equal(message.senderId, 'alice');
  assert.equal(message.content, 'Hello! 🔐');
  assert.ok(message.timestamp instanceof Date);
  assert.ok(message.timestamp >= before - 1 && message.timestamp <= Date.now());
  assert.equal(message.from, 'alice');
  assert.equal(message.data, 'Hello! 🔐');
  assert.deepEqual(Object.keys(message), ['id', 'senderId', 'content', 'timestamp']);
});

test('both handler forms are told apart by the number of declared parameters', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const calls = {};
  const expected = {};
  const add = (name, handler, form) => {
    bob.onMessage(handler);
    expected[name] = form;
  };
  add('none', function () { calls.none = [...arguments]; }, 'message');
  add('one', (msg) => { calls.one = [msg]; }, 'message');
  add('two', (from, content) => { calls.two = [from, content]; }, 'content');
  add('three', (from, content, msg) => { calls.three = [from, content, msg]; }, 'content');
  add('async', async (from, content) => { calls.async = [from, content]; }, 'content');
  add('default', (...args) => { calls.default = args; }, 'message');
  add('second has a default', (msg, extra = 'default') => { calls['second has a default'] = [msg]; }, 'message');
  add('destructured', ({ senderId, content }) => { calls.destructured = [{ senderId, content }]; }, 'message');
  add('bound', function (from, content) { calls.bound = [from, content]; }.bind(null), 'content');
  const last = messagesOf(bob);
  await alice.send('bob', 'hi');
  await last.next();
  for (const [name, form] of Object.entries(expected)) {
    if (form === 'content') assert.deepEqual(calls[name].slice(0, 2), ['alice', 'hi'], name);
    else assert.deepEqual([calls[name].length, calls[name][0].senderId, calls[name][0].content], [1, 'alice', 'hi'], name);
  }
  assert.equal(calls.three[2].senderId, 'alice');
});

test('fifty sends started without awaiting arrive, in order, and all resolve', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const texts = Array.from({ length: 50 }, (_, i) => `message ${i}`);
  const results = await Promise.all(texts.map((text) => alice.send('bob', text)));
  const messages = await inbox.take(50);
  assert.deepEqual(messages.map(({ content }) => content), texts);
  assert.deepEqual(messages.map(({ id }) => id), results.map(({ id }) => id));
  assert.equal(new Set(results.map(({ id }) => id)).size, 50);
});

test('both sides may send their first message at once', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const [toAlice, toBob] = [messagesOf(alice), messagesOf(bob)];
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([alice.send('bob', `a${round}`), bob.send('alice', `b${round}`)]);
    assert.equal((await toBob.next()).content, `a${round}`);
    assert.equal((await toAlice.next()).content, `b${round}`);
  }
});

test('two apps, each with its own connection, reach each other', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const { bob } = await users(t, relay, 'bob');
  const [toAlice, toBob] = [messagesOf(alice), messagesOf(bob)];
  await alice.send('bob', 'ping');
  assert.equal((await toBob.next()).content, 'ping');
  await bob.send('alice', 'pong');
  assert.equal((await toAlice.next()).content, 'pong');
});

test('a lone surrogate is sent as U+FFFD, as everywhere in Node.js', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  await alice.send('bob', 'a\ud800b');
  assert.equal((await inbox.next()).content, 'a\ufffdb');
});

test('what is sent is what the bytes were at the call', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const bytes = Buffer.from([0xff, 1]);
  const sending = alice.send('bob', bytes);
  bytes.fill(0);
  await sending;
  assert.deepEqual([...(await inbox.next()).content], [0xff, 1]);
});

test('messages that arrive before the first handler wait for it', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  for (const content of ['one', 'two', 'three']) await alice.send('bob', content);
  const marker = messagesOf(alice);
  await bob.send('alice', 'bob is there');
  await marker.next();
  const inbox = messagesOf(bob);
  assert.deepEqual((await inbox.take(3)).map(({ content }) => content), ['one', 'two', 'three']);
});

test('a message for somebody who is away is queued', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  await bob.disconnect();
  assert.equal((await alice.send('bob', 'for later')).status, 'queued');
});

test('removing a handler: it gets nothing more, the others do', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const [removed, kept] = [new Queue(), new Queue()];
  const remove = bob.onMessage((message) => removed.push(message));
  bob.onMessage((message) => kept.push(message));
  await alice.send('bob', 'one');
  await kept.next();
  assert.equal(remove(), undefined);
  remove();
  await alice.send('bob', 'two');
  assert.equal((await kept.next()).content, 'two');
  assert.deepEqual((await removed.take(1)).map(({ content }) => content), ['one']);
  assert.equal(removed.size, 0);
});

test('async handlers are awaited: one message after another', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const events = [];
  const [begun, finished] = [new Queue(), new Queue()];
  let release;
  const gate = new Promise((resolve) => (release = resolve));
  bob.onMessage(async ({ content }) => {
    events.push(`begin ${content}`);
    begun.push(content);
    if (content === 'one') await gate;
    events.push(`end ${content}`);
    finished.push(content);
  });
  await Promise.all(['one', 'two', 'three'].map((content) => alice.send('bob', content)));
  await begun.next();
  await bob.send('alice', 'a round trip later');
  assert.deepEqual(events, ['begin one']);
  release();
  await finished.take(3);
  assert.deepEqual(events, ['begin one', 'end one', 'begin two', 'end two', 'begin three', 'end three']);
});

test('a handler may send, and may add and remove handlers', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const echoes = messagesOf(alice);
  const remove = bob.onMessage(async (from, content) => {
    remove();
    bob.onMessage(async (sender, later) => void (await bob.send(sender, `second ${later}`)));
    await bob.send(from, `first ${content}`);
  });
  await alice.send('bob', 'a');
  assert.equal((await echoes.next()).content, 'first a');
  await alice.send('bob', 'b');
  assert.equal((await echoes.next()).content, 'second b');
});

test('a handler that throws is reported, and the rest go on', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const errors = errorsOf(bob);
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')];
  bob.onMessage(() => { throw thrown; });
  bob.onMessage(async () => { throw rejected; });
  bob.onMessage(() => { throw undefined; });
  const inbox = messagesOf(bob);
  await alice.send('bob', 'one');
  await alice.send('bob', 'two');
  assert.deepEqual((await inbox.take(2)).map(({ content }) => content), ['one', 'two']);
  const reported = await errors.take(6);
  for (const error of reported) {
    assert.ok(error instanceof StvorError);
    assert.equal(error.code, 'HANDLER_FAILED');
    assert.equal(error.peerId, 'alice');
    assert.match(error.message, /^A message handler failed, which was given [0-9a-f]{32} of "alice"\.$/);
  }
  assert.deepEqual(new Set(reported.map(({ cause }) => cause)), new Set([thrown, rejected, undefined]));
});

test('without an error handler a failing handler is one process warning', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const queue = warnings(t);
  bob.onMessage(() => { throw new Error('oops'); });
  const inbox = messagesOf(bob);
  for (const content of ['one', 'two', 'three']) await alice.send('bob', content);
  await inbox.take(3);
  const warning = await queue.next();
  assert.equal(warning.name, 'StvorWarning');
  assert.equal(warning.code, 'HANDLER_FAILED');
  assert.match(warning.message, /oops/);
  assert.equal(queue.size, 0);
});

test('an error handler that fails is a warning, never a crash', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const queue = warnings(t);
  bob.onError(() => { throw new Error('in onError'); });
  const others = errorsOf(bob);
  bob.onMessage(() => { throw new Error('oops'); });
  await alice.send('bob', 'x');
  assert.equal((await others.next()).cause.message, 'oops');
  assert.match((await queue.next()).message, /^An error handler failed.* in onError/);
  assert.equal(queue.size, 0, 'the other handler has dealt with the error');
});

test('waitForUser: true once the relay knows them, false after the time', async (t) => {
  const { app, alice } = await users(t, await mockRelay(t), 'alice');
  assert.equal(await alice.waitForUser('bob', 50), false);
  const waiting = alice.waitForUser('bob', 10_000);
  await app.connect('bob');
  assert.equal(await waiting, true);
  assert.equal(await alice.waitForUser('bob'), true);
});

test('send waits for a recipient who is not there yet', async (t) => {
  const { app, alice } = await users(t, await mockRelay(t), 'alice');
  const sending = alice.send('bob', 'early');
  const inbox = messagesOf(await app.connect('bob'));
  assert.equal((await sending).status, 'delivered');
  assert.equal((await inbox.next()).content, 'early');
});

test('a recipient who is waited for does not hold up the others', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const waiting = alice.send('nobody', 'x', { timeout: 500 });
  await alice.send('bob', 'now');
  assert.equal((await inbox.next()).content, 'now');
  await assert.rejects(waiting, { code: 'RECIPIENT_TIMEOUT' });
});

test('user ids of every kind work', async (t) => {
  const ids = ['a', 'alice@example.com', 'with space', 'sl/ash', 'per%cent', 'qu?ery#hash', '..', 'Алиса', '🔐', 'x'.repeat(256), '__proto__', 'constructor'];
  const { app, hub } = await users(t, await mockRelay(t), 'hub');
  const inbox = messagesOf(hub);
  for (const id of ids) {
    const client = await app.connect(id);
    assert.equal(client.getUserId(), id);
    await client.send('hub', id);
    const message = await inbox.next();
    assert.deepEqual([message.senderId, message.content], [id, id]);
    const answer = messagesOf(client);
    await hub.send(id, 'back');
    assert.equal((await answer.next()).content, 'back', id);
  }
});

test('wrong arguments are INVALID_ARGUMENT, name the argument, and send nothing', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const inbox = messagesOf(bob);
  const invalid = (argument) => ({ name: 'StvorError', code: 'INVALID_ARGUMENT', message: new RegExp(`^${argument} `), retryable: false });
  const notIds = [undefined, null, '', 7, {}, [], 'x'.repeat(257), 'я'.repeat(129), '\ud800', Symbol('bob'), Buffer.from('bob')];
  for (const wrong of notIds) {
    await assert.rejects(app.connect(wrong), invalid('userId'));
    await assert.rejects(alice.send(wrong, 'x'), invalid('to'));
    await assert.rejects(alice.waitForUser(wrong), invalid('userId'));
    await assert.rejects(app.trust(wrong, 'a'.repeat(64)), invalid('peerId'));
    if (wrong !== undefined) await assert.rejects(app.disconnect(wrong), invalid('userId'));
  }
  const notContents = [Symbol('x'), () => {}, new ArrayBuffer(3), new DataView(new ArrayBuffer(2)), Promise.resolve('x'), /x/];
  for (const wrong of notContents) await assert.rejects(alice.send('bob', wrong), invalid('content'));
  for (const wrong of [null, 7, 'x', []]) await assert.rejects(alice.send('bob', 'x', wrong), invalid('options'));
  for (const wrong of [null, 0, -1, NaN, Infinity, '5', {}]) await assert.rejects(alice.send('bob', 'x', { timeout: wrong }), invalid('timeout'));
  for (const wrong of [null, 0, 'yes']) {
    await assert.rejects(alice.send('bob', 'x', { waitForRecipient: wrong }), invalid('waitForRecipient'));
    await assert.rejects(alice.send('bob', 'x', { receipt: wrong }), invalid('receipt'));
  }
  await assert.rejects(alice.send('bob', 'x', { timeout: 5, reciept: true }), { code: 'INVALID_ARGUMENT', message: /^options .*"reciept"/, action: /timeout, waitForRecipient, receipt/ });
  for (const wrong of [null, -1, NaN, '5']) await assert.rejects(alice.waitForUser('bob', wrong), invalid('timeout'));
  for (const wrong of [undefined, null, 'x', {}]) {
    assert.throws(() => bob.onMessage(wrong), invalid('handler'));
    assert.throws(() => bob.onError(wrong), invalid('handler'));
    assert.throws(() => bob.onReceipt(wrong), invalid('handler'));
  }
  for (const wrong of [undefined, null, '', 'xyz', 'a'.repeat(63), 'g'.repeat(64), 7]) await assert.rejects(app.trust('bob', wrong), invalid('fingerprint'));
  await assert.rejects(alice.send('alice', 'to myself'), invalid('to'));
  await alice.send('bob', 'the only one');
  assert.equal((await inbox.next()).content, 'the only one');
  assert.equal(inbox.size, 0);
});

test('fingerprint() is that of the identity key that others see', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const headers = { authorization: 'Bearer stvor_test' };
  const response = await fetch(`${relay.httpUrl}/public-key/alice`, { headers });
  const { publicKeys } = await response.json();
  assert.equal(alice.fingerprint(), generateFingerprint(publicKeys.identityKey));
  assert.match(alice.fingerprint(), /^[0-9a-f]{64}$/);
});

test('metrics count what succeeded and what was refused', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const counts = () => {
    const { messagesEncrypted, messagesDecrypted, messagesRejected, replayAttempts, authFailures } = app.getMetrics();
    return [messagesEncrypted, messagesDecrypted, messagesRejected, replayAttempts, authFailures];
  };
  assert.deepEqual(counts(), [0, 0, 0, 0, 0]);
  const inbox = messagesOf(bob);
  await alice.send('bob', 'one');
  await alice.send('bob', 'two');
  await inbox.take(2);
  assert.deepEqual(counts(), [2, 2, 0, 0, 0]);
});

test('a changed identity: nothing goes or comes until it is trusted', async (t) => {
  const relay = await mockRelay(t);
  const { app, alice } = await users(t, relay, 'alice');
  const errors = errorsOf(alice);
  const first = await users(t, relay, 'bob');
  await alice.send('bob', 'hello');
  await first.bob.disconnect();
  const second = await users(t, relay, 'bob');
  const inbox = messagesOf(second.bob);
  await second.bob.send('alice', 'it is me');
  assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
  await assert.rejects(alice.send('bob', 'to whom?'), { code: 'IDENTITY_CHANGED', peerId: 'bob', retryable: false });
  await app.trust('bob', second.bob.fingerprint().toUpperCase());
  await alice.send('bob', 'welcome back');
  const contents = new Set();
  while (!contents.has('welcome back')) contents.add((await inbox.next()).content);
  const answers = messagesOf(alice);
  await second.bob.send('alice', 'thanks');
  assert.deepEqual((await answers.take(2)).map(({ content }) => content), ['it is me', 'thanks']);
});

test('nine thousand messages outrun a slow handler: none is lost, all in order', async (t) => {
  const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const count = 9_000; // the relay keeps 10,000 for one user
  let [expected, finish] = [0, undefined];
  const all = new Promise((resolve) => (finish = resolve));
  const sends = Array.from({ length: count }, (_, i) => alice.send('bob', String(i)));
  bob.onMessage(async ({ content }) => {
    assert.equal(content, String(expected));
    expected += 1;
    if (expected % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (expected === count) finish();
  });
  const errors = errorsOf(bob);
  await Promise.all(sends);
  await all;
  assert.equal(errors.size, 0);
});

test('a user who connects again in the same app is who they were and gets what waited', async (t) => {
  const relay = await mockRelay(t);
  const { app, bob } = await users(t, relay, 'bob');
  const { alice } = await users(t, relay, 'alice');
  const errors = errorsOf(alice);
  const before = messagesOf(bob);
  await alice.send('bob', 'before');
  assert.equal((await before.next()).content, 'before');
  const fingerprint = bob.fingerprint();
  await bob.disconnect();
  assert.equal((await alice.send('bob', 'meanwhile')).status, 'queued');
  const again = await app.connect('bob');
  const inbox = messagesOf(again);
  assert.equal(again.fingerprint(), fingerprint);
  assert.equal((await inbox.next()).content, 'meanwhile');
  await alice.send('bob', 'after');
  assert.equal((await inbox.next()).content, 'after');
  assert.equal(errors.size, 0);
});
