// `@stvor/sdk/mock-relay`: the bundled relay as a child process, and its HTTP side as the documentation shows it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StvorError } from '@stvor/sdk';
import { startMockRelay } from '@stvor/sdk/mock-relay';
import { program } from './support/child.mjs';
import { appOn, mockRelay, users } from './support/relays.mjs';

const get = async (relay, path) => {
  const response = await fetch(relay.httpUrl + path);
  return { status: response.status, body: await response.json() };
};

test('it starts on a free port and says where', async (t) => {
  const [one, two] = [await mockRelay(t), await mockRelay(t)];
  assert.notEqual(one.port, two.port);
  for (const { url, httpUrl, port } of [one, two]) {
    assert.match(url, new RegExp(`^ws://[^/]+:${port}/?$`));
    assert.match(httpUrl, new RegExp(`^http://[^/]+:${port}/?$`));
  }
});

test('GET /health and GET /status/<user>', async (t) => {
  const relay = await mockRelay(t);
  const health = await get(relay, '/health');
  assert.equal(health.status, 200);
  assert.equal(health.body.status, 'ok');
  const { alice } = await users(t, relay, 'alice');
  assert.equal((await get(relay, '/status/alice')).body.online, true);
  assert.equal((await get(relay, '/status/nobody')).body.online, false);
  await alice.disconnect();
});

test('close() ends it, repeatedly; the port is free again', async (t) => {
  const relay = await mockRelay(t);
  await Promise.all([relay.close(), relay.close()]);
  await relay.close();
  await assert.rejects(fetch(`${relay.httpUrl}/health`));
  const again = await mockRelay(t, { port: relay.port });
  assert.equal(again.port, relay.port);
});

test('a port in use: a StvorError with the words of the relay', async (t) => {
  const { port } = await mockRelay(t);
  await assert.rejects(startMockRelay({ port }), (error) => {
    assert.ok(error instanceof StvorError);
    assert.equal(error.code, 'RELAY_UNAVAILABLE');
    assert.match(error.message, new RegExp(`^The mock relay did not start: .*${port}`));
    assert.ok(!error.message.includes('\n'));
    return true;
  });
});

test('wrong options are INVALID_ARGUMENT and name the option', async () => {
  const wrong = { port: [null, -1, 65_536, 1.5, '80'], host: [7, null, [7]], verbose: ['yes', null], tokenPrefixes: [7, null, [null]] };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      await assert.rejects(startMockRelay({ [name]: value }), { code: 'INVALID_ARGUMENT', message: new RegExp(`^${name} `) });
    }
  }
  await assert.rejects(startMockRelay(7), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(startMockRelay({ prot: 0 }), { code: 'INVALID_ARGUMENT', message: /^options .*"prot"/, action: /port, host, verbose, tokenPrefixes/ });
});

test('tokenPrefixes says which tokens are accepted', async (t) => {
  const relay = await mockRelay(t, { tokenPrefixes: ['sk_', '--odd'] });
  for (const appToken of ['sk_live_xxx', '--odd_token']) await appOn(t, relay, { appToken });
  await assert.rejects(appOn(t, relay, { appToken: 'stvor_x' }), { code: 'AUTH_FAILED' });
});

test('host says where it listens', async (t) => {
  const relay = await mockRelay(t, { host: '127.0.0.1' });
  assert.equal(new URL(relay.url).hostname, '127.0.0.1');
  assert.equal((await get(relay, '/health')).status, 200);
});

const start = `import { startMockRelay } from '@stvor/sdk/mock-relay'; const relay = await startMockRelay(); console.log(relay.httpUrl);`;

test('a process whose relay is closed exits by itself', async (t) => {
  const { code, stderr } = await program(t, { code: `${start} await relay.close();` }).ended;
  assert.deepEqual([code, stderr], [0, '']);
});

test('the relay keeps its process alive, and ends with it however that dies', async (t) => {
  const child = program(t, { code: start });
  const httpUrl = await child.line(/^http/);
  assert.equal((await fetch(`${httpUrl}/health`)).status, 200);
  child.child.kill('SIGKILL');
  await child.ended;
  const alive = () => fetch(`${httpUrl}/health`).then(() => true, () => false);
  while (await alive()) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('await using closes it, where the runtime has Symbol.asyncDispose', async () => {
  const relay = await startMockRelay();
  const dispose = relay[Symbol.asyncDispose ?? 'close'];
  await dispose.call(relay);
  await assert.rejects(fetch(`${relay.httpUrl}/health`));
});

test('verbose relays tell on stderr what they do', async (t) => {
  const code = `import { startMockRelay } from '@stvor/sdk/mock-relay'; import { createApp } from '@stvor/sdk';
    const relay = await startMockRelay({ verbose: true });
    const app = await createApp({ appToken: 'stvor_x', relayUrl: relay.url });
    await app.connect('alice'); await app.disconnect(); await relay.close();`;
  const { code: exit, stderr } = await program(t, { code }).ended;
  assert.equal(exit, 0);
  assert.ok(stderr.length > 0);
});
