// app.mjs
import { createApp } from '@stvor/sdk';

async function main() {
  const app = await createApp({
    appToken: 'stvor_demo_token',
    relayUrl: 'ws://localhost:8080'
  });

  // Connect Bob (receiver)
  const bob = await app.connect('bob@example.com');
  bob.onMessage((from, msg) => {
    console.log(`📩 [Bob] from ${from}: ${msg}`);
  });

  // Connect Alice (sender)
  const alice = await app.connect('alice@example.com');
  alice.onMessage((from, msg) => {
    console.log(`📩 [Alice] from ${from}: ${msg}`);
  });

  // SDK handles all E2EE internally (no WebSocket code needed!)
  await alice.send('bob@example.com', 'Hello Bob! This is E2EE! 🔐');
  console.log('✅ Alice sent message');

  // Bob replies
  await bob.send('alice@example.com', 'Hi Alice! Got it! 🎉');
  console.log('✅ Bob sent message');

  // Keep alive to see messages
  await new Promise(r => setTimeout(r, 1000));
}

main().catch(console.error);
