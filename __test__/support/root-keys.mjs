// A process that uses every kind of session that has root keys, and tells which there were, masked. Its memory is
// looked through from outside. Arguments: the addon with test hooks, a relay's URL, and a path for a store.
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './child.mjs';

const [addon, relayUrl, path] = process.argv.slice(2);
const require = createRequire(import.meta.url);

// In place of the addon that ships, before anything loads that.
const { platform } = require('../../platform.js');
const shipped = join(root, `stvor.${platform()}.node`);
const hooks = require(addon);
require.cache[shipped] = require.cache[require.resolve(addon)];

const { createApp, CryptoSessionManager, embeddedStorage, generateKeyPair } = await import('@stvor/sdk');
const { decryptMessage, encryptMessage, forceRatchet } = await import('@stvor/sdk/ratchet');
const { pair } = await import('./sessions.mjs');
const { messagesOf } = await import('./collect.mjs');
const { mapAdapters } = await import('./stores.mjs');

const kept = [await clients(), sessions(), await managers()];
hooks.exchangeOnRestingThreads(20); // sealed for a store and read back, at each step

/**
 * Over the relay, to and fro: each message turns the ratchet, and so do receipts. Every step is saved, by adapters in
 * JavaScript and in an embedded file, and what was saved is loaded again half-way.
 */
async function clients() {
  const stores = [mapAdapters(new Map(), { generateKeyPair }), await embeddedStorage({ path, key: randomBytes(32) })];
  await converse(stores, 10);
  return [stores, await converse(stores, 10, true)];
}

async function converse(stores, rounds, stay = false) {
  const config = { appToken: 'stvor_test', relayUrl, productionMode: true };
  const apps = await Promise.all(stores.map((storageAdapters) => createApp({ ...config, storageAdapters })));
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name, i) => apps[i].connect(name)));
  const [toAlice, toBob] = [messagesOf(alice), messagesOf(bob)];
  for (let i = 0; i < rounds; i += 1) {
    await alice.send('bob', `to bob ${i}`, { receipt: true });
    await toBob.next();
    await bob.send('alice', `to alice ${i}`, { receipt: true });
    await toAlice.next();
  }
  if (!stay) await Promise.all(apps.map((app) => app.disconnect()));
  return [apps, alice, bob];
}

function sessions() {
  const { alice, bob } = pair();
  for (let i = 0; i < 20; i += 1) {
    for (const [from, to] of [[alice, bob], [bob, alice]]) {
      const { header, ciphertext } = encryptMessage(from, 'text');
      decryptMessage(to, ciphertext, header);
      if (i % 5 === 0) forceRatchet(to);
    }
  }
  return [alice, bob];
}

async function managers() {
  const both = ['alice', 'bob'].map((name) => new CryptoSessionManager(name));
  const [alice, bob] = both;
  for (const manager of both) await manager.initialize();
  await alice.establishSession('bob', bob.getPublicKeys());
  await bob.establishSession('alice', alice.getPublicKeys());
  for (let i = 0; i < 20; i += 1) {
    const there = alice.encryptForPeer('bob', 'text');
    bob.decryptFromPeer('alice', there.ciphertext, there.header);
    const back = bob.encryptForPeer('alice', 'text');
    alice.decryptFromPeer('bob', back.ciphertext, back.header);
  }
  return both;
}

function tell(name, keys) {
  console.log(`${name} ${keys.join(' ')}`);
}

// One that was saved and read back was noted each time.
const noted = hooks.notedRootKeys();
const masked = (keys) => new Set(keys.map((key) => key.masked.toString('hex')));
const alive = masked(noted.filter((key) => key.alive));

// At each signal, in clear: first a key that nobody uses, then one of those that are in use.
const plants = { unused: randomBytes(32).toString('hex'), used: [...alive][0] };
process.on('SIGUSR2', () => {
  const [name] = Object.keys(plants);
  hooks.plant(Buffer.from(plants[name], 'hex'));
  tell(name, [plants[name]]);
  delete plants[name];
});

// What has root keys lives as long as the process, which is killed from outside.
setInterval(() => kept.length, 1 << 30);

// Last: whoever has read this sends signals.
tell('alive', [...alive]);
tell('replaced', [...masked(noted)].filter((key) => !alive.has(key)));
