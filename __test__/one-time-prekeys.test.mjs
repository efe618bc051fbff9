// One-time prekeys: 100 lie with the relay, more are made when fewer than 25 are left, each begins one session.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import WebSocket from 'ws';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { clients, goesOn, hostileRelay, nobodyReports, together, withheld } from './support/hostile-relay.mjs';
import { appOn, mockRelay, TOKEN, users } from './support/relays.mjs';
import { fieldOf } from './support/wire4.mjs';

/** A connection to the bundled relay that speaks the feature `prekeys`: `say` sends, `heard(type)` waits for a frame. */
async function socket(t, relay) {
  const ws = new WebSocket(relay.url, { headers: { authorization: `Bearer ${TOKEN}`, 'stvor-features': 'prekeys' } });
  const queues = new Map();
  const queue = (type) => queues.get(type) ?? queues.set(type, new Queue()).get(type);
  ws.on('message', (data) => {
    const frame = JSON.parse(data);
    queue(frame.type).push(frame);
  });
  t.after(() => ws.terminate());
  await once(ws, 'open');
  return {
    say: (frame) => ws.send(JSON.stringify(frame)),
    heard: (type) => queue(type).next(),
    async leave() {
      ws.close();
      await once(ws, 'close');
    },
  };
}

const api = async (relay, path, method = 'GET') => (await fetch(relay.httpUrl + path, { method, headers: { authorization: `Bearer ${TOKEN}` } })).json();

/** Waits until the bundled relay has so many of a user's, and returns how many it had on the way. */
async function counted(relay, user, wanted) {
  const seen = new Set();
  for (;;) {
    const count = (await api(relay, `/user/${user}/export`)).data.oneTimePrekeys;
    seen.add(count);
    if (count === wanted) return seen;
  }
}

describe('with the bundled relay', together, () => {
  test('100 are published by who connects, and none more by who connects again', async (t) => {
    const relay = await mockRelay(t);
    const app = await appOn(t, relay);
    const bob = await app.connect('bob');
    await counted(relay, 'bob', 100);
    await bob.disconnect();
    messagesOf(await app.connect('bob'));
    const { alice } = await users(t, relay, 'alice');
    assert.equal((await alice.send('bob', 'uses one up', { receipt: true })).status, 'received');
    assert.deepEqual(await counted(relay, 'bob', 99), new Set([99]));
  });

  test('look-ups get different ones; with 25 left nothing happens, with 24 it is 100 again', async (t) => {
    const relay = await mockRelay(t);
    const app = await appOn(t, relay);
    const bob = await app.connect('bob');
    await counted(relay, 'bob', 100);
    const { publicKeys: pub } = await api(relay, '/public-key/bob');
    await bob.disconnect();

    // The relay gives 20 of a user's at once, and then one in 30 s: somebody leaves it 30 of bob's.
    await api(relay, '/user/bob', 'DELETE');
    const other = await socket(t, relay);
    other.say({ type: 'announce', user: 'bob', pub });
    other.say({ type: 'prekeys', user: 'bob', prekeys: Array.from({ length: 30 }, (_, i) => ({ id: 10_000 + i, key: generateKeyPair().publicKey.toString('base64url') })) });
    await counted(relay, 'bob', 30);
    await other.leave();
    const again = await app.connect('bob');
    const [inbox, errors] = [messagesOf(again), errorsOf(again)];

    const asking = await socket(t, relay);
    const ids = new Set();
    const lookUp = async () => {
      asking.say({ type: 'lookup', user: 'bob' });
      ids.add((await asking.heard('found')).prekey.id);
    };
    for (let left = 29; left >= 25; left -= 1) await lookUp();
    assert.deepEqual(await counted(relay, 'bob', 25), new Set([25]));
    await lookUp();
    const seen = await counted(relay, 'bob', 100);
    assert.ok([...seen].every((count) => count === 24 || count === 100), [...seen].join());
    assert.equal(ids.size, 6);

    // Those of somebody else begin no session with bob: he begins one himself, and the message arrives.
    const { alice } = await users(t, relay, 'alice');
    assert.equal((await alice.send('bob', 'hello', { receipt: true })).status, 'received');
    assert.equal((await inbox.next()).content, 'hello');
    assert.equal((await errors.next()).code, 'DECRYPTION_FAILED');
    assert.equal(errors.size, 0);
  });

  test('25 people who begin at the same time all get through, with one or without', async (t) => {
    const relay = await mockRelay(t);
    const { bob } = await users(t, relay, 'bob');
    const [inbox, errors] = [messagesOf(bob), errorsOf(bob)];
    await counted(relay, 'bob', 100);
    const names = Array.from({ length: 25 }, (_, i) => `person ${i}`);
    const people = await users(t, relay, ...names);
    const results = await Promise.all(names.map((name) => people[name].send('bob', name, { receipt: true })));
    assert.ok(results.every(({ status }) => status === 'received'));
    const messages = await inbox.take(25);
    assert.deepEqual(new Set(messages.map(({ senderId, content }) => `${senderId}: ${content}`)), new Set(names.map((name) => `${name}: ${name}`)));
    assert.deepEqual(await counted(relay, 'bob', 80), new Set([80]), 'the relay gives 20 of them at once');
    assert.deepEqual([inbox.size, errors.size], [0, 0]);
  });
});

describe('with any relay that hands them out', together, () => {
  async function withPrekeys(t) {
    const relay = await hostileRelay(t, { prekeys: true });
    const stocked = relay.stocked('bob');
    const people = await clients(relay, 'bob', 'alice', 'carol');
    await stocked;
    return { relay, people, kept: relay.users.get('bob').prekeys, tell: (left) => relay.users.get('bob').ws.json({ type: 'prekeys', user: 'bob', left }) };
  }

  test('told that 25 are left nothing is made, told of fewer what is missing to 100', async (t) => {
    for (const left of [24, 1, 0]) {
      // A relay of its own each time: one that is short again and again is not given more than 200 at once.
      const { relay, people, kept, tell } = await withPrekeys(t);
      assert.equal(kept.length, 100);
      kept.length = 0;
      tell(25);
      const stocked = relay.stocked('bob');
      tell(left);
      await stocked;
      assert.equal(kept.length, 100 - left);
      await goesOn(people.alice, people.bob, 1);
      nobodyReports(people);
    }
  });

  test('a later one has another id, and begins a session as those before it did', async (t) => {
    const { relay, people, kept, tell } = await withPrekeys(t);
    const { alice, bob, carol } = people;
    const used = [];
    for (const [i, person] of [alice, carol].entries()) {
      const { frame } = await withheld(relay, person, bob);
      used.push(fieldOf(frame, 'one-time prekey id').readUInt32BE());
      relay.deliver(frame);
      await bob.inbox.next();
      await goesOn(person, bob, 1);
      if (i > 0) continue;
      const before = new Set(kept.splice(0).map(({ id }) => id));
      const stocked = relay.stocked('bob');
      tell(0);
      await stocked;
      assert.ok(kept.every(({ id }) => !before.has(id) && id !== used[0]));
    }
    assert.notEqual(used[0], used[1]);
    assert.ok(used.every((id) => id > 0));
    nobodyReports(people);
  });
});
