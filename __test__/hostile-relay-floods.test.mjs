// A relay that floods: with garbage in a peer's name, in names that nobody has, with keys. What it can make us spend
// is bounded, and the genuine conversation goes on meanwhile.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { acquainted, clients, goesOn, hostileRelay, nobodyReports, reports, together, withheld } from './support/hostile-relay.mjs';
import { party } from './support/sessions.mjs';
import { altered, bundle, fieldOf, hasHandshake, kemKeyOf, long, renamed, sessionOf, stripped, u64, withParts } from './support/wire4.mjs';

/** Between two new sessions to one peer. */
const HEAL_MS = 10_000;

const random = (bytes) => randomBytes(bytes.length);
const point = () => generateKeyPair().publicKey;

/** Kinds of garbage, each made of a message that a relay has seen, in the name of its sender. */
const kinds = {
  'a message of a session that is held, its tag altered': (frame) => altered(frame, 'tag', random),
  'a message of a session that is held, on a ratchet key that is not known': (frame) => altered(frame, 'ratchet key', point),
  'a message of a session that nobody has': (frame) => altered(frame, 'session id', random),
  'bytes that are no message': (frame) => withParts(frame, { trailer: randomBytes(40) }),
};

/** The ids of sessions that `from` has told `to` of since frame `since`. */
const sessionsOf = (relay, from, to, since = 0) => [...new Set(relay.frames.slice(since).filter((frame) => frame.from === from && frame.to === to).map(sessionOf))];

/** Delivers `count` frames that `make` makes, and waits until each is refused. */
async function flood(relay, target, make, count, { peerId = 'alice' } = {}) {
  for (let i = 0; i < count; i += 1) relay.deliver(make(i));
  for (const error of await target.errors.take(count)) {
    assert.ok(error.code === 'DECRYPTION_FAILED' || error.code === 'REPLAY_DETECTED', error.code);
    assert.equal(error.peerId, peerId);
  }
}

describe("garbage in a peer's name", together, () => {
  for (const [what, make] of Object.entries(kinds)) {
    test(`1,000 times ${what}: each refused, one new session at most, nothing lost of what is sent meanwhile`, async (t) => {
      const relay = await hostileRelay(t);
      const { alice, bob } = await acquainted(relay, 'alice', 'bob');
      const { frame } = await withheld(relay, alice, bob);
      const [known, since, start] = [sessionOf(frame), relay.frames.length, performance.now()];
      const rejected = bob.app.getMetrics().messagesRejected + bob.app.getMetrics().replayAttempts;
      const flooding = flood(relay, bob, () => make(frame), 1_000);
      relay.deliver(frame);
      await flooding;
      assert.equal((await bob.inbox.next()).content, long('genuine'));
      await goesOn(alice, bob, 10);
      const begun = new Set([...sessionsOf(relay, 'bob', 'alice', since), ...sessionsOf(relay, 'alice', 'bob', since)]);
      begun.delete(known);
      assert.ok(begun.size <= 1 + (performance.now() - start) / HEAL_MS, `${begun.size} sessions`);
      const { messagesRejected, replayAttempts } = bob.app.getMetrics();
      assert.equal(messagesRejected + replayAttempts - rejected, 1_000);
      nobodyReports({ alice, bob });
    });
  }

  test('1,000 handshakes with the session ids that they give: each refused, one new session, no prekey used up', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await clients(relay, 'alice', 'bob');
    const { frame } = await withheld(relay, alice, bob);
    assert.ok(hasHandshake(frame));
    const [{ pub }, start] = [relay.users.get('bob'), performance.now()];
    const held = relay.hold(); // alice sends again what is not received
    await flood(relay, bob, () => renamed(altered(altered(frame, 'ratchet key', point), 'KEM ciphertext', random), pub), 1_000);
    const begun = sessionsOf(relay, 'bob', 'alice').length;
    assert.equal(bob.inbox.size, 0);
    assert.ok(begun >= 1 && begun <= 1 + (performance.now() - start) / HEAL_MS, `${begun} sessions`);
    relay.deliver(frame);
    relay.release(held);
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    await goesOn(alice, bob, 10);
    nobodyReports({ alice, bob });
  });

  test('for as long as it takes to begin two sessions: they are 10 s apart', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const frame = relay.frames.findLast(({ to }) => to === 'bob');
    const [known, later] = [sessionOf(frame), u64(Date.now() + 60_000)];
    const begun = [];
    relay.carry = (frame) => {
      const id = sessionOf(frame);
      if (frame.from === 'bob' && id !== known && begun.at(-1)?.id !== id) begun.push({ id, at: Number(fieldOf(frame, 'timestamp').readBigUInt64BE()) });
      relay.deliver(frame);
    };
    while (begun.length < 2) {
      await flood(relay, bob, () => altered(altered(frame, 'session id', random), 'timestamp', () => later), 20);
      await goesOn(alice, bob, 1);
    }
    const [first, second] = begun;
    assert.ok(second.at - first.at > HEAL_MS - 100, `${second.at - first.at} ms`);
    nobodyReports({ alice, bob });
  });

  test('does not make the peer seal again more often either: the sessions that it causes do not multiply', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const held = [await withheld(relay, alice, bob), await withheld(relay, bob, alice)].map(({ frame }) => frame);
    const since = relay.frames.length;
    const both = [[bob, held[0], 'alice'], [alice, held[1], 'bob']];
    const start = performance.now();
    const floods = both.map(([target, frame, peerId]) => flood(relay, target, () => altered(frame, 'session id', random), 500, { peerId }));
    held.forEach(relay.deliver);
    await Promise.all(floods);
    for (const { inbox } of [bob, alice]) assert.equal((await inbox.next()).content, long('genuine'));
    await goesOn(alice, bob, 5);
    const begun = new Set([...sessionsOf(relay, 'bob', 'alice', since), ...sessionsOf(relay, 'alice', 'bob', since)]);
    assert.ok(begun.size - 1 <= 2 + (2 * (performance.now() - start)) / HEAL_MS, `${begun.size - 1} sessions`);
    const messages = relay.frames.length - since;
    assert.ok(messages < 150, `${messages} messages went back and forth`);
    nobodyReports({ alice, bob });
  });
});

describe('garbage in names that nobody has', together, () => {
  test('3,000 first messages, each in another name: each refused, nobody is written to', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const { pub } = relay.users.get('bob');
    relay.frames.length = 0;
    const carol = (await clients(relay, 'carol')).carol;
    const { frame } = await withheld(relay, carol, bob);
    const names = Array.from({ length: 3_000 }, (_, i) => `nobody ${i}`);
    for (const from of names) relay.deliver(renamed({ ...frame, from }, pub));
    relay.deliver(frame);
    const refused = new Set();
    while (refused.size < names.length) {
      const { code, peerId } = await bob.errors.next();
      assert.equal(code, 'DECRYPTION_FAILED');
      refused.add(peerId);
    }
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    await goesOn(alice, bob);
    await goesOn(carol, bob);
    assert.deepEqual(new Set(relay.frames.map(({ to }) => to)), new Set(['alice', 'bob', 'carol']));
    nobodyReports({ alice, bob, carol });
  });

  test('12,000 messages of wire 3 by strangers are held up to a limit, and the others are not held up', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const payload = { ciphertext: randomBytes(32).toString('base64url'), header: randomBytes(85).toString('base64url') };
    for (let i = 0; i < 12_000; i += 1) relay.deliver({ type: 'message', to: 'bob', from: `nobody ${i % 40}`, id: `${i}`, payload });
    await goesOn(alice, bob);
    const limit = 8 * 1024;
    for (let i = limit; i < 12_000; i += 1) assert.equal((await bob.errors.next()).code, 'DECRYPTION_FAILED');
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });
});

describe("floods of keys in a peer's name", together, () => {
  test('500 that are not signed: each is INVALID_BUNDLE', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const { pub } = relay.users.get('alice');
    for (let i = 0; i < 500; i += 1) relay.show('bob', 'alice', { ...pub, signedPreKey: point().toString('base64url') });
    for (let i = 0; i < 500; i += 1) await reports(bob, 'INVALID_BUNDLE', 'alice');
    await goesOn(alice, bob, 5);
    nobodyReports({ alice, bob });
  });

  test('200 identities, with wire 4 and without: each is IDENTITY_CHANGED, and none is taken once the genuine one is back', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const { pub } = relay.users.get('alice');
    const session = sessionOf(relay.frames.at(-1));
    const made = Array.from({ length: 200 }, () => bundle('alice', party(), { kemKey: kemKeyOf(pub), validUntil: Date.now() + 1e9 }));
    made.forEach((other, i) => relay.show('bob', 'alice', i % 2 === 0 ? other : stripped(other)));
    for (const _ of made) await reports(bob, 'IDENTITY_CHANGED', 'alice');
    await assert.rejects(bob.send('alice', 'to whom?'), { code: 'IDENTITY_CHANGED' });
    await alice.send('bob', 'held');
    relay.show('bob', 'alice', pub);
    assert.equal((await bob.inbox.next()).content, 'held');
    await goesOn(alice, bob);
    assert.equal(sessionOf(relay.frames.at(-1)), session, 'the session is the same');
    nobodyReports({ alice, bob });
  });
});
