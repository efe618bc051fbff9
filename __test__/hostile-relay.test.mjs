// A relay that does its worst, over real sockets: what it alters, makes up, repeats or withholds is refused, reported
// and costs nothing; the genuine conversation goes on, every message once and in order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { acquainted, clients, goesOn, hostileRelay, nobodyReports, person, reports, together, withheld } from './support/hostile-relay.mjs';
import { altered, compressed, hasHandshake, long, parts, renamed, u32, u64, withParts } from './support/wire4.mjs';

/**
 * `alice` writes to `bob`; the relay delivers what `forge` makes of that, which is refused, and then the genuine
 * message, which is received. They, and the one who refused, go on talking.
 */
async function refuses(relay, people, forge, { code = 'DECRYPTION_FAILED', target = people.bob, peerId = 'alice' } = {}) {
  const { alice, bob } = people;
  const { frame, sending } = await withheld(relay, alice, bob);
  relay.deliver(forge(frame));
  await reports(target, code, peerId);
  relay.deliver(frame);
  assert.equal((await bob.inbox.next()).content, long('genuine'));
  assert.equal((await sending).status, 'delivered');
  await goesOn(alice, bob);
  nobodyReports(people);
}

const point = () => generateKeyPair().publicKey;
const fill = (byte) => (bytes) => void bytes.fill(byte);
const later = (ms) => (bytes) => u64(bytes.readBigUInt64BE() + BigInt(ms));
const minutes = 60_000;

/** What is done to any message: the field, what becomes of it, and the error if it is another. */
const everywhere = [
  ['ratchet key'],
  ['ratchet key', 'another point', point],
  ['ratchet key', 'no point', fill(0)],
  ['previous chain length'],
  ['previous chain length', 'the highest', fill(255)],
  ['counter'],
  ['counter', 'far ahead', () => u32(1_900)],
  ['counter', 'the highest', fill(255)],
  ['nonce'],
  ['version'],
  ['version', 'wire 5', fill(5)],
  ['flags', 'the handshake denied or claimed'],
  ['flags', 'one that is not known', (bytes) => Buffer.from([bytes[0] | 2])],
  ['timestamp'],
  ['timestamp', 'a second later', later(1_000)],
  ['timestamp', '6 minutes ahead', later(6 * minutes)],
  ['timestamp', 'the highest', fill(255)],
  ['timestamp', 'long ago', fill(0), ['DECRYPTION_FAILED', 'REPLAY_DETECTED']],
  ['begun time'],
  ['begun time', 'in a year', later(365 * 24 * 60 * minutes)],
  ['session id'],
  ['ciphertext'],
  ['ciphertext', 'zeros', fill(0)],
  ['tag'],
];

const inHandshakes = [
  ['identity key', 'another point', () => compressed(point())],
  ['identity key', 'no point', fill(255)],
  ['signed prekey', 'another point', () => compressed(point())],
  ['signed prekey', 'no point', fill(255)],
  ['signed prekey id'],
  ['KEM key id'],
  ['one-time prekey id'],
  ['one-time prekey id', 'the highest', fill(255)],
  ['signature length'],
  ['signature'],
  ['KEM ciphertext'],
];

/** Fields that the session id depends on: with the id that they give the message gets past its check. */
const naming = [
  ['ratchet key', 'another point', point],
  ['begun time', 'a second later', later(1_000)],
  ['identity key', 'another point', () => compressed(point())],
  ['signed prekey', 'another point', () => compressed(point())],
  ['signed prekey', 'no point', fill(255)],
  ['signed prekey id'],
  ['KEM key id'],
  ['one-time prekey id'],
];

describe('an altered field of a later message is refused', together, () => {
  for (const [field, what = 'one bit', change, code] of everywhere) {
    test(`${field}: ${what}`, async (t) => {
      const relay = await hostileRelay(t);
      await refuses(relay, await acquainted(relay, 'alice', 'bob'), (frame) => {
        assert.ok(!hasHandshake(frame));
        return altered(frame, field, change);
      }, { code });
    });
  }
});

describe('an altered field of a first message is refused', together, () => {
  for (const [field, what = 'one bit', change] of [...everywhere, ...inHandshakes]) {
    test(`${field}: ${what}`, async (t) => {
      const relay = await hostileRelay(t);
      await refuses(relay, await clients(relay, 'alice', 'bob'), (frame) => {
        assert.ok(hasHandshake(frame));
        return altered(frame, field, change);
      });
    });
  }
});

describe('an altered field of a first message is refused though the session id fits', together, () => {
  for (const [field, what = 'one bit', change] of naming) {
    for (const isShown of [true, false]) {
      test(`${field}: ${what}; by somebody who ${isShown ? 'was' : 'was not'} shown the sender's keys`, async (t) => {
        const relay = await hostileRelay(t);
        if (!isShown) relay.shows = (_user, pub, viewer) => (viewer === 'bob' ? undefined : pub);
        const people = await clients(relay, 'bob', 'alice');
        const { pub } = relay.users.get('bob');
        await refuses(relay, people, (frame) => {
          assert.deepEqual(renamed(frame, pub), frame, 'the id is computed as the sender does');
          return renamed(altered(frame, field, change), pub);
        });
      });
    }
  }
});

describe('a message put together from others is refused', together, () => {
  const cases = {
    'without its trailer': [(frame) => ({ ...frame, payload: { ...frame.payload, header: frame.payload.header.split('.')[0] } }), 'PROTOCOL_MISMATCH'],
    'with an empty trailer': [(frame) => withParts(frame, { trailer: Buffer.alloc(0) })],
    'with a byte after the trailer': [(frame) => withParts(frame, { trailer: Buffer.concat([parts(frame).trailer, Buffer.alloc(1)]) })],
    'with the handshake of an earlier one': [(frame, first) => withParts(frame, { trailer: Buffer.concat([Buffer.from([4, 1]), parts(frame).trailer.subarray(2), parts(first).trailer.subarray(26)]) })],
    'with the trailer of an earlier one': [(frame, first) => withParts(frame, { trailer: parts(first).trailer })],
    'with the header of an earlier one': [(frame, first) => withParts(frame, { header: parts(first).header })],
    'with the ciphertext of an earlier one': [(frame, first) => withParts(frame, { ciphertext: parts(first).ciphertext })],
    'with a short tag': [(frame) => withParts(frame, { ciphertext: parts(frame).ciphertext.subarray(0, -4) })],
    'without a ciphertext': [(frame) => withParts(frame, { ciphertext: Buffer.alloc(0) })],
    'with a payload of another shape': [(frame) => ({ ...frame, payload: [frame.payload] }), 'DECRYPTION_FAILED'],
  };
  for (const [name, [forge, code = ['DECRYPTION_FAILED', 'REPLAY_DETECTED']]] of Object.entries(cases)) {
    test(name, async (t) => {
      const relay = await hostileRelay(t);
      const people = await acquainted(relay, 'alice', 'bob');
      const first = relay.frames.find((frame) => frame.from === 'alice');
      await refuses(relay, people, (frame) => forge(frame, first), { code });
    });
  }
});

describe('a forged sender is refused', together, () => {
  const as = (from) => (frame) => ({ ...frame, from });

  test('a later message as that of a friend of both', async (t) => {
    const relay = await hostileRelay(t);
    const people = await acquainted(relay, 'bob', 'alice', 'carol');
    await refuses(relay, people, as('carol'), { peerId: 'carol' });
    await goesOn(people.carol, people.bob);
  });

  test('a first message as that of a friend', async (t) => {
    const relay = await hostileRelay(t);
    const people = { ...await acquainted(relay, 'bob', 'carol'), ...await clients(relay, 'alice') };
    await refuses(relay, people, as('carol'), { peerId: 'carol' });
    await goesOn(people.carol, people.bob);
  });

  test('a first message as that of somebody whose keys were shown', async (t) => {
    const relay = await hostileRelay(t);
    const people = await clients(relay, 'bob', 'carol', 'alice');
    await refuses(relay, people, as('carol'), { peerId: 'carol' });
    await goesOn(people.carol, people.bob);
  });

  for (const [what, people] of [['first', clients], ['later', acquainted]]) {
    test(`a ${what} message as that of somebody who does not exist`, async (t) => {
      const relay = await hostileRelay(t);
      await refuses(relay, await people(relay, 'alice', 'bob'), as('mallory'), { peerId: 'mallory' });
    });

    test(`a ${what} message as the recipient's own`, async (t) => {
      const relay = await hostileRelay(t);
      await refuses(relay, await people(relay, 'alice', 'bob'), as('bob'), { peerId: 'bob' });
    });

    test(`a ${what} message given back to its sender as the recipient's`, async (t) => {
      const relay = await hostileRelay(t);
      const both = await people(relay, 'alice', 'bob');
      await refuses(relay, both, (frame) => ({ ...frame, from: 'bob', to: 'alice' }), { target: both.alice, peerId: 'bob' });
    });
  }

  test("an impostor's message, whether or not the relay shows the impostor's keys", async (t) => {
    const [relay, elsewhere] = [await hostileRelay(t), await hostileRelay(t)];
    const people = await acquainted(relay, 'alice', 'bob');
    const { alice, bob } = people;
    const impostor = await person(elsewhere, 'alice');
    elsewhere.users.set('bob', { ...relay.users.get('bob'), ws: { readyState: 3 }, mailbox: [] });
    elsewhere.show('alice', 'bob', relay.users.get('bob').pub);
    const { frame } = await withheld(elsewhere, impostor, bob, long('trust me'));

    relay.deliver(frame);
    await reports(bob, 'DECRYPTION_FAILED', 'alice');
    await goesOn(alice, bob);

    relay.show('bob', 'alice', elsewhere.users.get('alice').pub);
    await reports(bob, 'IDENTITY_CHANGED', 'alice');
    relay.deliver(frame);
    await assert.rejects(bob.send('alice', 'to whom?'), { code: 'IDENTITY_CHANGED', peerId: 'alice' });
    await alice.send('bob', 'held until it is known who it is');
    relay.show('bob', 'alice', relay.users.get('alice').pub);
    await reports(bob, 'DECRYPTION_FAILED', 'alice');
    assert.equal((await bob.inbox.next()).content, 'held until it is known who it is');
    await goesOn(alice, bob);
    nobodyReports(people);
  });
});

describe('a message for somebody else is refused', together, () => {
  const to = (name) => (frame) => ({ ...frame, to: name });

  test('a later one, by a friend of the sender', async (t) => {
    const relay = await hostileRelay(t);
    const people = await acquainted(relay, 'alice', 'bob', 'carol');
    await refuses(relay, people, to('carol'), { target: people.carol });
    await goesOn(people.alice, people.carol);
  });

  test('a first one, by a friend of the sender', async (t) => {
    const relay = await hostileRelay(t);
    const people = { ...await acquainted(relay, 'alice', 'carol'), ...await clients(relay, 'bob') };
    await refuses(relay, people, to('carol'), { target: people.carol });
    await goesOn(people.alice, people.carol);
  });

  for (const [what, first] of [['first', clients], ['later', acquainted]]) {
    test(`a ${what} one, by a stranger`, async (t) => {
      const relay = await hostileRelay(t);
      const people = { ...await first(relay, 'alice', 'bob'), ...await clients(relay, 'carol') };
      await refuses(relay, people, to('carol'), { target: people.carol });
      await goesOn(people.alice, people.carol);
    });
  }

  test('two that change places, and nobody delivers the genuine ones: both arrive all the same', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob, carol } = await acquainted(relay, 'alice', 'bob', 'carol');
    const toBob = await withheld(relay, alice, bob, long('for bob'));
    const toCarol = await withheld(relay, alice, carol, long('for carol'));
    relay.deliver({ ...toBob.frame, to: 'carol' });
    relay.deliver({ ...toCarol.frame, to: 'bob' });
    // Sealed in the millisecond of the last message that was read, it looks like a late one.
    await reports(bob, ['DECRYPTION_FAILED', 'REPLAY_DETECTED'], 'alice');
    await reports(carol, ['DECRYPTION_FAILED', 'REPLAY_DETECTED'], 'alice');
    assert.equal((await bob.inbox.next()).content, long('for bob'));
    assert.equal((await carol.inbox.next()).content, long('for carol'));
    await goesOn(alice, bob);
    await goesOn(alice, carol);
  });
});
