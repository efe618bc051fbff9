// StvorError: how it reads, what it carries, and every code that can be provoked without a relay's help.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createApp, StvorApp, StvorError, StvorFacadeClient, STVOR_ERRORS } from '@stvor/sdk';
import { appOn, fakeRelay, mockRelay, users } from './support/relays.mjs';
import { errorsOf, messagesOf, rejection } from './support/collect.mjs';
import { program } from './support/child.mjs';

const require = createRequire(import.meta.url);
const original = [
  'INVALID_APP_TOKEN', 'AUTH_FAILED', 'RELAY_UNAVAILABLE', 'RECIPIENT_NOT_FOUND', 'RECIPIENT_TIMEOUT',
  'CLIENT_NOT_READY', 'DELIVERY_FAILED', 'QUOTA_EXCEEDED', 'RATE_LIMITED',
];

/** Nothing listens there: the port was free a moment ago. */
async function deadUrl(t) {
  const relay = await fakeRelay(t, {});
  await relay.close();
  return relay.url;
}

test('STVOR_ERRORS maps every code to itself and cannot be changed', () => {
  for (const code of original) assert.equal(STVOR_ERRORS[code], code);
  for (const [key, value] of Object.entries(STVOR_ERRORS)) assert.equal(key, value);
  assert.ok(Object.isFrozen(STVOR_ERRORS));
});

test('an error prints as message and code, and keeps the bare message', () => {
  const cause = new Error('socket hung up');
  const error = new StvorError('RELAY_UNAVAILABLE', 'Relay handshake timeout', 'Start the relay.', true, { cause });
  const printed = 'StvorError: Relay handshake timeout [RELAY_UNAVAILABLE]';
  assert.equal(String(error), printed);
  assert.equal(error.stack.split('\n')[0], printed);
  assert.equal(inspect(error).split('\n')[0], printed);
  assert.equal(error.message, 'Relay handshake timeout');
  assert.equal(error.name, 'StvorError');
  assert.equal(error.code, 'RELAY_UNAVAILABLE');
  assert.equal(error.action, 'Start the relay.');
  assert.equal(error.retryable, true);
  assert.equal(error.cause, cause);
  assert.ok(error instanceof Error);
  assert.deepEqual(Object.keys(error), ['code', 'action', 'retryable']);
  assert.deepEqual(JSON.parse(JSON.stringify(error)), { code: 'RELAY_UNAVAILABLE', action: 'Start the relay.', retryable: true });
});

test('instanceof holds across import and require', async () => {
  const sdk = require('@stvor/sdk');
  assert.equal(sdk.StvorError, StvorError);
  assert.equal((await sdk.load()).StvorError, StvorError);
  assert.ok((await rejection(sdk.createApp())) instanceof StvorError);
});

test('what nobody catches is printed with code and action', async (t) => {
  const code = `import { createApp } from '@stvor/sdk'; await createApp({ appToken: '' });`;
  const { stderr, code: exit } = await program(t, { code }).ended;
  assert.equal(exit, 1);
  assert.match(stderr, /^StvorError: Invalid AppToken format\. .* \[INVALID_APP_TOKEN\]$/m);
  assert.match(stderr, /action: "Pass the AppToken that your relay's operator gave you; /);
});

test("a rejection's stack names the callers that awaited it", async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice');
  async function theCaller() {
    await alice.send('nobody', 'x', { waitForRecipient: false });
  }
  async function itsCaller() {
    await theCaller();
  }
  const error = await rejection(itsCaller());
  assert.match(error.stack, /at async theCaller/);
  assert.match(error.stack, /at async itsCaller/);
});

test('INVALID_APP_TOKEN: anything but printable text', async () => {
  for (const appToken of [undefined, null, '', ' ', 7, {}, ['stvor_x'], 'stvor x', 'x'.repeat(4097), 'stvor_\n', 'stvor_\u00e9', 'stvor_\0', ' stvor_x', 'stvor_x ']) {
    const error = await rejection(createApp({ appToken }));
    assert.equal(error.code, 'INVALID_APP_TOKEN');
    assert.equal(error.message, 'Invalid AppToken format. AppToken must be a non-empty string of printable characters.');
    assert.equal(error.action, "Pass the AppToken that your relay's operator gave you; the mock relay takes any that begins with stvor_.");
    assert.equal(error.retryable, false);
  }
});

test('AUTH_FAILED: a token that the relay does not accept, over WebSocket and HTTP addresses', async (t) => {
  const relay = await mockRelay(t);
  for (const relayUrl of [relay.url, relay.httpUrl]) {
    const error = await rejection(createApp({ appToken: 'sk_live_xxx', relayUrl }));
    assert.equal(error.code, 'AUTH_FAILED');
    assert.equal(error.message, 'The AppToken is invalid or has been revoked.');
    assert.equal(error.action, "Ask your relay's operator for a new AppToken; the mock relay takes any that begins with stvor_.");
    assert.equal(error.retryable, false);
  }
});

test('RELAY_UNAVAILABLE: at once when nothing listens', async (t) => {
  const url = await deadUrl(t);
  for (const relayUrl of [url, url.replace('ws', 'http')]) {
    const started = performance.now();
    const error = await rejection(createApp({ appToken: 'stvor_x', relayUrl }));
    assert.equal(error.code, 'RELAY_UNAVAILABLE');
    assert.equal(error.message, 'Cannot connect to STVOR relay server.');
    assert.match(error.action, /^Check relayUrl, that a relay runs there, and the network; .*npx @stvor\/sdk mock-relay$/);
    assert.match(error.cause.message, new RegExp(`^${relayUrl}: .*refused`, 'i'), 'what the network said');
    assert.equal(error.cause.stack, `Error: ${error.cause.message}`);
    assert.equal(error.retryable, true);
    assert.ok(performance.now() - started < 3_000, 'not after the timeout of ten seconds');
  }
});

test('RECIPIENT_NOT_FOUND: nobody of that name, without waiting', async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice');
  const error = await rejection(alice.send('nobody@example.com', 'x', { waitForRecipient: false }));
  assert.equal(error.code, 'RECIPIENT_NOT_FOUND');
  assert.equal(error.message, 'User "nobody@example.com" not found. They may not have registered with STVOR.');
  assert.equal(error.action, 'Ask the recipient to initialize STVOR first, or verify the userId is correct.');
  assert.equal(error.retryable, false);
  assert.equal(error.peerId, 'nobody@example.com');
});

test('RECIPIENT_TIMEOUT: nobody of that name within the time given', async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice');
  const error = await rejection(alice.send('nobody', 'x', { timeout: 60 }));
  assert.equal(error.code, 'RECIPIENT_TIMEOUT');
  assert.equal(error.message, 'Timed out waiting for user "nobody" after 60ms. The user may not have registered with STVOR yet.');
  assert.equal(error.action, 'Ensure the recipient has called connect() and is online, or increase the timeout.');
  assert.equal(error.retryable, true);
});

test('CLIENT_NOT_READY: after disconnect, and on classes made by hand', async (t) => {
  const relay = await mockRelay(t);
  const { app, alice } = await users(t, relay, 'alice', 'bob');
  await alice.disconnect();
  const error = await rejection(alice.send('bob', 'x'));
  assert.equal(error.code, 'CLIENT_NOT_READY');
  assert.equal(error.message, 'Client is not ready. Call connect() first and await it.');
  assert.equal(error.action, 'Await app.connect() before sending messages; after client.disconnect(), connect again, after app.disconnect() with a new app.');
  assert.equal(error.retryable, false);
  assert.equal((await rejection(alice.waitForUser('bob'))).code, 'CLIENT_NOT_READY');
  await app.disconnect();
  assert.equal((await rejection(app.connect('carol'))).code, 'CLIENT_NOT_READY');
  assert.equal((await rejection(app.trust('bob', 'a'.repeat(64)))).code, 'CLIENT_NOT_READY');
  for (const Class of [StvorApp, StvorFacadeClient]) assert.throws(() => new Class(), { code: 'CLIENT_NOT_READY' });
});

test('CONNECTED_ELSEWHERE: the same user connected a second time, told where nothing arrives any more', async (t) => {
  const relay = await mockRelay(t);
  const [{ alice }, { bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
  const told = errorsOf(bob);
  const { bob: second } = await users(t, relay, 'bob');
  const arrived = messagesOf(second);
  const error = await told.next();
  assert.equal(error.code, 'CONNECTED_ELSEWHERE');
  assert.equal(error.message, 'Another client has connected as "bob": the relay delivers to that one, and nothing more arrives here.');
  assert.equal(error.action, 'If that is not meant, disconnect both, then connect the one that is to stay: whoever connects last is delivered to.');
  assert.equal(error.retryable, false);
  await alice.send('bob', 'hello');
  assert.equal((await arrived.next()).content, 'hello');
});

test('PAYLOAD_TOO_LARGE: more than a relay carries', async (t) => {
  const { alice } = await users(t, await mockRelay(t), 'alice', 'bob');
  const error = await rejection(alice.send('bob', Buffer.alloc(2 << 20)));
  assert.equal(error.code, 'PAYLOAD_TOO_LARGE');
  assert.ok(error.action.length > 0);
});

/** An HTTP relay that accepts everybody and answers some requests as the test says. */
function httpRelay(t, answers) {
  return fakeRelay(t, {
    onRequest(request, response) {
      const route = `${request.method} ${request.url.split('/')[1]}`;
      const [status, body] = answers[route] ?? {
        'GET health': [200, { status: 'ok', server: 'other' }],
        'POST register': [200, { status: 'registered' }],
        'GET messages': [200, { messages: [], count: 0 }],
        'GET usage': [200, { used: 0, limit: -1 }],
      }[route] ?? [404, { error: 'Not found' }];
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    },
  });
}

async function sendOver(t, answers) {
  const { getPublicKeys } = await otherUser();
  const relay = await httpRelay(t, { 'GET public-key': [200, { publicKeys: getPublicKeys }], ...answers });
  const app = await appOn(t, { url: relay.httpUrl }, { appToken: 'sk_live_x' });
  const alice = await app.connect('alice');
  return rejection(alice.send('bob', 'x', { timeout: 300 }));
}

async function otherUser() {
  const manager = new (require('@stvor/sdk').CryptoSessionManager)('bob');
  await manager.initialize();
  return { getPublicKeys: manager.getPublicKeys() };
}

test('QUOTA_EXCEEDED: the relay says that the quota is used up', async (t) => {
  const error = await sendOver(t, { 'GET usage': [200, { used: 5, limit: 5 }] });
  assert.equal(error.code, 'QUOTA_EXCEEDED');
  assert.equal(error.message, 'Message quota exceeded for this AppToken.');
  assert.equal(error.action, 'UPGRADE_PLAN');
  assert.equal(error.retryable, false);
});

test('RATE_LIMITED: the relay answers 429', async (t) => {
  const error = await sendOver(t, { 'POST message': [429, { error: 'Too many requests', code: 'RATE_LIMITED' }] });
  assert.equal(error.code, 'RATE_LIMITED');
  assert.equal(error.message, 'Rate limit exceeded. Please try again later.');
  assert.equal(error.action, 'WAIT');
  assert.equal(error.retryable, true);
});

test('DELIVERY_FAILED: the relay does not take the message', async (t) => {
  const error = await sendOver(t, { 'POST message': [400, { error: 'no' }] });
  assert.equal(error.code, 'DELIVERY_FAILED');
  assert.equal(error.message, 'Failed to deliver message to bob.');
  assert.equal(error.action, 'Check that the recipient exists and try again.');
  assert.equal(error.retryable, true);
});

test('INVALID_BUNDLE: keys that their owner did not sign are reported, and their owner counts as absent', async (t) => {
  const { getPublicKeys } = await otherUser();
  const publicKeys = { ...getPublicKeys, signedPreKeySignature: '' };
  const relay = await httpRelay(t, { 'GET public-key': [200, { publicKeys }] });
  const app = await appOn(t, { url: relay.httpUrl });
  const alice = await app.connect('alice');
  const errors = errorsOf(alice);
  const error = await rejection(alice.send('bob', 'x', { timeout: 300 }));
  assert.equal(error.code, 'RECIPIENT_TIMEOUT');
  assert.deepEqual([(await errors.next()).code], ['INVALID_BUNDLE']);
});
