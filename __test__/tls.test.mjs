// Relays behind TLS with an authority of their own. Certificate and key in support/tls serve these tests only.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { test } from 'node:test';
import { createApp } from '@stvor/sdk';
import { WebSocketServer } from 'ws';
import { messagesOf, rejection } from './support/collect.mjs';
import { TOKEN } from './support/relays.mjs';

const file = (name) => readFileSync(new URL(`./support/tls/${name}`, import.meta.url));
const ca = file('ca.pem');

/** A relay in the manner of the documentation's, at a wss:// address. */
async function secureRelay(t) {
  const server = createServer({ cert: file('cert.pem'), key: file('key.pem') });
  server.on('tlsClientError', () => {});
  const users = new Map();
  new WebSocketServer({ server }).on('connection', (ws) => {
    ws.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.type === 'announce') users.set(frame.user, ws);
      for (const socket of frame.type === 'announce' ? new Set(users.values()) : [users.get(frame.to)]) socket?.send(data.toString());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `wss://127.0.0.1:${server.address().port}`;
}

test('ca: a private authority is trusted, as a string or a Buffer', async (t) => {
  const relayUrl = await secureRelay(t);
  for (const form of [ca, ca.toString(), new Uint8Array(ca)]) {
    const app = await createApp({ appToken: TOKEN, relayUrl, ca: form });
    const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
    const inbox = messagesOf(bob);
    await alice.send('bob', 'over TLS');
    assert.equal((await inbox.next()).content, 'over TLS');
    await app.disconnect();
  }
});

test('without it the relay is not trusted: RELAY_UNAVAILABLE', async (t) => {
  const relayUrl = await secureRelay(t);
  for (const url of [relayUrl, relayUrl.replace('wss', 'https')]) {
    const error = await rejection(createApp({ appToken: TOKEN, relayUrl: url }));
    assert.equal(error.code, 'RELAY_UNAVAILABLE');
    assert.match(error.cause.message, /invalid peer certificate/);
  }
});
