// A TCP proxy that interferes at a moment that a test names.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const USUAL_PORTS = { 'redis:': 6379, 'postgres:': 5432, 'postgresql:': 5432 };

/**
 * Forwards to the host and port of `url`. Until the clients have sent `mark` `count` times, `hold(count, mark)` keeps
 * back what the server answers; at that moment, `sever(count, mark)` breaks every connection. Closed after the test.
 */
export async function proxyTo(t, url) {
  const target = new URL(url);
  const state = { sockets: new Set(), remaining: 0, mark: undefined, holding: false, held: [], reached: () => {} };
  const server = createServer((socket) => join(state, socket, connect(Number(target.port || USUAL_PORTS[target.protocol]), target.hostname)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const breakAll = () => {
    for (const socket of state.sockets) socket.destroy();
  };
  const release = () => {
    state.holding = false;
    for (const [socket, chunk] of state.held.splice(0)) socket.write(chunk);
  };
  t.after(() => {
    breakAll();
    return new Promise((resolve) => server.close(resolve));
  });
  const hold = (count, mark) => Object.assign(state, { remaining: count, mark, holding: true, reached: release });
  const sever = (count, mark) => Object.assign(state, { remaining: count, mark, holding: false, reached: breakAll });
  const address = new URL(url);
  address.host = `127.0.0.1:${server.address().port}`;
  return { url: address.href, hold, sever };
}

function join(state, client, server) {
  for (const [socket, other] of [[client, server], [server, client]]) {
    state.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      state.sockets.delete(socket);
      other.destroy();
    });
  }
  client.on('data', (chunk) => {
    server.write(chunk);
    if (state.remaining <= 0) return;
    state.remaining -= chunk.toString('latin1').split(state.mark).length - 1;
    if (state.remaining <= 0) state.reached();
  });
  server.on('data', (chunk) => {
    if (state.holding) state.held.push([client, chunk]);
    else client.write(chunk);
  });
}
