// One end of a delivery between plain `ws` clients: `node plain.mjs sender|receiver URL`. The frame
// has the fields and the length of the SDK's, with the text where the ciphertext would be.
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import WebSocket from 'ws';
import { serve } from './ends.mjs';

const [role, relayUrl] = process.argv.slice(2);
const header = 'h'.repeat(114); // 85 bytes in base64url
const sealedLength = 107; // 64 bytes and a tag of 16, in base64url

const socket = new WebSocket(relayUrl);
await once(socket, 'open');
socket.send(JSON.stringify({ type: 'announce', user: role, pub: {} }));

serve({
  role,
  onMessage: (handler) =>
    socket.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.type === 'message') handler(frame.payload.ciphertext);
    }),
  send: (text) =>
    new Promise((resolve, reject) => {
      const payload = { ciphertext: text.padEnd(sealedLength), header };
      const frame = { type: 'message', id: randomUUID(), to: 'receiver', from: role, payload, timestamp: Date.now() };
      socket.send(JSON.stringify(frame), (error) => (error ? reject(error) : resolve()));
    }),
});
