// The documentation's relay-server.mjs, as it stands but for its port: it drops what is sent to absent users.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createApp } from '@stvor/sdk';
import { program, root } from './child.mjs';
import { errorsOf, messagesOf } from './collect.mjs';
import { TOKEN } from './relays.mjs';

const NAMED_PORT = '8080';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The running relay: `url`, `stop()`, and `start()` to have it again on the same port, knowing nobody. */
export async function documentationRelay(t) {
  const port = await freePort();
  const code = readFileSync(join(root, 'examples/full-working-example/relay-server.mjs'), 'utf8').replaceAll(NAMED_PORT, String(port));
  let running;
  const relay = {
    url: `ws://localhost:${port}`,
    async start() {
      running = program(t, { code });
      await running.line(/Relay running/);
    },
    async stop() {
      running.child.kill('SIGKILL');
      await running.ended;
    },
  };
  await relay.start();
  return relay;
}

/**
 * A user in an app of their own: `arrive()` connects them, `leave()` disconnects them, and `inbox` has what comes from
 * stay to stay. `handles` is called with each message and may return a promise.
 */
export async function person(t, relay, name, handles = () => {}) {
  const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, timeout: 30_000 });
  t.after(() => app.disconnect());
  const someone = {
    name,
    app,
    async arrive() {
      const client = await app.connect(name);
      someone.client = client;
      someone.inbox = messagesOf(client);
      someone.errors = errorsOf(client);
      client.onMessage((message) => handles(message));
      return someone;
    },
    leave: () => someone.client.disconnect(),
    send: (to, content, options) => someone.client.send(to, content, options),
  };
  return someone.arrive();
}

/** The contents of the next `count` messages of somebody's. */
export const contents = async ({ inbox }, count) => (await inbox.take(count)).map(({ content }) => content);
