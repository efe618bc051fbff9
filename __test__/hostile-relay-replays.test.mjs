// A relay that repeats, withholds, reorders and hands out keys twice: every message is received once and in order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { errorsOf, messagesOf } from './support/collect.mjs';
import { acquainted, clients, goesOn, hostileRelay, nobodyReports, reports, together, withheld } from './support/hostile-relay.mjs';
import { altered, fieldOf, hasHandshake, long, sessionOf } from './support/wire4.mjs';

describe('replayed messages are REPLAY_DETECTED', together, () => {
  /** Everything that `to` ever got, once more; a stay that has just begun may have to be waited for. */
  async function replayAll(relay, from, to, frames = relay.frames.filter((frame) => frame.to === to.name)) {
    const { replayAttempts } = to.app.getMetrics();
    for (const frame of frames) relay.deliver(frame);
    for (const _ of frames) await reports(to, 'REPLAY_DETECTED', from.name);
    assert.equal(to.app.getMetrics().replayAttempts, replayAttempts + frames.length);
  }

  async function couple(t, start = acquainted) {
    const relay = await hostileRelay(t);
    return { relay, ...await start(relay, 'alice', 'bob') };
  }

  test('a first message, at once', async (t) => {
    const { relay, alice, bob } = await couple(t, clients);
    const { frame } = await withheld(relay, alice, bob);
    assert.ok(hasHandshake(frame));
    relay.deliver(frame);
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    await replayAll(relay, alice, bob, [frame, frame, frame]);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('a later message, at once', async (t) => {
    const { relay, alice, bob } = await couple(t);
    const { frame } = await withheld(relay, alice, bob);
    assert.ok(!hasHandshake(frame));
    relay.deliver(frame);
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    await replayAll(relay, alice, bob, [frame, frame, frame]);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('all that both have ever got, handshakes and receipts too, forwards and backwards', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await goesOn(alice, bob, 20);
    for (const [from, to] of [[alice, bob], [bob, alice]]) {
      await replayAll(relay, from, to);
      await replayAll(relay, from, to, relay.frames.filter((frame) => frame.to === to.name).reverse());
    }
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('after the recipient has come back on another connection', async (t) => {
    const { relay, alice, bob } = await couple(t);
    const back = relay.back('bob');
    relay.cut('bob');
    await back;
    await replayAll(relay, alice, bob);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('after the recipient has left and connected anew', async (t) => {
    const { relay, alice, bob } = await couple(t);
    await bob.client.disconnect();
    const client = await bob.app.connect('bob');
    const again = { ...bob, client, inbox: messagesOf(client), errors: errorsOf(client), send: (...args) => client.send(...args) };
    await replayAll(relay, alice, again);
    await goesOn(alice, again);
    nobodyReports({ alice, again });
  });

  test('of a session that another one has followed', async (t) => {
    const { relay, alice, bob } = await couple(t);
    const old = relay.frames.filter((frame) => frame.to === 'bob');
    const { frame } = await withheld(relay, alice, bob);
    relay.deliver(altered(frame, 'tag'));
    await reports(bob, 'DECRYPTION_FAILED', 'alice');
    relay.deliver(frame);
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    await goesOn(alice, bob);
    assert.notEqual(sessionOf(relay.frames.at(-1)), sessionOf(old.at(-1)), 'the forged message made bob begin a session');
    await replayAll(relay, alice, bob, [...old, frame]);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });
});

describe('whatever order a relay delivers in, messages are received once and in order', together, () => {
  const contents = (name, count) => Array.from({ length: count }, (_, i) => `${i} from ${name}`);

  /** Everybody writes to everybody at once; nothing comes twice, nothing is missing, all is in order. */
  async function everybodyWrites(people, count, whenSent = () => {}) {
    const sends = people.flatMap((from) => people.filter((to) => to !== from).flatMap((to) => contents(from.name, count).map((content) => from.send(to.name, content))));
    await Promise.all(sends);
    whenSent();
    for (const to of people) {
      const messages = await to.inbox.take(count * (people.length - 1));
      for (const from of people.filter((from) => from !== to)) {
        assert.deepEqual(messages.filter(({ senderId }) => senderId === from.name).map(({ content }) => content), contents(from.name, count));
      }
    }
  }

  /** Only repetitions are reported. */
  async function onlyReplays(people) {
    for (const { errors } of people) while (errors.size > 0) assert.equal((await errors.next()).code, 'REPLAY_DETECTED');
  }

  /** Numbers in [0, 1) that are the same in every run. */
  function* numbers(seed) {
    for (let state = seed; ; ) yield (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  }

  function shuffled(list, random) {
    const keyed = list.map((item) => [random.next().value, item]);
    return keyed.sort(([a], [b]) => a - b).map(([, item]) => item);
  }

  /** Collects what comes within some milliseconds and delivers it in another order, `copies` times. */
  function shuffle(relay, copies, random = numbers(7)) {
    let collected = [];
    relay.carry = (frame) => {
      if (collected.length === 0) {
        setTimeout(() => {
          const frames = collected;
          collected = [];
          for (const each of shuffled(Array.from({ length: copies }, () => frames).flat(), random)) relay.deliver(each);
        }, 20);
      }
      collected.push(frame);
    };
  }

  for (const copies of [1, 2, 3]) {
    test(`in any order, each message ${copies} times`, async (t) => {
      const relay = await hostileRelay(t);
      const people = Object.values(await clients(relay, 'alice', 'bob', 'carol'));
      shuffle(relay, copies);
      await everybodyWrites(people, 200);
      await onlyReplays(people);
    });
  }

  test('every fourth message lost, in both directions', async (t) => {
    const relay = await hostileRelay(t);
    const people = Object.values(await clients(relay, 'alice', 'bob'));
    const random = numbers(11);
    relay.carry = (frame) => void (random.next().value < 0.75 && relay.deliver(frame));
    await everybodyWrites(people, 50);
    relay.carry = relay.deliver;
    await goesOn(...people);
    nobodyReports(people);
  });

  test('all that was written first, by both, comes last and backwards', async (t) => {
    const relay = await hostileRelay(t);
    const people = Object.values(await clients(relay, 'alice', 'bob'));
    const held = relay.hold();
    await everybodyWrites(people, 30, () => relay.release(held.reverse()));
    await goesOn(...people);
    nobodyReports(people);
  });

  test('some withheld until they have been asked for and sent again, then released', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const kept = [await withheld(relay, alice, bob, long('one')), await withheld(relay, alice, bob, long('two'))];
    await Promise.all(['three', 'four'].map((text) => alice.send('bob', long(text))));
    assert.deepEqual((await bob.inbox.take(4)).map(({ content }) => content), ['one', 'two', 'three', 'four'].map(long));
    for (const { frame, sending } of kept) {
      await sending;
      relay.deliver(frame);
    }
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('all withheld while the recipient goes and comes, then released', async (t) => {
    const relay = await hostileRelay(t);
    const { alice, bob } = await acquainted(relay, 'alice', 'bob');
    const held = relay.hold();
    for (let i = 0; i < 20; i += 1) await alice.send('bob', `${i}`);
    const back = relay.back('bob');
    relay.cut('bob');
    await back;
    relay.release(held);
    assert.deepEqual((await bob.inbox.take(20)).map(({ content }) => content), Array.from({ length: 20 }, (_, i) => `${i}`));
    await goesOn(alice, bob);
    await onlyReplays([alice, bob]);
  });
});

describe('one-time prekeys', together, () => {
  const usedBy = (frame) => fieldOf(frame, 'one-time prekey id').readUInt32BE();

  /** `alice` and `carol` know `bob`, of whom the relay has one-time prekeys. */
  async function withPrekeys(t) {
    const relay = await hostileRelay(t, { prekeys: true });
    const stocked = relay.stocked('bob');
    const people = await clients(relay, 'bob', 'alice', 'carol');
    await stocked;
    return { relay, people, kept: relay.users.get('bob').prekeys };
  }

  /** The relay hands out `prekey`, with which `bob` cannot read the message: he begins a session himself. */
  async function isMended(relay, people, from, prekey) {
    relay.prekey = () => prekey;
    const { frame } = await withheld(relay, from, people.bob);
    assert.equal(usedBy(frame), prekey.id);
    relay.deliver(frame);
    await reports(people.bob, 'DECRYPTION_FAILED', from.name);
    assert.equal((await people.bob.inbox.next()).content, long('genuine'));
    await goesOn(from, people.bob);
    nobodyReports(people);
  }

  test('one begins one session: handed out twice, the second message is refused, and arrives all the same', async (t) => {
    const { relay, people, kept } = await withPrekeys(t);
    const { alice, bob, carol } = people;
    const [prekey] = kept;
    relay.prekey = () => prekey;
    const { frame } = await withheld(relay, alice, bob, long('first'));
    assert.equal(usedBy(frame), prekey.id);
    relay.deliver(frame);
    assert.equal((await bob.inbox.next()).content, long('first'));
    await isMended(relay, people, carol, prekey);
    await goesOn(alice, bob);
    nobodyReports(people);
  });

  test('a forged first message uses none up', async (t) => {
    const { relay, people } = await withPrekeys(t);
    const { alice, bob } = people;
    const { frame } = await withheld(relay, alice, bob);
    assert.notEqual(usedBy(frame), 0);
    const held = relay.hold(); // what bob does about it is to wait
    for (const field of ['KEM ciphertext', 'signature', 'tag', 'ciphertext']) {
      relay.deliver(altered(frame, field));
      await reports(bob, 'DECRYPTION_FAILED', 'alice');
    }
    relay.deliver(frame);
    assert.equal((await bob.inbox.next()).content, long('genuine'));
    relay.release(held);
    await goesOn(alice, bob);
    nobodyReports(people);
  });

  test('another key under the id of one: refused, and mended', async (t) => {
    const { relay, people, kept } = await withPrekeys(t);
    await isMended(relay, people, people.alice, { ...kept[0], key: generateKeyPair().publicKey.toString('base64url') });
  });

  test('an id that was never given: refused, and mended', async (t) => {
    const { relay, people, kept } = await withPrekeys(t);
    await isMended(relay, people, people.alice, { ...kept[0], id: 2 ** 32 - 1 });
  });

  test('what is no key is not used', async (t) => {
    for (const prekey of [{ id: 1, key: 'AAAA' }, { id: 0, key: generateKeyPair().publicKey.toString('base64url') }, { id: -1, key: '' }, 7, null]) {
      const { relay, people } = await withPrekeys(t);
      relay.prekey = () => prekey;
      const { frame } = await withheld(relay, people.alice, people.bob);
      assert.equal(usedBy(frame), 0);
      relay.deliver(frame);
      assert.equal((await people.bob.inbox.next()).content, long('genuine'));
      await goesOn(people.alice, people.bob);
      nobodyReports(people);
    }
  });

  test('a relay that always says that none are left gets 200 in all at once, and the oldest of them still begins a session', async (t) => {
    const { relay, people, kept } = await withPrekeys(t);
    const { ws } = relay.users.get('bob');
    const [oldest] = kept;
    const stocked = relay.stocked('bob');
    for (let i = 0; i < 50; i += 1) ws.json({ type: 'prekeys', user: 'bob', left: 0 });
    await stocked;
    relay.prekey = () => undefined;
    await goesOn(people.alice, people.bob); // whatever bob had to say to the relay came before that
    assert.equal(kept.length, 200);
    relay.prekey = () => oldest;
    const { frame } = await withheld(relay, people.carol, people.bob);
    assert.equal(usedBy(frame), oldest.id);
    relay.deliver(frame);
    assert.equal((await people.bob.inbox.next()).content, long('genuine'));
    await goesOn(people.carol, people.bob);
    nobodyReports(people);
  });
});
