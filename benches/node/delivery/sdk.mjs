// One end of a delivery over the SDK: `node sdk.mjs sender|receiver URL`.
import { createApp } from '@stvor/sdk';
import { serve } from './ends.mjs';

const [role, relayUrl] = process.argv.slice(2);
const app = await createApp({ appToken: 'stvor_bench', relayUrl });
const client = await app.connect(role);

serve({
  role,
  onMessage: (handler) => client.onMessage((message) => handler(message.content)),
  send: (text) => client.send('receiver', text),
});
