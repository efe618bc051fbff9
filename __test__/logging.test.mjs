// Log events: who gets which, that none holds a secret, and that no logger can do harm.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createApp, Stvor } from '@stvor/sdk';
import { program, root } from './support/child.mjs';
import { errorsOf, messagesOf, Queue, warnings } from './support/collect.mjs';
import { appOn, frameRelay, mockRelay, TOKEN } from './support/relays.mjs';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const CONTENT = 'the eagle has landed';

/** A logger, what it has got, and `first(message)` for the first event with that message, come or still to come. */
function collector() {
  const [events, waiting] = [[], new Map()];
  const logger = (level, message, fields) => {
    events.push({ level, message, fields });
    waiting.get(message)?.({ level, message, fields });
  };
  const first = (message) => {
    const known = events.find((event) => event.message === message);
    return known ? Promise.resolve(known) : new Promise((resolve) => waiting.set(message, resolve));
  };
  return { events, logger, first };
}

const messages = ({ events }) => events.map(({ message }) => message);

/** Nothing in it that only the two ends know, and ids only where they may be. */
function assertDiscreet(level, text, ids) {
  for (const secret of [CONTENT, TOKEN]) assert.ok(!text.includes(secret), text);
  assert.doesNotMatch(text, /[A-Za-z0-9+/_-]{32,}/, 'neither a key, a fingerprint nor a ciphertext');
  if (level === 'debug' || level === 'trace') return;
  for (const id of ids) assert.ok(!text.includes(id), `${level} names a user: ${text}`);
}

describe('a logger', () => {
  test('gets the documented events of its app, and no other app\'s', async (t) => {
    const relay = await mockRelay(t);
    const [ours, theirs] = [collector(), collector()];
    const app = await appOn(t, relay, { logger: ours.logger });
    const other = await appOn(t, relay, { logger: theirs.logger, logLevel: 'trace' });
    const [alice, bob] = [await app.connect('alice'), await other.connect('bob')];
    const inbox = messagesOf(bob);
    await alice.send('bob', CONTENT);
    await inbox.next();
    await app.disconnect();
    assert.deepEqual(messages(ours), ['relay connected', 'user joined', 'user left']);
    const [connected, joined, left] = ours.events;
    assert.equal(connected.level, 'info');
    assert.deepEqual(Object.keys(connected.fields), ['transport', 'app']);
    assert.equal(connected.fields.transport, 'websocket');
    assert.deepEqual([joined.fields, left.fields], [{ app: connected.fields.app, client: 1 }, { app: connected.fields.app, client: 1 }]);
    await other.disconnect();
    const { events } = theirs;
    assert.ok(messages(theirs).includes('message opened'));
    assert.ok(!messages(theirs).includes('session begun'), 'alice has begun it');
    assert.equal(new Set(events.map(({ fields }) => fields.app)).size, 1);
    assert.notEqual(events[0].fields.app, connected.fields.app);
    assert.deepEqual(events.find(({ message }) => message === "user's id").fields.user, 'bob');
  });

  test('has every event before disconnect() resolves, and none afterwards', async (t) => {
    const log = collector();
    const client = await Stvor.connect({ userId: 'alone', appToken: TOKEN, relayUrl: (await mockRelay(t)).url, logger: log.logger });
    await client.disconnect();
    const count = log.events.length;
    assert.equal(log.events.at(-1).message, 'user left');
    await new Promise(setImmediate);
    assert.equal(log.events.length, count);
  });

  test('gets no more than its level, whatever another app asks for', async (t) => {
    const relay = await mockRelay(t);
    const logs = LEVELS.map(() => collector());
    const apps = await Promise.all(LEVELS.map((logLevel, at) => appOn(t, relay, { logger: logs[at].logger, logLevel })));
    for (const [at, app] of apps.entries()) {
      const [from, to] = [await app.connect(`from ${at}`), await app.connect(`to ${at}`)];
      const inbox = messagesOf(to);
      await from.send(`to ${at}`, CONTENT);
      await inbox.next();
      await app.disconnect();
    }
    for (const [at, { events }] of logs.entries()) {
      assert.ok(events.every(({ level }) => LEVELS.indexOf(level) <= at), LEVELS[at]);
      assert.equal(events.some(({ level }) => level === LEVELS[at]), at >= 2, `${LEVELS[at]}: nothing was wrong`);
    }
  });

  test('may be console-like, whose debug gets traces too', async (t) => {
    const calls = [];
    const logger = Object.fromEntries(['error', 'warn', 'info', 'debug', 'trace'].map((name) => [name, function log(message, fields) {
      assert.equal(this, logger);
      calls.push([name, message, fields]);
    }]));
    const app = await appOn(t, await mockRelay(t), { logger, logLevel: 'trace' });
    const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
    const inbox = messagesOf(bob);
    await alice.send('bob', CONTENT);
    await inbox.next();
    await app.disconnect();
    const called = (wanted) => calls.filter(([, message]) => message === wanted).map(([name]) => name);
    assert.deepEqual([called('relay connected'), called('session begun'), called('message opened')[0]], [['info'], ['debug'], 'debug']);
    assert.ok(calls.every(([name]) => name !== 'trace'));
    assert.ok(calls.every(([, , fields]) => typeof fields.app === 'number'));
  });

  test('hears of a relay that is lost, tried again and found again', async (t) => {
    const relay = await frameRelay(t);
    const log = collector();
    const app = await appOn(t, relay, { logger: log.logger });
    await app.connect('alice');
    await log.first('user joined');
    for (const socket of relay.sockets.clients) socket.terminate();
    const retry = await log.first('relay retry');
    assert.ok(retry.fields.pause_ms >= 125 && retry.fields.pause_ms <= 250, 'the first pause');
    log.events.length = 0;
    assert.equal((await log.first('relay connected')).level, 'info');
    assert.equal(app.getMetrics().reconnections, 1);
  });

  test('hears why createApp() rejects', async (t) => {
    const relay = await frameRelay(t);
    await relay.close();
    const log = collector();
    const opening = createApp({ appToken: TOKEN, relayUrl: relay.url, logger: log.logger });
    await assert.rejects(opening, { code: 'RELAY_UNAVAILABLE' });
    assert.deepEqual(messages(log), ['relay not reached']);
    assert.equal(log.events[0].fields.code, 'RELAY_UNAVAILABLE');
  });

  test('gets no content, key or token at any level, and user ids at debug and trace alone', async (t) => {
    let alter = false;
    const relay = await frameRelay(t, (frame, ws, state) => {
      if (frame.type !== 'message' || !alter) return false;
      const payload = { ...frame.payload, ciphertext: `AAAA${frame.payload.ciphertext.slice(4)}` };
      state.users.get(frame.to).json({ ...frame, payload });
      return false;
    });
    const log = collector();
    const options = { logger: log.logger, logLevel: 'trace' };
    const [one, two] = [await appOn(t, relay, options), await appOn(t, relay, options)];
    const ids = ['alice@example.org', 'bob@example.org'];
    const [alice, bob] = [await one.connect(ids[0]), await two.connect(ids[1])];
    const [inbox, errors] = [messagesOf(bob), errorsOf(bob)];
    await alice.send(ids[1], CONTENT, { receipt: true });
    alter = true;
    await alice.send(ids[1], CONTENT);
    assert.equal((await errors.next()).code, 'DECRYPTION_FAILED');
    await inbox.take(2);
    await Promise.all([one.disconnect(), two.disconnect()]);
    const refused = log.events.find(({ message }) => message === 'message refused');
    assert.deepEqual([refused.level, refused.fields.code], ['warn', 'DECRYPTION_FAILED']);
    assert.ok(log.events.some(({ level, fields }) => level === 'trace' && fields.peer === ids[1]));
    for (const { level, message, fields } of log.events) assertDiscreet(level, `${message} ${JSON.stringify(fields)}`, ids);
  });

  test('says how many events were dropped while the program was busy', async (t) => {
    const log = collector();
    const app = await appOn(t, await mockRelay(t), { logger: log.logger, logLevel: 'trace' });
    const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
    const inbox = messagesOf(bob);
    await alice.send('bob', CONTENT);
    await inbox.next();
    log.events.length = 0;
    const sends = Array.from({ length: 1_500 }, (_, n) => alice.send('bob', n));
    while (app.getMetrics().messagesEncrypted < 1_501); // in other threads, while this one is busy
    await Promise.all(sends);
    const dropped = await log.first('log events dropped');
    assert.equal(dropped.level, 'warn');
    assert.ok(dropped.fields.count >= 1);
    assert.equal(messages(log).indexOf('log events dropped'), 1_024, 'those that came first are kept');
    await inbox.take(1_500);
  });

  for (const [how, logger] of [
    ['throws', () => { throw new Error('on purpose'); }],
    ['is rejected', async () => { throw new Error('on purpose'); }],
    ['throws nothing in particular', () => { throw undefined; }],
  ]) {
    test(`that ${how} breaks nothing, and is warned of once`, async (t) => {
      const warned = new Queue();
      const warn = (message, code) => code === 'STVOR_LOGGER_FAILED' && warned.push(message);
      const app = await appOn(t, await mockRelay(t), { logger, logLevel: 'trace', warn });
      const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
      const inbox = messagesOf(bob);
      await alice.send('bob', CONTENT);
      assert.equal((await inbox.next()).content, CONTENT);
      await app.disconnect();
      assert.match(await warned.next(), /logger threw/);
      assert.equal(warned.size, 0);
    });
  }

  test('must be a function or console-like, and the level one that there is', async () => {
    const rejects = (config, name) => assert.rejects(createApp({ appToken: TOKEN, ...config }), (error) => {
      assert.equal(error.code, 'INVALID_ARGUMENT');
      return error.message.startsWith(name);
    });
    for (const logger of [null, 7, 'console', {}, { ...console, debug: undefined }]) await rejects({ logger }, 'logger');
    for (const logLevel of ['verbose', 3, null, 'INFO']) await rejects({ logger: console, logLevel }, 'logLevel');
  });

  test('works in worker threads, which end by themselves', async (t) => {
    const config = { appToken: TOKEN, relayUrl: (await mockRelay(t)).url };
    const workers = ['alice', 'bob'].map((userId) => new Worker(new URL('./support/logging-worker.cjs', import.meta.url), { workerData: { config, userId } }));
    const apps = await Promise.all(workers.map(async (worker) => {
      const events = [];
      worker.on('message', (event) => events.push(event));
      assert.deepEqual(await once(worker, 'exit'), [0]);
      assert.deepEqual(events.map(({ message }) => message), ['relay connected', 'user joined', 'user left']);
      return events[0].fields.app;
    }));
    assert.notEqual(apps[0], apps[1]);
  });

  test('of a terminated worker thread is let go, and others go on', async (t) => {
    const relay = await mockRelay(t);
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { createApp } = require('@stvor/sdk');
      createApp({ ...workerData, logger: () => {}, logLevel: 'trace' })
        .then((app) => app.connect('worker')).then(() => parentPort.postMessage('ready'));`;
    const workerData = { appToken: TOKEN, relayUrl: relay.url };
    const worker = new Worker(code, { eval: true, workerData });
    await once(worker, 'message');
    await worker.terminate();
    const log = collector();
    const app = await appOn(t, relay, { logger: log.logger });
    await app.connect('alice');
    await app.disconnect();
    assert.deepEqual(messages(log), ['relay connected', 'user joined', 'user left']);
  });
});

/** A program that sends one message with a secret in it. */
const sending = (relay, config = '') => `
  import { createApp } from '@stvor/sdk';
  const app = await createApp({ appToken: ${JSON.stringify(TOKEN)}, relayUrl: ${JSON.stringify(relay.url)}, warn() {}, ${config} });
  const [alice, bob] = [await app.connect('alice'), await app.connect('bob\\n2026')];
  const received = new Promise((resolve) => bob.onMessage(({ content }) => resolve(content)));
  await alice.send('bob\\n2026', ${JSON.stringify(CONTENT)});
  await received;
  await app.disconnect();
  console.log('done');`;

describe('STVOR_LOG', () => {
  test('unset, nothing is printed', async (t) => {
    const { code, lines, stderr } = await program(t, { code: sending(await mockRelay(t)), env: { STVOR_LOG: '' } }).ended;
    assert.deepEqual([code, lines, stderr], [0, ['done'], '']);
  });

  test('prints a line for each event on stderr, and nothing secret', async (t) => {
    const { code, lines, stderr } = await program(t, { code: sending(await mockRelay(t)), env: { STVOR_LOG: 'trace' } }).ended;
    assert.deepEqual([code, lines], [0, ['done']]);
    const printed = stderr.split('\n').slice(0, -1);
    const seen = new Set();
    for (const line of printed) {
      const [, level, rest] = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn |info |debug|trace) (\S.*)$/.exec(line) ?? assert.fail(line);
      seen.add(level.trim());
      assertDiscreet(level.trim(), rest, ['alice', 'bob']);
    }
    assert.deepEqual([...seen].sort(), ['debug', 'info', 'trace']);
    assert.ok(printed.some((line) => / info  user joined app=1 client=1$/.test(line)));
    assert.ok(printed.some((line) => line.includes('peer="bob\\n2026"')), 'a name cannot begin a line');
  });

  test('prints no more than the level, beside a logger that gets more', async (t) => {
    const logger = "logger: (level, message) => console.log(level, message), logLevel: 'debug',";
    const { lines, stderr } = await program(t, { code: sending(await mockRelay(t), logger), env: { STVOR_LOG: 'INFO' } }).ended;
    assert.ok(lines.includes('debug session begun'));
    assert.ok(!lines.some((line) => line.startsWith('trace')));
    const levels = new Set(stderr.split('\n').slice(0, -1).map((line) => line.split(' ')[1]));
    assert.deepEqual([...levels], ['info']);
  });

  test('that is no level is warned of', async (t) => {
    const warned = warnings(t);
    process.env.STVOR_LOG = 'loud';
    t.after(() => delete process.env.STVOR_LOG);
    await appOn(t, await mockRelay(t));
    assert.equal((await warned.next()).code, 'STVOR_LOG');
  });
});

test('a logger does not keep a process alive', async (t) => {
  const relay = await mockRelay(t);
  const code = `
    import { createApp } from '@stvor/sdk';
    globalThis.app = await createApp({ appToken: 'stvor_test', relayUrl: ${JSON.stringify(relay.url)}, logger() {}, logLevel: 'trace' });`;
  const ended = await program(t, { code }).ended;
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, '']);
});

test('every event is documented with its level, and nothing else is', () => {
  const document = readFileSync(join(root, 'docs/OBSERVABILITY.md'), 'utf8');
  const documented = [...document.matchAll(/^\| (error|warn|info|debug|trace) \| `([^`]+)` \|/gm)].map(([, level, message]) => `${level} ${message}`);
  const client = join(root, 'crates/client/src');
  // Simulations, which tell of themselves, are in no build that is published.
  const files = readdirSync(client, { recursive: true }).filter((name) => name.endsWith('.rs') && !name.startsWith('simulation'));
  const made = files.flatMap((name) => {
    const source = readFileSync(join(client, name), 'utf8');
    return [...source.matchAll(/\b(error|warn|info|debug|trace)!\([^;]*?"([^"]+)"\s*\)/gs)].map(([, level, message]) => `${level} ${message}`);
  });
  assert.deepEqual([...new Set(made), 'warn log events dropped'].sort(), [...documented].sort());
});
