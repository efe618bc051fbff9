// Apps and clients come and go, and the process with them: in child processes and worker threads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { createApp, StvorFacadeClient } from '@stvor/sdk';
import { program } from './support/child.mjs';
import { messagesOf } from './support/collect.mjs';
import { appOn, fakeRelay, frameRelay, mockRelay, TOKEN, users } from './support/relays.mjs';

test('connect for the same user gives the same client, also at the same time', async (t) => {
  const app = await appOn(t, await mockRelay(t));
  const [one, two] = await Promise.all([app.connect('alice'), app.connect('alice')]);
  assert.ok(one instanceof StvorFacadeClient);
  assert.equal(one, two);
  assert.equal(await app.connect('alice'), one);
});

test('a user who was disconnected can connect again, at once', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const leaving = alice.disconnect();
  const again = await app.connect('alice');
  await leaving;
  assert.notEqual(again, alice);
  const inbox = messagesOf(bob);
  await again.send('bob', 'back');
  assert.equal((await inbox.next()).content, 'back');
});

test('isReady: once somebody is connected, and no longer after disconnect', async (t) => {
  const app = await appOn(t, await mockRelay(t));
  assert.equal(app.isReady(), false);
  await app.connect('alice');
  assert.equal(app.isReady(), true);
  await app.disconnect();
  assert.equal(app.isReady(), false);
});

test('disconnect of one user leaves the others, disconnect of the app nobody', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob', 'carol');
  await app.disconnect('alice');
  await app.disconnect('alice');
  await app.disconnect('nobody');
  await assert.rejects(alice.send('bob', 'x'), { code: 'CLIENT_NOT_READY' });
  assert.equal((await bob.send('carol', 'x')).status, 'delivered');
  await Promise.all([app.disconnect(), app.disconnect()]);
  await assert.rejects(bob.send('carol', 'x'), { code: 'CLIENT_NOT_READY' });
  await assert.rejects(app.connect('dave'), { code: 'CLIENT_NOT_READY' });
});

test('the relay sees a user leave', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const online = async () => (await (await fetch(`${relay.httpUrl}/status/alice`)).json()).online;
  assert.equal(await online(), true);
  await alice.disconnect();
  while (await online()) await new Promise((resolve) => setImmediate(resolve));
});

test('no handler is called after disconnect', async (t) => {
  const { app, alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
  const calls = [];
  const left = new Promise((resolve) => {
    bob.onMessage(async ({ content }) => {
      calls.push(content);
      await bob.disconnect();
      resolve();
    });
  });
  await Promise.allSettled([alice.send('bob', 'one'), alice.send('bob', 'two'), alice.send('bob', 'three')]);
  await left;
  await app.disconnect();
  assert.deepEqual(calls, ['one']);
});

test('sends under way when the client leaves settle, one way or the other', async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice', 'bob');
  const sends = [alice.send('nobody', 'x'), ...Array.from({ length: 20 }, (_, i) => alice.send('bob', `${i}`))];
  const settled = Promise.allSettled(sends);
  await alice.disconnect();
  const outcomes = await settled;
  assert.deepEqual([outcomes[0].status, outcomes[0].reason.code], ['rejected', 'CLIENT_NOT_READY']);
  for (const { status, reason } of outcomes) assert.ok(status === 'fulfilled' || reason.code === 'CLIENT_NOT_READY');
});

test('await using disposes of app and client, where the runtime has Symbol.asyncDispose', async (t) => {
  const dispose = (what) => what[Symbol.asyncDispose ?? 'disconnect']();
  const relay = await mockRelay(t);
  const app = await createApp({ appToken: TOKEN, relayUrl: relay.url });
  const alice = await app.connect('alice');
  assert.equal(await dispose(alice), undefined);
  await assert.rejects(alice.send('bob', 'x'), { code: 'CLIENT_NOT_READY' });
  await dispose(app);
  await assert.rejects(app.connect('alice'), { code: 'CLIENT_NOT_READY' });
  assert.deepEqual(Object.keys(app), []);
});

const prelude = (relay) => `
  import { createApp, Stvor } from '@stvor/sdk';
  const config = { appToken: '${TOKEN}', relayUrl: '${relay.url}' };`;

test('the process stays alive while a client is connected, without doing anything', async (t) => {
  const relay = await mockRelay(t);
  const { app } = await users(t, relay);
  const receiver = program(t, {
    code: `${prelude(relay)}
      const bob = await (await createApp(config)).connect('bob');
      bob.onMessage((from, content) => { console.log(from + ': ' + content); if (content === 'last') bob.disconnect(); });
      console.log('ready');`,
  });
  await receiver.line('ready');
  const alice = await app.connect('alice');
  await alice.send('bob', 'first');
  await receiver.line('alice: first');
  await alice.send('bob', 'last');
  const { code, stderr } = await receiver.ended;
  assert.deepEqual([code, stderr], [0, '']);
});

const exits = {
  'after the app has disconnected': `
    const app = await createApp(config);
    const [alice, bob] = await Promise.all([app.connect('alice'), app.connect('bob')]);
    await alice.send('bob', 'x');
    await app.disconnect();`,
  'after the last client has disconnected, the app still open': `
    const app = await createApp(config);
    const alice = await app.connect('alice');
    await alice.disconnect();`,
  'after Stvor.connect and disconnect': `
    const alice = await Stvor.connect({ userId: 'alice', ...config });
    await alice.disconnect();`,
  'with an app that nobody connected to': `
    await createApp(config);`,
  'with process.exit() while clients are connected and messages flow': `
    const app = await createApp(config);
    const [alice, bob] = await Promise.all([app.connect('alice'), app.connect('bob')]);
    let n = 0;
    bob.onMessage(() => { if ((n += 1) === 20) process.exit(0); });
    for (;;) await alice.send('bob', 'x');`,
  'with process.exit() right after connect': `
    await (await createApp(config)).connect('alice');
    process.exit(0);`,
  'after connect was refused': `
    const app = await createApp(config);
    await app.connect('').catch(() => {});`,
  'by the package being imported and nothing else': ``,
};

for (const [when, body] of Object.entries(exits)) {
  test(`the process exits by itself ${when}`, async (t) => {
    const relay = await mockRelay(t);
    const { code, signal, stderr, ms } = await program(t, { code: prelude(relay) + body }).ended;
    assert.deepEqual([code, signal, stderr], [0, null, '']);
    assert.ok(ms < 10_000, `took ${ms} ms`);
  });
}

test('the process exits by itself when the relay goes away and the client disconnects', async (t) => {
  const relay = await mockRelay(t);
  const child = program(t, {
    code: `${prelude(relay)}
      const alice = await (await createApp(config)).connect('alice');
      console.log('ready');
      setTimeout(() => alice.disconnect(), 300);`,
  });
  await child.line('ready');
  await relay.close();
  const { code } = await child.ended;
  assert.equal(code, 0);
});

test('a pending send keeps the process alive until it settles', async (t) => {
  const relay = await mockRelay(t);
  const { lines, code } = await program(t, {
    code: `${prelude(relay)}
      const alice = await (await createApp(config)).connect('alice');
      alice.send('nobody', 'x', { timeout: 300 }).catch((error) => { console.log(error.code); return alice.disconnect(); });`,
  }).ended;
  assert.deepEqual([code, lines], [0, ['RECIPIENT_TIMEOUT']]);
});

test('an unreachable relay does not keep the process alive', async (t) => {
  const relay = await fakeRelay(t, { onSocket: () => {} });
  const { lines, code } = await program(t, {
    code: `${prelude(relay)}
      createApp({ ...config, timeout: 200 }).catch((error) => console.log(String(error)));`,
  }).ended;
  assert.equal(code, 0);
  assert.ok(lines.length <= 1);
});

function worker(relay, userId) {
  const workerData = { userId, config: { appToken: TOKEN, relayUrl: relay.url } };
  return new Worker(new URL('./support/worker.cjs', import.meta.url), { workerData });
}

const event = (emitter, name) => new Promise((resolve, reject) => {
  emitter.once(name, resolve);
  emitter.once('error', reject);
});

test('works in worker threads, which end by themselves after disconnect', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const inbox = messagesOf(alice);
  const workers = ['w1', 'w2', 'w3'].map((name) => worker(relay, name));
  await Promise.all(workers.map((w) => event(w, 'message')));
  for (const [i, w] of workers.entries()) {
    const [exit, received] = [event(w, 'exit'), event(w, 'message')];
    await alice.send(`w${i + 1}`, 'leave');
    assert.deepEqual(await received, { from: 'alice', content: 'leave' });
    assert.equal((await inbox.next()).content, 'echo leave');
    assert.equal(await exit, 0);
  }
});

test('a terminated worker leaves the relay, and the others go on', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice');
  const inbox = messagesOf(alice);
  for (let round = 0; round < 3; round += 1) {
    const doomed = worker(relay, `doomed${round}`);
    await event(doomed, 'message');
    await alice.send(`doomed${round}`, 'hello');
    assert.equal((await inbox.next()).content, 'echo hello');
    await doomed.terminate();
    const online = async () => (await (await fetch(`${relay.httpUrl}/status/doomed${round}`)).json()).online;
    while (await online()) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal((await alice.send('doomed0', 'anybody?')).status, 'queued');
});

test('many apps at once, opened and closed', async (t) => {
  const relay = await mockRelay(t);
  const apps = await Promise.all(Array.from({ length: 20 }, () => createApp({ appToken: TOKEN, relayUrl: relay.url })));
  const clients = await Promise.all(apps.map((app, i) => app.connect(`user${i}`)));
  await Promise.all(clients.slice(1).map((client, i) => client.send(`user${i}`, 'x')));
  await Promise.all(apps.map((app) => app.disconnect()));
});

test('an app without clients that nobody holds any more closes its connection', async (t) => {
  let closed;
  const gone = new Promise((resolve) => (closed = resolve));
  const relay = await frameRelay(t);
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc');
  await (async () => void (await createApp({ appToken: TOKEN, relayUrl: relay.url })))();
  for (const ws of relay.sockets.clients) ws.on('close', closed);
  assert.equal(relay.sockets.clients.size, 1);
  const timer = setInterval(gc, 5);
  await gone;
  clearInterval(timer);
});

test('a connect right after app.disconnect(userId) gives a client that works', async (t) => {
  const { app } = await users(t, await mockRelay(t), 'alice', 'bob');
  const leaving = app.disconnect('alice');
  const alice = await app.connect('alice');
  const inbox = messagesOf(await app.connect('bob'));
  await alice.send('bob', 'still here');
  assert.equal((await inbox.next()).content, 'still here');
  await leaving;
});

test('nobody waits for themselves', async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice');
  await assert.rejects(alice.waitForUser('alice', 10), { code: 'INVALID_ARGUMENT' });
});
