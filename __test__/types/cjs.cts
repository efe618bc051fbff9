// What a user writes in a CommonJS module: destructuring at once, or awaiting load().
import sdk = require('@stvor/sdk');
import ratchet = require('@stvor/sdk/ratchet');
import mockRelay = require('@stvor/sdk/mock-relay');

const { createApp, StvorError } = sdk;

async function main(): Promise<string> {
  const { Stvor, STVOR_ERRORS } = await sdk.load();
  const relay: mockRelay.MockRelay = await mockRelay.startMockRelay();
  const app: sdk.StvorApp = await Stvor.init({ appToken: 'stvor_dev_test123', relayUrl: relay.url });
  const bob: sdk.StvorFacadeClient = await app.connect('bob');
  bob.onMessage((message) => message.content);
  bob.onMessage((from, content) => console.log(from, content));
  const other = await createApp({ appToken: 'stvor_dev_test123' });
  await other.disconnect();
  const { generateKeyPair } = await ratchet.load();
  const pair: ratchet.KeyPair = generateKeyPair();
  return `${pair.publicKey.length} ${STVOR_ERRORS.AUTH_FAILED}`;
}

main().catch((error: unknown) => {
  if (error instanceof StvorError) console.error(error.code);
});
