// Compiles with "module": "NodeNext" or "moduleResolution": "Bundler", strict, without skipLibCheck.
import { createApp, StvorError, type DecryptedMessage } from '@stvor/sdk';

const app = await createApp({ appToken: 'stvor_dev_test123', relayUrl: 'ws://localhost:4444' });
const alice = await app.connect('alice');
const bob = await app.connect('bob');

bob.onMessage((message: DecryptedMessage) => {
  console.log(`${message.timestamp.toISOString()} ${message.senderId}: ${message.content}`);
});
bob.onMessage((from, content) => console.log(`${from}: ${content}`));
bob.onError((error) => console.error(error.code, error.action));

try {
  const { id, status } = await alice.send('bob', 'Hello from TypeScript! 🔐', { timeout: 5_000 });
  console.log(id, status);
} catch (error) {
  if (error instanceof StvorError && error.retryable) console.error(error.action);
} finally {
  await app.disconnect();
}
