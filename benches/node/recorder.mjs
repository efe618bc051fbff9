// A front to a relay that lets WebSocket clients through and notes what they send.
import { EventEmitter, once } from 'node:events';
import { WebSocket, WebSocketServer } from 'ws';

/**
 * Clients of `url` reach the relay at `relayUrl`, frame by frame. `wire3`: announcements lose their
 * `v4`, so that clients of ours speak wire 3. Emits `message` with the length in bytes of each
 * `message` frame that a client has sent, and `prekeys` with how many one-time prekeys the relay
 * has of somebody, `found` with whether one was given.
 */
export async function recorder(relayUrl, { wire3 = false } = {}) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const events = new EventEmitter();
  server.on('connection', async (client, request) => {
    client.pause();
    const { authorization, 'stvor-features': features } = request.headers;
    const relay = new WebSocket(relayUrl, { headers: { ...(authorization && { authorization }), ...(features && { 'stvor-features': features }) } });
    relay.on('message', (data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'prekeys') events.emit('prekeys', frame.left);
      if (frame.type === 'found') events.emit('found', frame.prekey !== undefined);
      client.send(data, { binary: false });
    });
    client.on('message', (data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'message') events.emit('message', data.length);
      const changed = wire3 && frame.type === 'announce' && delete frame.pub.v4;
      relay.send(changed ? JSON.stringify(frame) : data, { binary: false });
    });
    client.on('close', () => relay.close());
    relay.on('close', () => client.close());
    await once(relay, 'open');
    client.resume();
  });
  await once(server, 'listening');
  return Object.assign(events, { url: `ws://127.0.0.1:${server.address().port}`, close: () => server.close() });
}
