// Relays for tests: the bundled one, and plain JavaScript ones that do what the test says.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createApp } from '@stvor/sdk';
import { startMockRelay } from '@stvor/sdk/mock-relay';
import { WebSocketServer } from 'ws';

export const TOKEN = 'stvor_test';

/** The bundled relay, closed after the test. */
export async function mockRelay(t, options) {
  const relay = await startMockRelay(options);
  t.after(() => relay.close());
  return relay;
}

/** An app of the relay's, disconnected after the test. */
export async function appOn(t, relay, config) {
  const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, ...config });
  t.after(() => app.disconnect());
  return app;
}

/** An app with its users connected: `{ app, alice, bob }` for `users(t, relay, 'alice', 'bob')`. */
export async function users(t, relay, ...names) {
  const app = await appOn(t, relay);
  const clients = await Promise.all(names.map((name) => app.connect(name)));
  return { app, ...Object.fromEntries(names.map((name, i) => [name, clients[i]])) };
}

/**
 * A server on a free port whose behaviour is the test's: `onSocket(ws, request)` for WebSocket
 * connections, `onRequest(request, response)` for HTTP. Closed after the test.
 */
export async function fakeRelay(t, { onSocket, onRequest = notFound }) {
  const server = createServer(onRequest);
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (onSocket === undefined) return socket.end('HTTP/1.1 426 Upgrade Required\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (ws) => onSocket(jsonSocket(ws), request));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const close = () => {
    for (const ws of sockets.clients) ws.terminate();
    server.closeAllConnections?.();
    return new Promise((resolve) => server.close(resolve));
  };
  t.after(close);
  return { port, url: `ws://127.0.0.1:${port}`, httpUrl: `http://127.0.0.1:${port}`, sockets, close };
}

function notFound(request, response) {
  response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"Not Found"}');
}

/** Adds `json(frame)`, and `onFrame(handler)` for incoming ones. */
function jsonSocket(ws) {
  ws.json = (frame) => ws.send(JSON.stringify(frame));
  ws.onFrame = (handler) => ws.on('message', (data) => handler(JSON.parse(data.toString())));
  return ws;
}

/**
 * A small relay with the mock relay's frames in which a test changes what it wants:
 * `override(frame, ws, state)` returns true where it has dealt with a frame itself.
 */
export function frameRelay(t, override = () => false) {
  const state = { users: new Map(), keys: new Map(), frames: [] };
  const onSocket = (ws) => {
    ws.json({ type: 'handshake', status: 'ok' });
    for (const [user, pub] of state.keys) ws.json({ type: 'announce', user, pub });
    ws.onFrame((frame) => {
      state.frames.push(frame);
      if (override(frame, ws, state)) return;
      if (frame.type === 'announce') announce(state, ws, frame);
      if (frame.type === 'message') forward(state, ws, frame);
    });
  };
  return fakeRelay(t, { onSocket }).then((relay) => Object.assign(relay, state));
}

function announce(state, ws, { user, pub }) {
  state.users.set(user, ws);
  state.keys.set(user, pub);
  for (const other of new Set(state.users.values())) {
    if (other !== ws) other.json({ type: 'announce', user, pub });
  }
  // The bundled relay tells sockets of other users only; here one socket may hold them all.
  ws.json({ type: 'announce', user, pub });
}

function forward(state, ws, frame) {
  const target = state.users.get(frame.to);
  if (target === undefined || target.readyState !== 1) {
    return ws.json({ type: 'queued', id: frame.id ?? null, to: frame.to, message: 'stored' });
  }
  target.json(frame);
  ws.json({ type: 'ack', id: frame.id ?? null });
}
