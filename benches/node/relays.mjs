// The relays, each as a process of its own on a free port.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { example } from './examples.mjs';

const require = createRequire(import.meta.url);

/** The bundled mock relay: `{url, pid, close()}`. */
export function mockRelay() {
  const { binaryPath } = require('./node_modules/@stvor/sdk/platform.js');
  return nativeRelay(binaryPath(), ['mock-relay', '--port', '0', '--output', 'json', '--exit-on-stdin-close']);
}

/**
 * Two of the mock relay's kind, `[wire4, wire3]`: the second takes out of bundles what tells of wire 4, so
 * that clients of ours speak wire 3. Both are behind the same front, whose cost thus falls on both.
 */
export function relaysOfBothWires() {
  const program = example('stvor-relay', 'without_v4');
  return Promise.all([nativeRelay(program, ['--keep']), nativeRelay(program, [])]);
}

async function nativeRelay(program, args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const { url } = JSON.parse(await firstLine(child));
  return { url, pid: child.pid, close: () => child.stdin.end() };
}

/** The documentation's relay-server.mjs on `ws`, word for word but for its port. */
export async function documentedRelay() {
  const port = await freePort();
  const source = readFileSync(new URL('../../examples/full-working-example/relay-server.mjs', import.meta.url), 'utf8');
  const child = spawn(process.execPath, ['--input-type=module', '-'], {
    cwd: new URL('.', import.meta.url),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(source.replaceAll('8080', String(port)));
  await firstLine(child);
  return { url: `ws://127.0.0.1:${port}`, pid: child.pid, close: () => child.kill() };
}

async function firstLine(child) {
  const lines = createInterface({ input: child.stdout });
  const [line] = await once(lines, 'line');
  return line;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
