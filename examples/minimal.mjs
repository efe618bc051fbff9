// The least there is, without storage adapters. Needs a relay at ws://localhost:8080 that accepts the
// token, and somebody who connects as peer@test.com within ten seconds.
import { createApp } from '@stvor/sdk';

const app = await createApp({
  appToken: 'demo_token',
  relayUrl: 'ws://localhost:8080'
  // Storage adapters optional in dev mode
});

const user = await app.connect('user@test.com');
user.onMessage((from, msg) => console.log(msg));
await user.send('peer@test.com', 'Encrypted message!');
