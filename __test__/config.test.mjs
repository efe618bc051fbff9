// createApp, its other names, and what each option accepts.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import * as sdk from '@stvor/sdk';
import { mockRelay, TOKEN } from './support/relays.mjs';
import { warnings } from './support/collect.mjs';

const { createApp, init, Stvor, StvorApp, StvorFacadeClient } = sdk;
const invalid = (argument) => ({ name: 'StvorError', code: 'INVALID_ARGUMENT', message: new RegExp(`^${argument} `) });

const rootNames = [
  'Stvor', 'StvorApp', 'StvorFacadeClient', 'StvorError', 'STVOR_ERRORS', 'createApp', 'init', 'load',
  'SafetyNumber', 'importLegacy', 'verifyAttestation',
  'CryptoSessionManager', 'generateFingerprint', 'verifyMetricsSignature', 'initializeCrypto', 'generateKeyPair',
  'ecSign', 'ecVerify', 'x3dhSymmetric', 'establishSession', 'encryptMessage', 'decryptMessage', 'forceRatchet',
  'serializeSession', 'deserializeSession',
  'embeddedStorage', 'postgresStorage', 'redisReplayCache', 'RedisReplayCache',
];

test('every name can be imported, required, and taken from load()', async () => {
  const required = createRequire(import.meta.url)('@stvor/sdk');
  const loaded = await required.load();
  for (const name of rootNames) {
    assert.notEqual(sdk[name], undefined, name);
    assert.equal(required[name], sdk[name], name);
    assert.equal(loaded[name], sdk[name], name);
  }
  assert.deepEqual(Object.keys(required).sort(), [...rootNames].sort());
  assert.equal(typeof createRequire(import.meta.url)('@stvor/sdk/mock-relay').startMockRelay, 'function');
});

test('createApp, init, Stvor.init and Stvor.createApp are one function', () => {
  for (const other of [init, Stvor.init, Stvor.createApp]) assert.equal(other, createApp);
});

test('an app is made for a relay that is reached, over ws:// and http://', async (t) => {
  const relay = await mockRelay(t);
  for (const relayUrl of [relay.url, `${relay.url}/`, relay.httpUrl, `${relay.httpUrl}/`]) {
    const app = await createApp({ appToken: TOKEN, relayUrl });
    assert.ok(app instanceof StvorApp);
    await app.disconnect();
  }
});

test('any printable token is accepted where the relay accepts it', async (t) => {
  const relay = await mockRelay(t, { tokenPrefixes: '' });
  for (const appToken of ['sk_live_xxx', 'demo_token', '~!@#$%^&*()']) {
    const app = await createApp({ appToken, relayUrl: relay.url });
    await app.disconnect();
  }
});

test('Stvor.connect gives a client whose disconnect closes its app', async (t) => {
  const relay = await mockRelay(t);
  const alice = await Stvor.connect({ userId: 'alice', appToken: TOKEN, relayUrl: relay.url });
  const bob = await Stvor.connect({ userId: 'bob', appToken: TOKEN, relayUrl: relay.url });
  assert.ok(alice instanceof StvorFacadeClient);
  const { status } = await alice.send('bob', 'hi');
  assert.equal(status, 'delivered');
  await Promise.all([alice.disconnect(), bob.disconnect()]);
  await assert.rejects(alice.send('bob', 'x'), { code: 'CLIENT_NOT_READY' });
  await assert.rejects(Stvor.connect(), invalid('options'));
  await assert.rejects(Stvor.connect({ appToken: TOKEN }), invalid('userId'));
  await assert.rejects(Stvor.connect({ userId: 'x' }), { code: 'INVALID_APP_TOKEN' });
});

test('wrong options are INVALID_ARGUMENT and name the option', async () => {
  for (const config of [undefined, null, 'stvor_x', 7, []]) await assert.rejects(createApp(config), invalid('config'));
  const wrong = {
    relayUrl: [null, '', 7, 'localhost:4444', 'ftp://x', 'ws//x', {}],
    timeout: [null, 0, -1, NaN, Infinity, '10', 2 ** 31, {}],
    pollIntervalMs: [null, 0, -1, NaN, '10', 2 ** 31],
    ca: [null, '', 7, 'no certificate', Buffer.from('x'), {}],
    legacyPeers: [null, true, '', 'never', 'ALLOW', ['allow']],
    backendUrl: [null, '', 7, 'localhost:3000', 'ws://x', {}],
    productionMode: [null, 1, 'true'],
    storageAdapters: [null, 7, 'x', []],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) await assert.rejects(createApp({ appToken: TOKEN, [name]: value }), invalid(name));
  }
});

test('legacyPeers may be allowed or refused', async (t) => {
  const relay = await mockRelay(t);
  for (const legacyPeers of ['allow', 'refuse', undefined]) {
    const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, legacyPeers });
    await app.disconnect();
  }
});

test('unknown options: one warning, which names them', async (t) => {
  const relay = await mockRelay(t);
  const queue = warnings(t);
  const config = { appToken: TOKEN, relayUrl: relay.url, retries: 3, relayURL: 'x', debug: undefined };
  const app = await createApp(config);
  const warning = await queue.next();
  assert.equal(warning.name, 'StvorWarning');
  assert.equal(warning.code, 'STVOR_UNKNOWN_OPTION');
  assert.match(warning.message, /"retries", "relayURL"\./);
  await app.disconnect();
  assert.equal(queue.size, 0);
});
