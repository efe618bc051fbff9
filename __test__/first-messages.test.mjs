// First messages: of both sides at once, over every relay, and of people who come and go while they are on their way.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorsOf, messagesOf } from './support/collect.mjs';
import { clients, goesOn, hostileRelay, nobodyReports, person, together } from './support/hostile-relay.mjs';
import { mockRelay, users } from './support/relays.mjs';
import { hasHandshake, sessionOf } from './support/wire4.mjs';

const numbered = (name, count) => Array.from({ length: count }, (_, i) => `${i} from ${name}`);
const contents = async (inbox, count) => (await inbox.take(count)).map(({ content }) => content);

/** The sessions that both have spoken on since the last message. */
const lastSessions = (relay) => new Set([sessionOf(relay.frames.findLast(({ from }) => from === 'alice')), sessionOf(relay.frames.findLast(({ from }) => from === 'bob'))]);

describe('both sides send first at once', together, () => {
  for (const prekeys of [false, true]) {
    const what = prekeys ? 'with one-time prekeys' : 'without one-time prekeys';

    test(`${what}: two sessions begin, all arrives, both go on with one`, async (t) => {
      const relay = await hostileRelay(t, { prekeys });
      const { alice, bob } = await clients(relay, 'alice', 'bob');
      const held = relay.hold();
      const sends = [[alice, bob], [bob, alice]].flatMap(([from, to]) => numbered(from.name, 20).map((content) => from.send(to.name, content)));
      await Promise.all(sends);
      assert.ok(held.every(hasHandshake));
      assert.equal(new Set(held.map(sessionOf)).size, 2);
      relay.release(held);
      assert.deepEqual(await contents(bob.inbox, 20), numbered('alice', 20));
      assert.deepEqual(await contents(alice.inbox, 20), numbered('bob', 20));
      await goesOn(alice, bob);
      assert.equal(lastSessions(relay).size, 1);
      nobodyReports({ alice, bob });
    });

    test(`${what}: the first messages of one side are lost, and come again`, async (t) => {
      const relay = await hostileRelay(t, { prekeys });
      const { alice, bob } = await clients(relay, 'alice', 'bob');
      const held = relay.hold();
      const sends = [[alice, bob], [bob, alice]].flatMap(([from, to]) => numbered(from.name, 5).map((content) => from.send(to.name, content)));
      await Promise.all(sends);
      relay.release(held.filter(({ from }) => from === 'alice'));
      assert.deepEqual(await contents(bob.inbox, 5), numbered('alice', 5));
      assert.deepEqual(await contents(alice.inbox, 5), numbered('bob', 5));
      await goesOn(alice, bob);
      assert.equal(lastSessions(relay).size, 1);
      nobodyReports({ alice, bob });
    });
  }

  test('five people, everybody to everybody', async (t) => {
    const relay = await hostileRelay(t, { prekeys: true });
    const names = ['alice', 'bob', 'carol', 'dave', 'erin'];
    const people = Object.values(await clients(relay, ...names));
    await Promise.all(people.flatMap((from) => people.filter((to) => to !== from).flatMap((to) => numbered(from.name, 10).map((content) => from.send(to.name, content)))));
    for (const to of people) {
      const messages = await to.inbox.take(40);
      for (const from of people.filter((from) => from !== to)) {
        assert.deepEqual(messages.filter(({ senderId }) => senderId === from.name).map(({ content }) => content), numbered(from.name, 10));
      }
    }
    for (const [i, one] of people.entries()) for (const other of people.slice(i + 1)) await goesOn(one, other, 1);
    nobodyReports(people);
  });

  test('over the bundled relay, in one app and in two, a hundred times', async (t) => {
    const relay = await mockRelay(t);
    const one = await users(t, relay, ...Array.from({ length: 100 }, (_, i) => `a${i}`), ...Array.from({ length: 50 }, (_, i) => `b${i}`));
    const two = await users(t, relay, ...Array.from({ length: 50 }, (_, i) => `b${i + 50}`));
    const errors = [];
    await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      const [a, b] = [one[`a${i}`], one[`b${i}`] ?? two[`b${i}`]];
      const inboxes = [a, b].map(messagesOf);
      errors.push(errorsOf(a), errorsOf(b));
      const [sent, answer] = await Promise.all([a.send(`b${i}`, 'from a', { receipt: true }), b.send(`a${i}`, 'from b', { receipt: true })]);
      assert.deepEqual([sent.status, answer.status], ['received', 'received']);
      assert.deepEqual([await contents(inboxes[0], 1), await contents(inboxes[1], 1)], [['from b'], ['from a']]);
      assert.deepEqual(inboxes.map(({ size }) => size), [0, 0]);
    }));
    assert.ok(errors.every(({ size }) => size === 0));
  });
});

describe('a user who leaves and connects again in the same app', together, () => {
  /** The same person after another `connect`. */
  async function again(someone) {
    await someone.client.disconnect();
    const client = await someone.app.connect(someone.name);
    return { ...someone, client, inbox: messagesOf(client), errors: errorsOf(client), send: (...args) => client.send(...args) };
  }

  test('gets what was on its way, and what nobody had handled, once and in order', async (t) => {
    const relay = await hostileRelay(t);
    const alice = await person(relay, 'alice');
    const silent = await person(relay, 'bob');
    const client = silent.client;
    // Taken by the client, and handled by nobody: its only handler never completes.
    await alice.send('bob', 'handled', { receipt: true });
    assert.equal((await silent.inbox.next()).content, 'handled');
    const begun = new Promise((resolve) => client.onMessage(() => new Promise(() => resolve())));
    for (const content of numbered('alice', 10)) await alice.send('bob', content);
    await begun;
    const held = relay.hold();
    for (const content of ['ten', 'eleven']) await alice.send('bob', content);
    const bob = await again(silent);
    relay.release(held);
    assert.deepEqual(await contents(bob.inbox, 12), [...numbered('alice', 10), 'ten', 'eleven']);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('and has sent first messages that nobody has got: they arrive, and so do those sent after', async (t) => {
    const relay = await hostileRelay(t);
    const bob = await person(relay, 'bob');
    const before = await person(relay, 'alice');
    const lost = relay.hold();
    for (const content of numbered('alice', 5)) await before.send('bob', content);
    assert.ok(lost.length >= 5 && lost.every(hasHandshake));
    const alice = await again(before);
    relay.release([]);
    await Promise.all(['five', 'six'].map((content) => alice.send('bob', content)));
    assert.deepEqual(await contents(bob.inbox, 7), [...numbered('alice', 5), 'five', 'six']);
    await goesOn(alice, bob);
    nobodyReports({ alice, bob });
  });

  test('ten times while the other writes: what was completed is not given again, what was not is, in order', async (t) => {
    const relay = await mockRelay(t);
    const [{ alice }, { app, bob }] = [await users(t, relay, 'alice'), await users(t, relay, 'bob')];
    const count = 400;
    const completed = [];
    const sends = numbered('alice', count).map((content) => alice.send('bob', content));
    let client = bob;
    for (let stay = 1; stay <= 10; stay += 1) {
      await new Promise((resolve) => client.onMessage(({ content }) => {
        if (completed.length < 37 * stay) return void completed.push(content);
        resolve();
        return new Promise(() => {});
      }));
      await client.disconnect();
      client = await app.connect('bob');
    }
    const inbox = messagesOf(client);
    await Promise.all(sends);
    assert.equal((await alice.send('bob', 'last', { receipt: true })).status, 'received');
    assert.deepEqual([...completed, ...await contents(inbox, count + 1 - completed.length)], [...numbered('alice', count), 'last']);
    assert.equal(inbox.size, 0);
  });
});
