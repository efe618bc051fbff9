// Safety numbers and changed identities, through the public names.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import jsQR from 'jsqr';
import { createApp, generateFingerprint, SafetyNumber, Stvor } from '@stvor/sdk';
import { WebSocket } from 'ws';
import { root } from '../scripts/cargo.mjs';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { appOn, frameRelay, mockRelay, TOKEN, users } from './support/relays.mjs';

/** The number of docs/PROTOCOL.md, section 33, by a few lines that are not ours. */
function expected(...people) {
  const digest = ([id, key]) => {
    const name = Buffer.from(id);
    assert.ok(name.length < 128, 'one byte of length');
    let hash = createHash('sha512').update('stvor-safety-number-v1').update(Buffer.from([name.length])).update(name).update(key).digest();
    for (let round = 1; round < 5200; round += 1) hash = createHash('sha512').update(hash).update(key).digest();
    return hash.subarray(0, 32);
  };
  const halves = people.map(digest).sort(Buffer.compare);
  const digits = halves.flatMap((half) => [0, 5, 10, 15, 20, 25].map((at) => String(half.readUIntBE(at, 5) % 100_000).padStart(5, '0')));
  return { text: digits.join(' '), bytes: Buffer.concat([Buffer.from([1]), ...halves]) };
}

/** The identity keys that a relay shows to everybody. */
async function identityKeys(t, relay, ...names) {
  const socket = new WebSocket(relay.url, { headers: { authorization: TOKEN } });
  t.after(() => socket.terminate());
  const keys = new Map();
  await new Promise((resolve) => socket.on('message', (data) => {
    const { type, user, pub } = JSON.parse(data);
    if (type === 'announce') keys.set(user, Buffer.from(pub.identityKey, 'base64url'));
    if (names.every((name) => keys.has(name))) resolve();
  }));
  return names.map((name) => [name, keys.get(name)]);
}

/** What a reader of QR codes sees in the SVG image. */
function scan(svg) {
  const size = Number(/ width="(\d+)"/.exec(svg)[1]);
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (const [, x, y, width, height] of svg.matchAll(/M(\d+) (\d+)h(\d+)v(\d+)/g)) {
    for (let row = 0; row < Number(height); row += 1) {
      for (let column = 0; column < Number(width); column += 1) {
        const at = ((Number(y) + row) * size + Number(x) + column) * 4;
        pixels.fill(0, at, at + 3);
      }
    }
  }
  return Buffer.from(jsQR(pixels, size, size).binaryData);
}

describe('a safety number', () => {
  test('is the one that the protocol specifies, for both sides', async (t) => {
    const relay = await mockRelay(t);
    const { alice, bob } = await users(t, relay, 'alice', 'bob');
    const [of, there] = [await alice.safetyNumber('bob'), await bob.safetyNumber('alice')];
    const { text, bytes } = expected(...await identityKeys(t, relay, 'alice', 'bob'));
    assert.equal(`${of}`, text);
    assert.equal(of.digits, text.replaceAll(' ', ''));
    assert.match(of.digits, /^\d{60}$/);
    assert.deepEqual(of.bytes, bytes);
    assert.equal(`${there}`, text);
    assert.equal(of.peerId, 'bob');
    assert.equal(of.fingerprint, bob.fingerprint());
    assert.equal(there.fingerprint, alice.fingerprint());
    assert.ok(of instanceof SafetyNumber);
  });

  test('is the worked example of the protocol, by other means', () => {
    const text = readFileSync(join(root, 'docs/PROTOCOL.md'), 'utf8');
    const key = (name) => {
      const [, first, second] = new RegExp(`^${name} identity +private .*\\n +public +([0-9a-f]+)\\n +([0-9a-f]+)$`, 'm').exec(text);
      return [name, Buffer.from(first + second, 'hex')];
    };
    const section = text.split('\n## 33. Safety number\n')[1];
    assert.equal(/^digits {2,}(.*)$/m.exec(section)[1], expected(key('alice'), key('bob')).text);
  });

  test('is read from its QR code by the other side', async (t) => {
    const { alice, bob } = await users(t, await mockRelay(t), 'alice', 'bob');
    const [of, there] = [await alice.safetyNumber('bob'), await bob.safetyNumber('alice')];
    const svg = of.toQR();
    assert.match(svg, /^<\?xml.*<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/s);
    const scanned = scan(svg);
    assert.deepEqual(scanned, of.bytes);
    assert.equal(there.matches(scanned), true);
  });

  test('does not match an altered, shorter or longer code, nor that of others', async (t) => {
    const { alice, bob, carol } = await users(t, await mockRelay(t), 'alice', 'bob', 'carol');
    const of = await alice.safetyNumber('bob');
    for (let at = 0; at < of.bytes.length; at += 1) {
      const altered = Buffer.from(of.bytes);
      altered[at] ^= 1;
      assert.equal(of.matches(altered), false, `byte ${at}`);
    }
    assert.equal(of.matches(of.bytes.subarray(1)), false);
    assert.equal(of.matches(Buffer.concat([of.bytes, Buffer.alloc(1)])), false);
    assert.equal(of.matches(new Uint8Array()), false);
    assert.equal(of.matches((await carol.safetyNumber('bob')).bytes), false);
    assert.equal(of.matches((await bob.safetyNumber('alice')).bytes), true);
    for (const wrong of [of.digits, null, undefined, 7, [...of.bytes]]) {
      assert.throws(() => of.matches(wrong), { code: 'INVALID_ARGUMENT', message: /^scanned / });
    }
  });

  test('hands out bytes that whoever changes them changes for themselves', async (t) => {
    const { alice } = await users(t, await mockRelay(t), 'alice', 'bob');
    const of = await alice.safetyNumber('bob');
    const before = Buffer.from(of.bytes);
    of.bytes.fill(0);
    assert.equal(of.matches(before), true);
    assert.throws(() => { 'use strict'; of.digits = '0'; }, TypeError);
    assert.throws(() => new SafetyNumber(), { code: 'CLIENT_NOT_READY' });
  });

  test('waits for a peer who is not there yet, and gives up in time', async (t) => {
    const relay = await mockRelay(t);
    const { alice } = await users(t, relay, 'alice');
    const waiting = alice.safetyNumber('bob');
    const { bob } = await users(t, relay, 'bob');
    assert.equal(`${await waiting}`, `${await bob.safetyNumber('alice')}`);
    const impatient = await appOn(t, relay, { timeout: 50 });
    const carol = await impatient.connect('carol');
    await assert.rejects(carol.safetyNumber('nobody'), { code: 'RECIPIENT_TIMEOUT', peerId: 'nobody', retryable: true });
  });

  test('is refused for oneself, for what is no user, and after leaving', async (t) => {
    const { app, alice } = await users(t, await mockRelay(t), 'alice');
    await assert.rejects(alice.safetyNumber('alice'), { code: 'INVALID_ARGUMENT', message: /^peerId / });
    for (const wrong of ['', 7, undefined, 'x'.repeat(257)]) {
      await assert.rejects(alice.safetyNumber(wrong), { code: 'INVALID_ARGUMENT', message: /^peerId / });
    }
    const waiting = assert.rejects(alice.safetyNumber('nobody'), { code: 'CLIENT_NOT_READY' });
    await app.disconnect();
    await waiting;
    await assert.rejects(alice.safetyNumber('bob'), { code: 'CLIENT_NOT_READY' });
  });

  test('pins whom it is of: other keys in their place are a change, although nothing was sent yet', async (t) => {
    const relay = await frameRelay(t);
    const { alice } = await users(t, relay, 'alice');
    const first = await users(t, relay, 'bob');
    const of = await alice.safetyNumber('bob');
    assert.equal(of.fingerprint, first.bob.fingerprint());
    const changes = new Queue();
    alice.onIdentityChange((change) => changes.push(change));
    const errors = errorsOf(alice);
    const impostor = await users(t, relay, 'bob');
    await assert.rejects(alice.send('bob', 'to whom?'), { code: 'IDENTITY_CHANGED', peerId: 'bob' });
    const change = await changes.next();
    assert.equal(change.fingerprint, impostor.bob.fingerprint());
    assert.equal('previousFingerprint' in change, false, 'of the first, nothing but the pin is left');
    assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
    await assert.rejects(alice.safetyNumber('bob'), { code: 'IDENTITY_CHANGED', peerId: 'bob' });
  });
});

/** A user of an app who has spoken to bob, who then comes back with another identity. */
async function changed(t) {
  const relay = await mockRelay(t);
  const { app, alice } = await users(t, relay, 'alice');
  const [ofClient, ofApp] = [new Queue(), new Queue()];
  const unsubscribe = [
    alice.onIdentityChange((change) => ofClient.push(change)),
    app.onIdentityChange((change) => ofApp.push(change)),
  ];
  const errors = errorsOf(alice);
  const first = (await users(t, relay, 'bob')).bob;
  await alice.send('bob', 'hello');
  const before = await alice.safetyNumber('bob');
  await first.disconnect();
  const { bob } = await users(t, relay, 'bob');
  return { relay, app, alice, bob, before, first, ofClient, ofApp, unsubscribe, errors };
}

describe('a change of identity', () => {
  test('is told to the handlers of client and app, with the number to compare', async (t) => {
    const { app, alice, bob, before, first, ofClient, ofApp, errors } = await changed(t);
    const change = await ofClient.next();
    const { peerId, userId, previousFingerprint, fingerprint, safetyNumber } = change;
    assert.deepEqual({ peerId, userId, previousFingerprint, fingerprint }, {
      peerId: 'bob', userId: 'alice', previousFingerprint: first.fingerprint(), fingerprint: bob.fingerprint(),
    });
    assert.deepEqual(Object.keys(change), ['peerId', 'userId', 'previousFingerprint', 'fingerprint', 'safetyNumber']);
    assert.equal((await ofApp.next()).fingerprint, fingerprint);
    assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
    assert.equal(safetyNumber.fingerprint, fingerprint);
    assert.equal(change.safetyNumber, safetyNumber);
    assert.equal(`${safetyNumber}`, `${await bob.safetyNumber('alice')}`);
    assert.notEqual(`${safetyNumber}`, `${before}`);

    // The number asked for is of the accepted identity until the new one is.
    assert.equal(`${await alice.safetyNumber('bob')}`, `${before}`);
    assert.equal((await alice.safetyNumber('bob')).fingerprint, first.fingerprint());
    const inbox = messagesOf(bob);
    await app.trust('bob', fingerprint);
    assert.equal(`${await alice.safetyNumber('bob')}`, `${safetyNumber}`);
    await alice.send('bob', 'welcome back');
    while ((await inbox.next()).content !== 'welcome back');
  });

  test('is told once for each identity, and to nobody who has unsubscribed', async (t) => {
    const { relay, alice, ofClient, ofApp, unsubscribe, errors } = await changed(t);
    await ofClient.next();
    await ofApp.next();
    await errors.next();
    unsubscribe[0]();
    unsubscribe[0]();
    await users(t, relay, 'bob'); // yet another identity
    await ofApp.next();
    assert.equal((await errors.next()).code, 'IDENTITY_CHANGED');
    assert.deepEqual([ofClient.size, ofApp.size], [0, 0]);
    for (const wrong of [undefined, null, 'handler', {}]) {
      assert.throws(() => alice.onIdentityChange(wrong), { code: 'INVALID_ARGUMENT', message: /^handler / });
    }
  });

  test('reaches the other handlers when one throws or rejects, which is reported', async (t) => {
    const relay = await mockRelay(t);
    const { app, alice } = await users(t, relay, 'alice');
    const told = new Queue();
    alice.onIdentityChange(() => { throw new Error('on purpose'); });
    alice.onIdentityChange(async () => { throw new Error('later'); });
    app.onIdentityChange((change) => told.push(change));
    const errors = errorsOf(alice);
    const { bob } = await users(t, relay, 'bob');
    await alice.send('bob', 'hello');
    await bob.disconnect();
    await users(t, relay, 'bob');
    assert.equal((await told.next()).peerId, 'bob');
    const codes = (await errors.take(3)).map(({ code, cause }) => [code, cause?.message]);
    assert.deepEqual(codes.sort(), [['HANDLER_FAILED', 'later'], ['HANDLER_FAILED', 'on purpose'], ['IDENTITY_CHANGED', undefined]]);
  });

  test('is told to a client with an app of its own', async (t) => {
    const relay = await mockRelay(t);
    const alice = await Stvor.connect({ userId: 'alice', appToken: TOKEN, relayUrl: relay.url });
    t.after(() => alice.disconnect());
    const told = new Queue();
    alice.onIdentityChange((change) => told.push(change));
    alice.onError(() => {});
    const { bob } = await users(t, relay, 'bob');
    await alice.send('bob', 'hello');
    await bob.disconnect();
    const app = await createApp({ appToken: TOKEN, relayUrl: relay.url });
    t.after(() => app.disconnect());
    const next = await app.connect('bob');
    assert.equal((await told.next()).fingerprint, next.fingerprint());
  });
});

test('a fingerprint is the hash of the key that a number is of', async (t) => {
  const relay = await mockRelay(t);
  const { alice } = await users(t, relay, 'alice', 'bob');
  const [[, key]] = await identityKeys(t, relay, 'bob');
  assert.equal((await alice.safetyNumber('bob')).fingerprint, generateFingerprint(key));
});
