// A user in a process of its own, with a store that outlives it: prints what it receives and what goes wrong.
// `USER_STORE` is what `crash-peer.mjs` takes; commands on stdin: `send PEER TEXT`.
import { createInterface } from 'node:readline';
import { createApp } from '@stvor/sdk';
import { adaptersOf } from './crash-stores.mjs';

const { USER_ID: userId, USER_RELAY: relayUrl, USER_TOKEN: appToken = 'stvor_test' } = process.env;
const storageAdapters = await adaptersOf(JSON.parse(process.env.USER_STORE));
const app = await createApp({ appToken, relayUrl, productionMode: true, storageAdapters });
const client = await app.connect(userId);
client.onError((error) => console.log(`error ${error.code}`));
client.onMessage(({ senderId, content }) => console.log(`message ${senderId} ${content}`));
console.log(`ready ${client.fingerprint()}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [, peer, text] = /^send (\S+) (.*)$/.exec(line);
  await client.send(peer, text, { receipt: true });
  console.log(`received ${text}`);
}
await app.disconnect();
await storageAdapters.close?.();
