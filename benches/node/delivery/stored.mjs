// One end of deliveries over the SDK with a store: `node stored.mjs sender|receiver URL STORE`, where STORE is JSON as
// `openStore` takes it with the number of `peers`. The receiver's end has that many users, the sender writes to each in turn.
import { createApp } from '@stvor/sdk';
import { serve } from './ends.mjs';
import { openStore } from './stores.mjs';

const [role, relayUrl, description] = process.argv.slice(2);
const { peers = 1, ...store } = JSON.parse(description);
const { adapters, trips } = await openStore(store);
const app = await createApp({ appToken: 'stvor_bench', relayUrl, storageAdapters: adapters, warn: () => {} });
const names = Array.from({ length: peers }, (_, i) => `receiver ${i}`);
const clients = await Promise.all((role === 'sender' ? ['sender'] : names).map((name) => app.connect(name)));
let next = 0;

serve({
  role,
  trips,
  onMessage: (handler) => clients.forEach((client) => client.onMessage((message) => handler(message.content))),
  send: (text) => clients[0].send(names[next++ % names.length], text),
});
