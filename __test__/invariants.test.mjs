// The documentation's six invariants, each through the public names. I2 has a file of its own, root-key-memory;
// I4's fields are altered one by one in hostile-relay, and I3 is a property in crates/protocol/tests as well.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomBytes } from 'node:crypto';
import { decryptMessage, encryptMessage, serializeSession, StvorApp, StvorFacadeClient } from '@stvor/sdk';
import { embeddedStore, fleetStore } from './support/crash-stores.mjs';
import { clients, hostileRelay } from './support/hostile-relay.mjs';
import { mockRelay, users } from './support/relays.mjs';
import { dropSchema, services } from './support/services.mjs';
import { pair } from './support/sessions.mjs';

const program = fileURLToPath(new URL('./support/store-user.mjs', import.meta.url));

/** A user in a process of its own: `line(pattern)` waits for what it prints from now on. */
function userProcess(t, env) {
  const child = spawn(process.execPath, [program], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = [];
  const waiting = new Set();
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const check of waiting) check();
  });
  const ended = once(child, 'close');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const line = (pattern) =>
    new Promise((resolve, reject) => {
      const check = () => {
        const found = lines.find((one) => pattern.test(one));
        if (found === undefined) return;
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
      void ended.then(([code, signal]) => reject(new Error(`ended with ${code ?? signal} before ${pattern}`)));
    });
  return { child, lines, line, ended };
}

/** Each provided store, made for a test: `name => store`. */
async function provided(t) {
  const directory = await mkdtemp(join(tmpdir(), 'stvor-invariants-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const running = await services();
  t.after(() => running.close());
  const schema = `stvor_invariants_${randomBytes(6).toString('hex')}`;
  t.after(() => dropSchema(running.databaseUrl, schema));
  return { embedded: embeddedStore(directory, 'bob'), fleet: fleetStore(running, schema) };
}

test('I1: nothing is sent or received on what is not established', async (t) => {
  assert.throws(() => new StvorFacadeClient(), { code: 'CLIENT_NOT_READY' });
  assert.throws(() => new StvorApp(), { code: 'CLIENT_NOT_READY' });
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice', 'bob');
  await alice.disconnect();
  await assert.rejects(alice.send('bob', 'x'), { code: 'CLIENT_NOT_READY' });
  for (const session of [undefined, {}, { state: 'ESTABLISHED' }]) {
    assert.throws(() => encryptMessage(session, 'x'), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => decryptMessage(session, 'x', 'y'), { code: 'INVALID_ARGUMENT' });
  }
});

test('I3: a message that does not open changes nothing, and the genuine one opens afterwards', () => {
  const { alice, bob } = pair();
  const { ciphertext, header } = encryptMessage(alice, 'genuine');
  const before = serializeSession(bob);
  const bytes = Buffer.from(ciphertext, 'base64url');
  for (let at = 0; at < bytes.length; at += 3) {
    const altered = Buffer.from(bytes);
    altered[at] ^= 1;
    assert.throws(() => decryptMessage(bob, altered.toString('base64url'), header));
  }
  assert.deepEqual(serializeSession(bob), before);
  assert.equal(String(decryptMessage(bob, ciphertext, header)), 'genuine');
});

test('I5: a frame that is replayed after kill -9 and restart is refused, on each provided store', async (t) => {
  for (const [kind, store] of Object.entries(await provided(t))) {
    const relay = await hostileRelay(t);
    const env = { USER_ID: 'bob', USER_TOKEN: 'stvor_bob', USER_RELAY: relay.url, USER_STORE: JSON.stringify(store) };
    const { alice } = await clients(relay, 'alice');
    const first = userProcess(t, env);
    await first.line(/^ready/);
    await alice.client.send('bob', 'once', { receipt: true });
    const recorded = relay.frames.filter((frame) => frame.to === 'bob');
    first.child.kill('SIGKILL');
    await first.ended.catch(() => {});
    const second = userProcess(t, env);
    await second.line(/^ready/);
    recorded.forEach((frame) => relay.deliver(frame));
    await second.line(/^error REPLAY_DETECTED$/);
    await alice.client.send('bob', 'twice', { receipt: true });
    assert.deepEqual(second.lines.filter((line) => line.startsWith('message')), ['message alice twice'], kind);
  }
});

test('I6: fifty processes that start at once on an empty embedded file agree on one identity', async (t) => {
  const { embedded } = await provided(t);
  const code = `
    import { embeddedStorage } from '@stvor/sdk';
    const { path, key } = JSON.parse(process.env.STORE);
    for (;;) {
      try {
        const storage = await embeddedStorage({ path, key: Buffer.from(key, 'hex') });
        console.log((await storage.identity.getIdentityKeyPair('alice')).publicKey.toString('hex'));
        await storage.close();
        break;
      } catch (error) {
        if (error.code !== 'STORAGE_LOCKED') throw error;
        await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 20));
      }
    }`;
  const one = () =>
    new Promise((resolve, reject) => {
      const env = { ...process.env, STORE: JSON.stringify(embedded) };
      const cwd = fileURLToPath(new URL('..', import.meta.url));
      const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (more) => (text += more));
      child.on('close', (exitCode) => (exitCode === 0 ? resolve(text.trim()) : reject(new Error(`ended with ${exitCode}`))));
    });
  const identities = await Promise.all(Array.from({ length: 50 }, one));
  assert.equal(new Set(identities).size, 1);
  assert.match(identities[0], /^04[0-9a-f]{128}$/);
});
