// The embedded file through its public name.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { embeddedStorage, generateKeyPair } from '@stvor/sdk';
import { checkAdapters } from '@stvor/sdk/testing';
import { messagesOf } from './support/collect.mjs';
import { appOn, mockRelay } from './support/relays.mjs';
import { program } from './support/child.mjs';

async function place(t) {
  const directory = await mkdtemp(join(tmpdir(), 'stvor-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'stvor.db');
}

const digest = async (path) => createHash('sha256').update(await readFile(path)).digest('hex');

test('one line makes production mode on one machine, and everything survives a restart', async (t) => {
  const relay = await mockRelay(t);
  const [path, key] = [await place(t), randomBytes(32)];
  const bob = await (await appOn(t, relay)).connect('bob');
  const toBob = messagesOf(bob);

  const storage = embeddedStorage({ path, key });
  const app = await appOn(t, relay, { productionMode: true, storageAdapters: storage });
  const [alice, carol] = [await app.connect('alice'), await app.connect('carol')];
  await alice.send('bob', 'one', { receipt: true });
  await carol.send('bob', 'two', { receipt: true });
  const fingerprints = [alice.fingerprint(), carol.fingerprint()];
  assert.notEqual(...fingerprints);
  await app.disconnect();
  await storage.close();

  const again = await appOn(t, relay, { productionMode: true, storageAdapters: await embeddedStorage({ path, key }) });
  const clients = [await again.connect('alice'), await again.connect('carol')];
  assert.deepEqual(clients.map((client) => client.fingerprint()), fingerprints);
  await clients[0].send('bob', 'three', { receipt: true });
  assert.deepEqual((await toBob.take(3)).map(({ content }) => content), ['one', 'two', 'three']);
});

test('nothing readable is in the file', async (t) => {
  const relay = await mockRelay(t);
  const path = await place(t);
  const storage = await embeddedStorage({ path, key: randomBytes(32) });
  const app = await appOn(t, relay, { productionMode: true, storageAdapters: storage });
  const bob = await (await appOn(t, relay)).connect('robert-the-recipient');
  const toBob = messagesOf(bob);
  const alice = await app.connect('alice-the-sender');
  await alice.send('robert-the-recipient', 'a recognisable content');
  await toBob.next();
  const { privateKey, publicKey } = await storage.identity.getIdentityKeyPair('alice-the-sender');
  await app.disconnect();
  await storage.close();
  const bytes = await readFile(path);
  for (const secret of [privateKey, publicKey, bob.fingerprint(), 'recognisable', 'robert-the', 'alice-the']) {
    assert.ok(!bytes.includes(secret));
  }
});

test('a second opening is STORAGE_LOCKED, in this process and in another, until the first is closed', async (t) => {
  const [path, key] = [await place(t), randomBytes(32)];
  const first = await embeddedStorage({ path, key });
  await assert.rejects(embeddedStorage({ path, key }), { name: 'StvorError', code: 'STORAGE_LOCKED' });
  const code = `
    import { createApp, embeddedStorage } from '@stvor/sdk';
    const storageAdapters = embeddedStorage({ path: process.env.FILE, key: Buffer.from(process.env.KEY, 'hex') });
    const app = createApp({ appToken: 'stvor_x', relayUrl: 'ws://localhost:1', productionMode: true, storageAdapters });
    await app.catch((error) => console.log(error.code));`;
  const other = await program(t, { code, env: { FILE: path, KEY: key.toString('hex') } }).ended;
  assert.deepEqual([other.lines, other.code], [['STORAGE_LOCKED'], 0], other.stderr);
  await first.close();
  await (await embeddedStorage({ path, key })).close();
});

test('another key or passphrase is STORAGE_KEY, and the file is what it was', async (t) => {
  const path = await place(t);
  const made = await embeddedStorage({ path, passphrase: 'correct horse' });
  await made.identity.getIdentityKeyPair('alice');
  await made.close();
  const before = await digest(path);
  for (const secret of [{ passphrase: 'wrong horse' }, { key: randomBytes(32) }]) {
    await assert.rejects(embeddedStorage({ path, ...secret }), { code: 'STORAGE_KEY' });
  }
  assert.equal(await digest(path), before);
  await (await embeddedStorage({ path, passphrase: 'correct horse' })).close();
});

test('a truncated, damaged or foreign file is STORAGE_DAMAGED, never an empty store', async (t) => {
  const [path, key] = [await place(t), randomBytes(32)];
  const made = await embeddedStorage({ path, key });
  await made.identity.getIdentityKeyPair('alice');
  await made.close();
  const { size } = await stat(path);
  const whole = await readFile(path);
  for (const length of [0, 1, 100, 4096, Math.floor(size / 2), size - 1]) {
    await truncate(path, length);
    await assert.rejects(embeddedStorage({ path, key }), { code: 'STORAGE_DAMAGED' }, `cut to ${length}`);
    await writeFile(path, whole);
  }
  await writeFile(path, 'not a store at all, but a text of some length'.repeat(500));
  await assert.rejects(embeddedStorage({ path, key }), { code: 'STORAGE_DAMAGED' });
  await assert.rejects(embeddedStorage({ path: join(path, 'nowhere', 'x'), key }), { code: 'STORAGE_FAILED' });
});

test('an error names the file, and says whether trying again can help', async (t) => {
  const [path, key] = [await place(t), randomBytes(32)];
  const open = (options) => embeddedStorage({ path, key, ...options }).then(assert.fail, (error) => error);
  const missing = join(path, 'nowhere\n', '$&');
  const failed = await open({ path: missing });
  assert.deepEqual([failed.code, failed.retryable], ['STORAGE_FAILED', true]);
  assert.ok(failed.message.includes(JSON.stringify(missing)) && !failed.message.includes('\n'), failed.message);
  const storage = await embeddedStorage({ path, key });
  const locked = await open({});
  await storage.close();
  const wrong = await open({ key: randomBytes(32) });
  await writeFile(path, '');
  const damaged = await open({});
  assert.deepEqual([locked, wrong, damaged].map(({ code, retryable }) => [code, retryable]), [['STORAGE_LOCKED', false], ['STORAGE_KEY', false], ['STORAGE_DAMAGED', false]]);
  for (const { message } of [locked, wrong, damaged]) assert.ok(message.includes(JSON.stringify(path)), message);
});

test('a passphrase opens the file in whichever Unicode form it is typed', async (t) => {
  const path = await place(t);
  const made = await embeddedStorage({ path, passphrase: 'caf\u00e9' });
  const pair = await made.identity.getIdentityKeyPair('alice');
  await made.close();
  const again = await embeddedStorage({ path, passphrase: 'cafe\u0301' });
  assert.deepEqual(await again.identity.getIdentityKeyPair('alice'), pair);
  await again.close();
});

test('it keeps every rule of the conformance kit', async (t) => {
  const [path, key] = [await place(t), randomBytes(32)];
  const storage = await embeddedStorage({ path, key });
  t.after(() => storage.close());
  const { passed, skipped } = await checkAdapters(storage, { oneWriter: true });
  assert.ok(passed.length >= 20, JSON.stringify({ passed, skipped }));
});

test('a pair that was made elsewhere is kept only if its halves belong together', async (t) => {
  const storage = await embeddedStorage({ path: await place(t), key: randomBytes(32) });
  t.after(() => storage.close());
  const { identity } = storage;
  const [given, other] = [generateKeyPair(), generateKeyPair()];
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const wrong = [
    undefined, {}, { privateKey: given.privateKey }, { ...given, publicKey: other.publicKey }, { ...given, publicKey: Buffer.alloc(65) },
    { ...given, privateKey: given.privateKey.subarray(1) }, { ...given, privateKey: Buffer.concat([Buffer.alloc(1), given.privateKey]) },
    { ...given, privateKey: Buffer.alloc(32) }, { ...given, privateKey: order }, { ...given, privateKey: given.privateKey.toString('hex') },
  ];
  for (const pair of wrong) await assert.rejects(identity.importIdentityKeyPair(pair, 'alice'), { code: 'INVALID_ARGUMENT' });
  for (let time = 0; time < 2; time += 1) assert.deepEqual(await identity.importIdentityKeyPair(given, 'alice'), given);
  await assert.rejects(identity.importIdentityKeyPair(other, 'alice'), { code: 'IDENTITY_CONFLICT' });
  assert.deepEqual(await identity.getIdentityKeyPair('alice'), given);
});

test('two apps of one process do not serve a user from one file', async (t) => {
  const relay = await mockRelay(t);
  const storage = await embeddedStorage({ path: await place(t), key: randomBytes(32) });
  const config = { productionMode: true, storageAdapters: storage };
  const [first, second] = [await appOn(t, relay, config), await appOn(t, relay, config)];
  await first.connect('alice');
  await assert.rejects(second.connect('alice'), { code: 'STORAGE_SHARED' });
  await first.disconnect();
  await second.connect('alice');
  await second.disconnect();
  await storage.close();
});

test('wrong options are INVALID_ARGUMENT', () => {
  const key = randomBytes(32);
  for (const options of [undefined, {}, { path: 'x' }, { key }, { path: '', key }, { path: 'x', key: 'y' }, { path: 'x', key: randomBytes(31) }, { path: 'x', key, passphrase: 'z' }, { path: 'x', passphrase: '' }, { path: 'x', key, extra: 1 }]) {
    assert.throws(() => embeddedStorage(options), { code: 'INVALID_ARGUMENT' });
  }
  assert.throws(() => embeddedStorage({ path: 'x' }), { message: 'options must hold either key or passphrase: neither key nor passphrase is given.' });
  assert.throws(() => embeddedStorage({ path: 'x', key, passphrase: 'z' }), { message: /: both key and passphrase are given\.$/ });
  assert.throws(() => embeddedStorage({ path: 'x', key: randomBytes(16) }), { message: 'key must be a Buffer of 32 bytes, not 16 bytes.' });
});
