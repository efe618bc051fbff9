// The examples, which are the documentation's, run as they stand. Where an example names a fixed port that is in
// use on this machine, a copy with another port runs instead.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createApp } from '@stvor/sdk';
import { messagesOf } from './support/collect.mjs';
import { program, root } from './support/child.mjs';
import { mockRelay } from './support/relays.mjs';

const example = (name) => join(root, 'examples', name);

/** `wanted` if nobody listens there, on either loopback address, else a free port. */
async function freePort(wanted) {
  for (const host of ['127.0.0.1', '::1']) {
    const server = createServer().listen(wanted, host);
    try {
      await once(server, 'listening');
    } catch (error) {
      if (error.code === 'EADDRINUSE') return freePort(0);
      continue; // no such address on this machine
    }
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    if (wanted === 0) return port;
  }
  return wanted;
}

/** Runs an example, with `port` in the place of the port it names if they differ. */
function run(t, name, namedPort, port) {
  if (namedPort === port) return program(t, { file: example(name) });
  const code = readFileSync(example(name), 'utf8').replaceAll(String(namedPort), String(port));
  return program(t, { code, type: name.endsWith('.cjs') ? 'commonjs' : 'module' });
}

const fullOutput = [
  '✅ Alice sent message',
  '✅ Bob sent message',
  '📩 [Bob] from alice@example.com: Hello Bob! This is E2EE! 🔐',
  '📩 [Alice] from bob@example.com: Hi Alice! Got it! 🎉',
];

/** The two received lines may come in either order; both come after both sent lines. */
function assertFullOutput(lines) {
  assert.deepEqual(lines.slice(0, 2), fullOutput.slice(0, 2));
  assert.deepEqual(lines.slice(2).sort(), fullOutput.slice(2).sort());
}

async function untilAll(child, expected) {
  for (const line of expected) await child.line(line);
  child.child.kill();
  await child.ended;
  return child.lines;
}

test('full working example: app.mjs over relay-server.mjs, output as documented', async (t) => {
  const port = await freePort(8080);
  const relay = run(t, 'full-working-example/relay-server.mjs', 8080, port);
  assert.equal(await relay.line(/Relay running/), `🔌 Relay running on ws://localhost:${port}`);
  assertFullOutput(await untilAll(run(t, 'full-working-example/app.mjs', 8080, port), fullOutput));
});

test('full working example: app.mjs over the bundled relay, output as documented', async (t) => {
  const { port } = await mockRelay(t);
  for (let round = 0; round < 3; round += 1) {
    assertFullOutput(await untilAll(run(t, 'full-working-example/app.mjs', 8080, port), fullOutput));
  }
});

test('quick start: http:// address, a token of another kind', async (t) => {
  const { port } = await mockRelay(t, { port: await freePort(3002), tokenPrefixes: '' });
  const lines = await untilAll(run(t, 'quick-start.mjs', 3002, port), ['✅ Sent', '📩 alice@example.com: Hello! 🔐']);
  assert.equal(lines.length, 2);
});

test('minimal example: the peer reads it, and is answered', async (t) => {
  const relay = await mockRelay(t, { port: await freePort(8080), tokenPrefixes: '' });
  const child = run(t, 'minimal.mjs', 8080, relay.port);
  const app = await createApp({ appToken: 'demo_token', relayUrl: relay.url });
  t.after(() => app.disconnect());
  const peer = await app.connect('peer@test.com');
  assert.equal((await messagesOf(peer).next()).content, 'Encrypted message!');
  await peer.send('user@test.com', 'read');
  await child.line('read');
});

test('mock relay example', async (t) => {
  const { port } = await mockRelay(t, { port: await freePort(4444) });
  await run(t, 'mock-relay.mjs', 4444, port).line('alice: Hello from local dev! 🔐');
});

test('migration check: prints its line and exits by itself', async (t) => {
  const { port } = await mockRelay(t, { port: await freePort(4444) });
  const { code, lines } = await run(t, 'migration-check.mjs', 4444, port).ended;
  assert.deepEqual([code, lines], [0, ['✅ E2EE работает: Hello from v3.0! 🔐']]);
});

for (const name of ['esm.mjs', 'commonjs.cjs']) {
  test(`module set-up: ${name}`, async (t) => {
    const { port } = await mockRelay(t, { port: await freePort(4444) });
    const { code, lines, stderr } = await run(t, name, 4444, port).ended;
    assert.deepEqual([code, lines, stderr], [0, ['ready: false'], '']);
  });
}

test('ratchet example', async (t) => {
  const { code, lines } = await program(t, { file: example('ratchet.mjs') }).ended;
  assert.deepEqual([code, lines], [0, ['header: 85 bytes', 'Hello! 🔐']]);
});
