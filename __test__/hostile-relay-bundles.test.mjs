// A relay that shows other keys than it was given: altered, stripped of wire 4, out of date, somebody else's. They
// are refused, reported and change nothing; the genuine conversation goes on.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { acquainted, clients, goesOn, hostileRelay, nobodyReports, person, reports, together, withheld } from './support/hostile-relay.mjs';
import { party } from './support/sessions.mjs';
import { alteredV4, bundle, fieldOf, hasHandshake, kemKeyOf, long, sessionOf, stripped } from './support/wire4.mjs';

const text = (bytes) => bytes.toString('base64url');
const point = () => text(generateKeyPair().publicKey);
const days = 24 * 60 * 60 * 1000;

/** What of a bundle is altered, and how. */
const alterations = {
  'identityKey: another point': (pub) => ({ ...pub, identityKey: point() }),
  'identityKey: no point': (pub) => ({ ...pub, identityKey: text(Buffer.alloc(65, 4)) }),
  'signedPreKey: another point': (pub) => ({ ...pub, signedPreKey: point() }),
  'signedPreKeySignature: none': (pub) => ({ ...pub, signedPreKeySignature: '' }),
  'signedPreKeySignature: not that of this key': (pub) => ({ ...pub, signedPreKeySignature: text(Buffer.alloc(70, 0x30)) }),
  'v4: nothing': (pub) => ({ ...pub, v4: '' }),
  'v4: no base64url': (pub) => ({ ...pub, v4: '!' }),
  'v4: cut short': (pub) => ({ ...pub, v4: pub.v4.slice(0, -8) }),
  'v4: a byte more': (pub) => ({ ...pub, v4: text(Buffer.concat([Buffer.from(pub.v4, 'base64url'), Buffer.alloc(1)])) }),
  ...Object.fromEntries(
    ['version', 'user id', 'capabilities', 'signed prekey id', 'signed prekey', 'KEM key id', 'KEM key', 'valid from', 'valid until', 'signature']
      .map((field) => [`v4: ${field}`, (pub) => alteredV4(pub, field)]),
  ),
};

/** The relay becomes honest: shows `viewer` the genuine keys of `user`, and waits until what it shows next has been read. */
async function shown(relay, viewer, user) {
  const { pub } = relay.users.get(user.name);
  relay.shows = (_user, pub) => pub;
  relay.show(viewer.name, user.name, pub);
  relay.show(viewer.name, 'somebody else', stripped(bundle('somebody else', party(), { kemKey: kemKeyOf(pub), validUntil: 0 })));
  assert.equal(await viewer.client.waitForUser('somebody else'), true);
}

describe('altered keys of a peer are INVALID_BUNDLE', together, () => {
  for (const [what, alter] of Object.entries(alterations)) {
    test(`in a conversation, ${what}`, async (t) => {
      const relay = await hostileRelay(t);
      const { alice, bob } = await acquainted(relay, 'alice', 'bob');
      const session = sessionOf(relay.frames.at(-1));
      relay.show('bob', 'alice', alter(relay.users.get('alice').pub));
      await reports(bob, 'INVALID_BUNDLE', 'alice');
      await goesOn(alice, bob);
      assert.equal(sessionOf(relay.frames.at(-1)), session, 'the session is the same');
      nobodyReports({ alice, bob });
    });

    test(`at first contact, ${what}; what was sent goes when genuine ones are shown`, async (t) => {
      const relay = await hostileRelay(t);
      relay.shows = (user, pub, viewer) => (viewer === 'alice' ? alter(pub) : pub);
      const { alice, bob } = await clients(relay, 'alice', 'bob');
      const sending = alice.send('bob', 'at last');
      await reports(alice, 'INVALID_BUNDLE', 'bob');
      assert.equal(relay.frames.length, 0);
      relay.shows = (_user, pub) => pub;
      relay.show('alice', 'bob', relay.users.get('bob').pub);
      await sending;
      assert.equal((await bob.inbox.next()).content, 'at last');
      await goesOn(alice, bob);
      nobodyReports({ alice, bob });
    });
  }

  for (const [whose, of] of [["somebody else's", 'carol'], ["the viewer's own", 'bob']]) {
    test(`${whose} bundle as a peer's`, async (t) => {
      const relay = await hostileRelay(t);
      const { alice, bob, carol } = await acquainted(relay, 'alice', 'bob', 'carol');
      relay.show('bob', 'alice', relay.users.get(of).pub);
      await reports(bob, 'INVALID_BUNDLE', 'alice');
      await goesOn(alice, bob);
      await goesOn(carol, bob);
      nobodyReports({ alice, bob, carol });
    });
  }
});

describe('a bundle stripped of v4', together, () => {
  const forms = { 'taken out': stripped, null: (pub) => ({ ...pub, v4: null }) };
  for (const [what, strip] of Object.entries(forms)) {
    for (const legacyPeers of ['allow', 'refuse']) {
      test(`of a peer in a conversation is PROTOCOL_MISMATCH: ${what}, legacyPeers: '${legacyPeers}'`, async (t) => {
        const relay = await hostileRelay(t);
        const { alice } = await clients(relay, 'alice');
        const bob = await person(relay, 'bob', { legacyPeers });
        await goesOn(alice, bob, 1);
        relay.show('bob', 'alice', strip(relay.users.get('alice').pub));
        await reports(bob, 'PROTOCOL_MISMATCH', 'alice');
        await goesOn(alice, bob);
        nobodyReports({ alice, bob });
      });
    }
  }

  test('is PROTOCOL_MISMATCH after the peer has come back on another connection', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    relay.shows = (user, pub, viewer) => (user === 'alice' && viewer === 'bob' ? stripped(pub) : pub);
    const back = relay.back('alice');
    relay.cut('alice');
    await back;
    await reports(bob, 'PROTOCOL_MISMATCH', 'alice');
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('at first contact with one side: the other side refuses wire 3, and wire 4 is spoken once it has been shown', async (t) => {
    const relay = await hostileRelay(t);
    relay.shows = (_user, pub, viewer) => (viewer === 'alice' ? stripped(pub) : pub);
    const { alice, bob } = await clients(relay, 'alice', 'bob');
    const { pub } = relay.users.get('bob');
    await alice.send('bob', 'in wire 3');
    assert.ok(!relay.frames.at(-1).payload.header.includes('.'));
    await reports(bob, 'PROTOCOL_MISMATCH', 'alice');
    await shown(relay, alice, bob);
    await goesOn(alice, bob);
    relay.show('alice', 'bob', stripped(pub));
    await reports(alice, 'PROTOCOL_MISMATCH', 'bob');
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('at first contact with both sides: they speak wire 3 until one sees wire 4, and never again', async (t) => {
    const relay = await hostileRelay(t);
    relay.shows = (_user, pub) => stripped(pub);
    const { alice, bob } = await clients(relay, 'alice', 'bob');
    const talk = async (header) => {
      for (const [from, to] of [[alice, bob], [bob, alice]]) {
        await from.send(to.name, `from ${from.name}`);
        assert.equal((await to.inbox.next()).content, `from ${from.name}`);
        assert.match(relay.frames.at(-1).payload.header, header);
      }
    };
    await talk(/^[\w-]+$/);
    const old = relay.frames.slice();
    await shown(relay, alice, bob);
    await alice.send('bob', 'in wire 4');
    assert.equal((await bob.inbox.next()).content, 'in wire 4');
    relay.show('alice', 'bob', stripped(relay.users.get('bob').pub));
    await reports(alice, 'PROTOCOL_MISMATCH', 'bob');
    await talk(/\./);
    for (const frame of old) {
      relay.deliver(frame);
      await reports(frame.to === 'bob' ? bob : alice, 'PROTOCOL_MISMATCH', frame.from);
    }
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test("with legacyPeers: 'refuse' it is not spoken to at first contact either, and the genuine one is", async (t) => {
    const relay = await hostileRelay(t);
    const { bob } = await clients(relay, 'bob');
    relay.shows = (_user, pub, viewer) => (viewer === 'alice' ? stripped(pub) : pub);
    const alice = await person(relay, 'alice', { legacyPeers: 'refuse' });
    await assert.rejects(alice.send('bob', 'secret'), { code: 'PROTOCOL_MISMATCH', peerId: 'bob', retryable: false });
    assert.equal(relay.frames.length, 0);
    await shown(relay, alice, bob);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });
});

describe('a bundle that is out of date is INVALID_BUNDLE', together, () => {
  /** `bob` has written to `dave`, whose keys are the test's: `bundleOf({ id, validUntil })` is one of dave's. */
  async function withDave(t) {
    const relay = await hostileRelay(t);
    const people = await acquainted(relay, 'alice', 'bob');
    const kemKey = kemKeyOf(relay.users.get('alice').pub);
    const dave = party();
    const bundleOf = ({ id = 2, prekey = dave.prekey, ...validity }) => bundle('dave', { identity: dave.identity, prekey }, { kemKey, id, ...validity });
    relay.show('bob', 'dave', bundleOf({ validUntil: Date.now() + 60 * days }));
    const { frame } = await withheld(relay, people.bob, { name: 'dave' });
    assert.equal(fieldOf(frame, 'signed prekey id').readUInt32BE(), 2);
    return { relay, people, bundleOf, first: frame };
  }

  const old = {
    'it has expired': () => ({ validUntil: Date.now() - days }),
    'it ends earlier than one seen before, with which prekeys came that were replaced since': () => ({ id: 1, prekey: generateKeyPair(), validUntil: Date.now() + 59 * days }),
    'it is not valid yet': () => ({ validFrom: Date.now() + days, validUntil: Date.now() + 90 * days }),
  };
  for (const [why, validity] of Object.entries(old)) {
    test(`${why}: messages go on over the session there is`, async (t) => {
      const { relay, people, bundleOf, first } = await withDave(t);
      relay.show('bob', 'dave', bundleOf(validity()));
      await reports(people.bob, 'INVALID_BUNDLE', 'dave');
      const { frame } = await withheld(relay, people.bob, { name: 'dave' });
      assert.equal(sessionOf(frame), sessionOf(first));
      await goesOn(people.alice, people.bob);
      nobodyReports(people);
    });

    test(`${why}: no new session begins with it, when one has to begin`, async (t) => {
      const { relay, people, bundleOf, first } = await withDave(t);
      relay.show('bob', 'dave', bundleOf(validity()));
      await reports(people.bob, 'INVALID_BUNDLE', 'dave');
      const caught = relay.caught((frame) => frame.from === 'bob' && frame.to === 'dave' && sessionOf(frame) !== sessionOf(first));
      relay.deliver({ ...relay.frames.find((frame) => frame.from === 'alice' && !hasHandshake(frame)), from: 'dave' });
      await reports(people.bob, 'DECRYPTION_FAILED', 'dave');
      assert.equal(fieldOf(await caught, 'signed prekey id').readUInt32BE(), 2, 'the prekeys are those of the newest bundle');
      await goesOn(people.alice, people.bob);
      nobodyReports(people);
    });
  }

  test('one that ends later is taken', async (t) => {
    const { relay, people, bundleOf, first } = await withDave(t);
    relay.show('bob', 'dave', bundleOf({ id: 3, prekey: generateKeyPair(), validUntil: Date.now() + 61 * days }));
    relay.show('bob', 'dave', bundleOf({ validUntil: Date.now() + 60 * days }));
    await reports(people.bob, 'INVALID_BUNDLE', 'dave');
    const { frame } = await withheld(relay, people.bob, { name: 'dave' });
    assert.equal(sessionOf(frame), sessionOf(first));
    nobodyReports(people);
  });

  test('at first contact: what was sent waits for one that is not', async (t) => {
    const relay = await hostileRelay(t);
    const people = await acquainted(relay, 'alice', 'bob');
    const [kemKey, dave] = [kemKeyOf(relay.users.get('alice').pub), party()];
    relay.show('bob', 'dave', bundle('dave', dave, { kemKey, validUntil: Date.now() - days }));
    const sending = people.bob.send('dave', 'in time');
    await reports(people.bob, 'INVALID_BUNDLE', 'dave');
    relay.show('bob', 'dave', bundle('dave', dave, { kemKey, validUntil: Date.now() + days }));
    assert.equal((await sending).status, 'queued');
    await goesOn(people.alice, people.bob);
    nobodyReports(people);
  });
});
