// Local development against the bundled relay: npx stvor mock-relay
import { Stvor } from '@stvor/sdk';

// Укажите адрес mock relay вместо продакшен-сервера
const app = await Stvor.init({
  appToken: 'stvor_dev_test123', // любой токен с stvor_ префиксом
  relayUrl: 'ws://localhost:4444' // mock relay
});

const alice = await app.connect('alice');
const bob = await app.connect('bob');

bob.onMessage((from, msg) => {
  console.log(`${from}: ${msg}`);
});

await alice.send('bob', 'Hello from local dev! 🔐');
