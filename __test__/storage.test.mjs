// Storage adapters of the application's own, as the documentation describes them.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createApp, generateKeyPair, Stvor, StvorError } from '@stvor/sdk';
import { errorsOf, messagesOf, warnings } from './support/collect.mjs';
import { appOn, mockRelay, TOKEN } from './support/relays.mjs';
import { mapAdapters } from './support/stores.mjs';

const adapters = (data) => mapAdapters(data, { generateKeyPair });

/** An app with adapters in production mode. */
const production = (t, relay, storageAdapters) => appOn(t, relay, { storageAdapters, productionMode: true });

/** Two users with stores of their own, and what bob was told. */
async function aliceAndBob(t, relay, stores) {
  const [first, second] = [await production(t, relay, stores), await appOn(t, relay)];
  const [alice, bob] = [await first.connect('alice'), await second.connect('bob')];
  return { alice, bob, toAlice: messagesOf(alice), toBob: messagesOf(bob), first };
}

test('production mode without storage adapters rejects with STORAGE_REQUIRED and names each missing piece', async () => {
  const config = { appToken: TOKEN, relayUrl: 'ws://localhost:1', productionMode: true };
  const missing = async (storageAdapters) => {
    const error = await createApp({ ...config, storageAdapters }).then(assert.fail, (error) => error);
    assert.equal(error.code, 'STORAGE_REQUIRED');
    assert.ok(error instanceof StvorError && error.action.length > 0);
    return error.message.match(/storageAdapters\.[\w.]+/g).map((name) => name.slice('storageAdapters.'.length));
  };
  assert.deepEqual(await missing(undefined), ['identity', 'sessions', 'replay', 'tofu']);
  const { tofu, ...others } = adapters();
  assert.deepEqual(await missing(others), ['tofu']);
  assert.deepEqual(await missing({ ...others, tofu: { storeFingerprint: tofu.storeFingerprint } }), ['tofu.verifyFingerprint']);
  assert.deepEqual(await missing({ ...adapters(), sessions: {}, replay: null }), ['sessions.save', 'sessions.load', 'replay']);
});

test('adapters that a function gives are checked when a user connects', async (t) => {
  const relay = await mockRelay(t);
  const app = await production(t, relay, async (userId) => (userId === 'alice' ? adapters() : { ...adapters(), tofu: {} }));
  await app.connect('alice');
  await assert.rejects(app.connect('bob'), { code: 'STORAGE_REQUIRED' });
  const broken = await production(t, relay, () => 7);
  await assert.rejects(broken.connect('alice'), { code: 'INVALID_ARGUMENT' });
});

test('development mode warns once of each missing adapter and goes on', async (t) => {
  const relay = await mockRelay(t);
  const told = [];
  const { identity, sessions } = adapters();
  const app = await appOn(t, relay, { storageAdapters: { identity, sessions: { load: sessions.load } }, warn: (message) => told.push(message) });
  await app.connect('alice');
  await app.connect('bob');
  assert.deepEqual(told.map((message) => /storageAdapters\.([\w.]+)/.exec(message)[1]), ['sessions.save', 'replay', 'tofu']);
  assert.ok(told.every((message) => !message.includes('\n')));
  const printed = warnings(t);
  await appOn(t, relay, { storageAdapters: { identity, sessions } });
  for (const kind of ['replay', 'tofu']) {
    const { code, message } = await printed.next();
    assert.equal(code, 'STVOR_MEMORY_ONLY');
    assert.match(message, new RegExp(`storageAdapters\\.${kind}`));
  }
});

test('production mode refuses an unencrypted connection to another machine unless it is allowed', async (t) => {
  const config = { appToken: TOKEN, productionMode: true, storageAdapters: adapters(), timeout: 500 };
  for (const relayUrl of ['ws://relay.example', 'http://10.0.0.1:4444', 'ws://127.0.0.1.example']) {
    await assert.rejects(createApp({ ...config, relayUrl }), { code: 'INSECURE_RELAY' });
  }
  await assert.rejects(createApp(config), { code: 'INVALID_ARGUMENT' });
  const relay = await mockRelay(t);
  await (await createApp({ ...config, relayUrl: relay.url })).disconnect();
  const elsewhere = createApp({ ...config, relayUrl: 'ws://relay.invalid:1', allowInsecureRelay: true });
  await assert.rejects(elsewhere, { code: 'RELAY_UNAVAILABLE' });
});

test('production mode refuses to send metrics unencrypted to another machine, whatever is allowed of the relay', async (t) => {
  const relay = await mockRelay(t);
  const config = { productionMode: true, allowInsecureRelay: true, storageAdapters: adapters() };
  const refused = { code: 'INSECURE_BACKEND', message: /backendUrl/ };
  for (const backendUrl of ['http://backend.example', 'http://10.0.0.1:3000', 'http://127.0.0.1.example']) {
    await assert.rejects(appOn(t, relay, { ...config, backendUrl }), refused);
  }
  const app = await appOn(t, relay, { ...config, backendUrl: 'http://127.0.0.1:1' });
  await assert.rejects(app.flushMetrics({ backendUrl: 'http://backend.invalid' }), refused);
  for (const options of [undefined, { backendUrl: 'https://backend.invalid' }]) {
    await assert.rejects(app.flushMetrics(options), { code: 'BACKEND_UNAVAILABLE' });
  }
});

test('identity, sessions and pins survive a restart', async (t) => {
  const relay = await mockRelay(t);
  const data = new Map();
  const before = await aliceAndBob(t, relay, adapters(data));
  await before.alice.send('bob', 'one', { receipt: true });
  await before.bob.send('alice', 'two', { receipt: true });
  const fingerprint = before.alice.fingerprint();
  await before.first.disconnect();

  const again = await production(t, relay, adapters(data));
  const alice = await again.connect('alice');
  assert.equal(alice.fingerprint(), fingerprint);
  const toAlice = messagesOf(alice);
  await alice.send('bob', 'three');
  await before.bob.send('alice', 'four');
  assert.deepEqual((await before.toBob.take(2)).map(({ content }) => content), ['one', 'three']);
  assert.equal((await toAlice.next()).content, 'four');
});

test('a message that no handler has completed before a restart is given again, and one that was is not', async (t) => {
  const relay = await mockRelay(t);
  const data = new Map();
  const { bob, first, alice, toAlice } = await aliceAndBob(t, relay, adapters(data));
  await bob.send('alice', 'handled', { receipt: true });
  assert.equal((await toAlice.next()).content, 'handled');
  const started = new Promise((resolve) => {
    alice.onMessage(() => {
      resolve();
      return new Promise(() => {});
    });
  });
  await bob.send('alice', 'begun');
  await started;
  await first.disconnect();
  const again = await (await production(t, relay, adapters(data))).connect('alice');
  const toAgain = messagesOf(again);
  assert.equal((await toAgain.next()).content, 'begun');
  await bob.send('alice', 'next', { receipt: true });
  assert.equal((await toAgain.next()).content, 'next');
});

test('what save is given is a Buffer that shows nothing of what it holds', async (t) => {
  const relay = await mockRelay(t);
  const data = new Map();
  const { alice, toBob } = await aliceAndBob(t, relay, adapters(data));
  await alice.send('bob', 'a very recognisable secret');
  await toBob.next();
  const states = [...data].filter(([key]) => key.startsWith('["session"')).map(([, state]) => state);
  assert.ok(states.length >= 2, 'a record for bob and one for alice herself');
  for (const state of states) {
    assert.ok(Buffer.isBuffer(state) && state.length > 100);
    assert.ok(!state.includes('recognisable') && !state.includes('bob'));
  }
});

for (const [form, change] of Object.entries({
  'a Buffer': (state) => state,
  'a Uint8Array': (state) => new Uint8Array(state),
  'the JSON form of a Buffer': (state) => JSON.parse(JSON.stringify(state)),
  base64: (state) => state.toString('base64'),
  base64url: (state) => state.toString('base64url'),
})) {
  test(`load may give ${form}, and everything may be synchronous`, async (t) => {
    const relay = await mockRelay(t);
    const rows = new Map();
    const pair = generateKeyPair();
    const pins = new Map();
    const stores = {
      identity: { getIdentityKeyPair: () => ({ publicKey: change(pair.publicKey), privateKey: change(pair.privateKey) }) },
      sessions: {
        save: (peerId, state) => void rows.set(peerId, state),
        load: (peerId) => (rows.has(peerId) ? change(rows.get(peerId)) : undefined),
      },
      replay: { checkAndMark: () => false },
      tofu: {
        storeFingerprint: (peerId, fingerprint) => void pins.set(peerId, fingerprint),
        verifyFingerprint: (peerId, fingerprint) => (pins.has(peerId) ? pins.get(peerId) === fingerprint : undefined),
      },
    };
    const before = await aliceAndBob(t, relay, stores);
    await before.alice.send('bob', 'one', { receipt: true });
    await before.first.disconnect();
    const alice = await (await production(t, relay, stores)).connect('alice');
    await alice.send('bob', 'two', { receipt: true });
    assert.deepEqual((await before.toBob.take(2)).map(({ content }) => content), ['one', 'two']);
  });
}

test('two users whose adapters take no user id are refused with STORAGE_SHARED', async (t) => {
  const relay = await mockRelay(t);
  const shared = () => ({
    identity: { getIdentityKeyPair: async () => generateKeyPair() },
    sessions: { save: async (_peerId, _state) => {}, load: async (_peerId) => null },
    replay: { checkAndMark: async (_peerId, _nonce) => false },
    tofu: { storeFingerprint: async (_peerId, _print) => {}, verifyFingerprint: async (_peerId, _print) => null },
  });
  const app = await production(t, relay, shared());
  await app.connect('alice');
  const error = await app.connect('bob').then(assert.fail, (error) => error);
  assert.equal(error.code, 'STORAGE_SHARED');
  for (const kind of ['identity', 'sessions', 'replay', 'tofu']) assert.match(error.message, new RegExp(`storageAdapters\\.${kind}`));
  assert.match(error.action, /perUser: true.*\(userId\) => adapters/);
  const each = await production(t, relay, () => shared());
  await each.connect('alice');
  await each.connect('bob');
  const one = shared();
  const same = await production(t, relay, () => one);
  await same.connect('carol');
  await assert.rejects(same.connect('dave'), { code: 'STORAGE_SHARED' });
  const declared = Object.fromEntries(Object.entries(shared()).map(([kind, adapter]) => [kind, { ...adapter, perUser: true }]));
  const said = await production(t, relay, declared);
  await said.connect('erin');
  await said.connect('frank');
});

test('an identity that is not the one from before, or is another user\'s, is IDENTITY_CONFLICT', async (t) => {
  const relay = await mockRelay(t);
  const data = new Map();
  const changing = { ...adapters(data), identity: { getIdentityKeyPair: async (_userId) => generateKeyPair() } };
  const app = await production(t, relay, changing);
  await (await app.connect('alice')).disconnect();
  await assert.rejects(app.connect('alice'), { code: 'IDENTITY_CONFLICT' });
  const restarted = await production(t, relay, changing);
  await assert.rejects(restarted.connect('alice'), { code: 'IDENTITY_CONFLICT' });
  const pair = generateKeyPair();
  const twins = await production(t, relay, { ...adapters(), identity: { getIdentityKeyPair: async (_userId) => pair } });
  await twins.connect('alice');
  await assert.rejects(twins.connect('bob'), { code: 'IDENTITY_CONFLICT' });
});

test('a store that throws, rejects or gives nonsense is STORAGE_FAILED with the cause, and the next step goes', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const { alice, toBob } = await aliceAndBob(t, relay, stores);
  await alice.send('bob', 'zero');
  const { save } = stores.sessions;
  const cause = new RangeError('disk on fire');
  for (const failing of [() => { throw cause; }, async () => { throw cause; }]) {
    stores.sessions.save = failing;
    const error = await alice.send('bob', 'never').then(assert.fail, (error) => error);
    assert.deepEqual([error.code, error.retryable], ['STORAGE_FAILED', true]);
    assert.equal(error.cause, cause);
    assert.ok(!error.message.includes('fire'), 'what a store throws may hold secrets: it is the cause, not the message');
    stores.sessions.save = save;
  }
  await alice.send('bob', 'one');
  assert.deepEqual((await toBob.take(2)).map(({ content }) => content), ['zero', 'one']);

  const nonsense = { identity: { getIdentityKeyPair: async (_userId) => ({ publicKey: 'x', privateKey: 7 }) }, sessions: { ...adapters().sessions, load: async (_peerId, _userId) => 7 }, replay: undefined };
  for (const kind of ['identity', 'sessions']) {
    const app = await production(t, relay, { ...adapters(), [kind]: nonsense[kind] });
    await assert.rejects(app.connect('carol'), { code: 'STORAGE_FAILED', retryable: true });
  }
});

test('a replay cache that fails or gives nonsense holds messages back until it works', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const { alice, bob, toAlice } = await aliceAndBob(t, relay, stores);
  const errors = errorsOf(alice);
  const { checkAndMark } = stores.replay;
  stores.replay.checkAndMark = async () => undefined;
  await bob.send('alice', 'one');
  assert.equal((await errors.next()).code, 'STORAGE_FAILED');
  assert.equal(toAlice.size, 0);
  await alice.send('bob', 'sends go on');
  stores.replay.checkAndMark = checkAndMark;
  assert.equal((await toAlice.next()).content, 'one');
});

test('a call that does not settle fails after 10 seconds, later ones at once until it does, and it overwrites nothing', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const { alice, bob, toAlice, toBob } = await aliceAndBob(t, relay, stores);
  await alice.send('bob', 'zero');
  const { save, load } = stores.sessions;
  let letGo;
  const order = [];
  stores.sessions.load = async (...row) => {
    order.push('load');
    return load(...row);
  };
  stores.sessions.save = async (peerId, state, userId) => {
    stores.sessions.save = async (...row) => {
      order.push('new');
      return save(...row);
    };
    await new Promise((resolve) => (letGo = resolve));
    order.push('late');
    return save(peerId, state, userId);
  };
  const begun = performance.now();
  const error = await alice.send('bob', 'never', { timeout: 60_000 }).then(assert.fail, (error) => error);
  assert.equal(error.code, 'STORAGE_FAILED');
  assert.ok(performance.now() - begun > 9_000);
  await bob.send('alice', 'meanwhile');
  const since = performance.now();
  for (let time = 0; time < 20; time += 1) {
    const refused = { code: 'STORAGE_FAILED', retryable: true, message: /sessions\.save\(\) of before has not answered/ };
    await assert.rejects(alice.send('bob', 'never either', { timeout: 60_000 }), refused);
  }
  assert.ok(performance.now() - since < 5_000);
  assert.deepEqual(order, []);
  letGo();
  await new Promise(setImmediate);
  await alice.send('bob', 'one');
  assert.deepEqual(order.slice(0, 2), ['late', 'new']);
  assert.equal((await toAlice.next()).content, 'meanwhile');
  assert.deepEqual((await toBob.take(2)).map(({ content }) => content), ['zero', 'one']);
});

test('app.trust says what a tofu adapter lacks that refuses another fingerprint, or does not replace it', async (t) => {
  const refused = new Error('fingerprints are immutable');
  const lacking = {
    refusing: (tofu) => ({ ...tofu, replaceFingerprint: undefined, storeFingerprint: async (...row) => { if ((await tofu.verifyFingerprint(...row)) === false) throw refused; } }),
    idle: (tofu) => ({ ...tofu, replaceFingerprint: async (_peerId, _fingerprint, _userId) => {} }),
  };
  for (const [how, change] of Object.entries(lacking)) {
    const relay = await mockRelay(t);
    const stores = adapters();
    const app = await production(t, relay, { ...stores, tofu: change(stores.tofu) });
    await app.connect('alice');
    await stores.tofu.storeFingerprint('bob', 'a'.repeat(64), 'alice');
    const error = await app.trust('bob', 'b'.repeat(64)).then(assert.fail, (error) => error);
    assert.deepEqual([error.code, error.retryable, error.peerId], ['STORAGE_FAILED', false, 'bob'], how);
    assert.match(error.action, /replaceFingerprint\(peerId, fingerprint, userId\)/, how);
    assert.equal(error.cause, how === 'refusing' ? refused : undefined);
  }
  const down = new Error('connection lost');
  const stores = adapters();
  const app = await production(t, await mockRelay(t), { ...stores, tofu: { ...stores.tofu, replaceFingerprint: undefined, storeFingerprint: async (_peerId, _fingerprint, _userId) => { throw down; } } });
  await app.connect('alice');
  await assert.rejects(app.trust('bob', 'b'.repeat(64)), { code: 'STORAGE_FAILED', retryable: true, cause: down });
});

test('two apps of one process do not serve a user from the same storage', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const [first, second] = [await production(t, relay, stores), await production(t, relay, (userId) => ({ ...stores, userId }))];
  const refused = { code: 'STORAGE_SHARED', retryable: false, message: /Another app of this process serves "alice"/ };
  const alice = await first.connect('alice');
  await assert.rejects(second.connect('alice'), refused);
  const options = { appToken: TOKEN, relayUrl: relay.url, storageAdapters: stores, userId: 'alice' };
  await assert.rejects(Stvor.connect(options), refused);
  assert.equal(await first.connect('alice'), alice);
  const toBob = messagesOf(await second.connect('bob'));
  await alice.send('bob', 'one');
  assert.equal((await toBob.next()).content, 'one');
  await alice.disconnect();
  await (await first.connect('alice')).disconnect();
  await (await Stvor.connect(options)).disconnect();
  await assert.rejects(Stvor.connect({ ...options, relayUrl: 'ws://127.0.0.1:1' }), { code: 'RELAY_UNAVAILABLE' });
  await second.connect('alice');
});

test('a user whose connecting fails may be served by another app', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const { load } = stores.sessions;
  stores.sessions.load = async (_peerId, _userId) => 7;
  await assert.rejects((await production(t, relay, stores)).connect('alice'), { code: 'STORAGE_FAILED' });
  stores.sessions.load = load;
  await (await production(t, relay, stores)).connect('alice');
});

test('a fingerprint that another process pins at the same moment is not overlooked', async (t) => {
  const relay = await mockRelay(t);
  const stores = adapters();
  const { storeFingerprint, verifyFingerprint } = stores.tofu;
  stores.tofu.storeFingerprint = async (peerId, fingerprint, userId) => {
    if (peerId === 'bob') await storeFingerprint(peerId, 'f'.repeat(64), userId);
    return storeFingerprint(peerId, fingerprint, userId);
  };
  const asked = [];
  stores.tofu.verifyFingerprint = async (peerId, fingerprint, userId) => {
    asked.push(peerId);
    return verifyFingerprint(peerId, fingerprint, userId);
  };
  const { alice, bob, first, toAlice, toBob } = await aliceAndBob(t, relay, stores);
  const carol = await (await appOn(t, relay)).connect('carol');
  const [toCarol, errors] = [messagesOf(carol), errorsOf(alice)];
  const action = new RegExp(`app\\.trust\\('bob', '${bob.fingerprint()}'\\)`);
  for (const content of ['one', 'two']) {
    await assert.rejects(alice.send('bob', content), { code: 'IDENTITY_CHANGED', peerId: 'bob', retryable: false, action });
  }
  await bob.send('alice', 'held back');
  assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
  for (const content of ['three', 'four']) await alice.send('carol', content);
  assert.deepEqual((await toCarol.take(2)).map(({ content }) => content), ['three', 'four']);
  assert.equal(asked.filter((peerId) => peerId === 'carol').length, 2);
  assert.deepEqual([toAlice.size, toBob.size], [0, 0]);
  await first.trust('bob', bob.fingerprint());
  assert.equal((await toAlice.next()).content, 'held back');
  stores.tofu.storeFingerprint = async () => {};
  await (await appOn(t, relay)).connect('dave');
  await assert.rejects(alice.send('dave', 'five'), { code: 'STORAGE_FAILED', message: /has kept nothing/ });
});

test('app.trust replaces a pin where the store can, and says so where it cannot', async (t) => {
  for (const canReplace of [true, false]) {
    const relay = await mockRelay(t);
    const stores = adapters();
    if (!canReplace) delete stores.tofu.replaceFingerprint;
    const { alice, bob, toBob, first } = await aliceAndBob(t, relay, stores);
    await alice.send('bob', 'one', { receipt: true });
    await bob.disconnect();
    const errors = errorsOf(alice);
    const impostor = await (await appOn(t, relay)).connect('bob');
    assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
    const trusting = first.trust('bob', impostor.fingerprint());
    if (canReplace) {
      await trusting;
      const toImpostor = messagesOf(impostor);
      await alice.send('bob', 'two');
      assert.equal((await toImpostor.next()).content, 'two');
    } else {
      const action = /replaceFingerprint\(peerId, fingerprint, userId\).*app\.trust\(\)/;
      await assert.rejects(trusting, { name: 'StvorError', code: 'STORAGE_FAILED', retryable: false, peerId: 'bob', action });
    }
    assert.equal(toBob.size, 1);
    await first.disconnect();
    await impostor.disconnect();
  }
});
