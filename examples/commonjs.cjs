// Works with require() in .cjs files or projects without "type": "module".
const sdk = require('@stvor/sdk');

async function main() {
  // Use the async loader
  const { Stvor } = await sdk.load();

  const app = await Stvor.init({
    appToken: 'stvor_dev_test123',
    relayUrl: 'ws://localhost:4444'
  });

  console.log('ready:', app.isReady());
  await app.disconnect();
}

main();
