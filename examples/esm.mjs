// Works with "type": "module" in package.json or in .mjs files.
import { Stvor } from '@stvor/sdk';

const app = await Stvor.init({
  appToken: 'stvor_dev_test123',
  relayUrl: 'ws://localhost:4444'
});

console.log('ready:', app.isReady());
await app.disconnect();
