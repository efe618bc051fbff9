// Conversations with clients that have only wire 3: read and written where the app allows it, refused where not.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '@stvor/sdk';
import { errorsOf, messagesOf, Queue } from './support/collect.mjs';
import { hostileRelay, person } from './support/hostile-relay.mjs';
import { mockRelay, TOKEN } from './support/relays.mjs';
import { party } from './support/sessions.mjs';
import { bundle, kemKeyOf } from './support/wire4.mjs';
import { wire3Client, wire3Sessions } from './support/wire3-client.mjs';

/** `alice`, who has wire 4, and `bob`, who has not. */
async function couple(t, { sessions, ...config } = {}) {
  const relay = await mockRelay(t);
  const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, ...config });
  t.after(() => app.disconnect());
  const client = await app.connect('alice');
  const alice = { app, client, inbox: messagesOf(client), errors: errorsOf(client), send: (...args) => client.send(...args) };
  return { relay, alice, bob: await wire3Client(t, relay, 'bob', sessions) };
}

/** One of the two writes to the other, who gets it. */
async function toBob({ alice, bob }, content, expected = content) {
  assert.equal((await alice.send('bob', content)).status, 'delivered');
  assert.deepEqual(await bob.inbox.next(), { from: 'alice', content: expected });
}

async function toAlice({ alice, bob }, content) {
  assert.equal(await bob.send('alice', content), 'ack');
  const message = await alice.inbox.next();
  assert.deepEqual([message.senderId, message.content], ['bob', content]);
}

async function goesOn(both, rounds = 3) {
  for (let i = 0; i < rounds; i += 1) {
    await toBob(both, `${i} from alice`);
    await toAlice(both, `${i} from bob`);
  }
  const { alice, bob } = both;
  for (const queue of [alice.inbox, alice.errors, bob.inbox, bob.errors]) assert.equal(queue.size, 0);
  for (const { payload } of bob.frames) assert.equal(Buffer.from(payload.header, 'base64url').length, 85, 'the header of wire 3');
}

for (const [name, sessions] of Object.entries(wire3Sessions)) {
  describe(`with legacyPeers: 'allow', a client with ${name}`, () => {
    const start = (t) => couple(t, { sessions, legacyPeers: 'allow' });

    test('who has wire 4 begins', async (t) => {
      const both = await start(t);
      await toBob(both, 'first');
      await goesOn(both);
    });

    test('who has wire 3 begins', async (t) => {
      const both = await start(t);
      await toAlice(both, 'first');
      await goesOn(both);
    });

    test('100 messages one way, then 100 the other, then all at once', async (t) => {
      const both = await start(t);
      const { alice, bob } = both;
      const texts = Array.from({ length: 100 }, (_, i) => `${i}: ${'é🔐'.repeat(i)}`);
      await Promise.all(texts.map((content) => alice.send('bob', content)));
      assert.deepEqual((await bob.inbox.take(100)).map(({ content }) => content), texts);
      await Promise.all(texts.map((content) => bob.send('alice', content)));
      assert.deepEqual((await alice.inbox.take(100)).map(({ content }) => content), texts);
      await Promise.all(texts.flatMap((content) => [alice.send('bob', content), bob.send('alice', content)]));
      assert.deepEqual((await bob.inbox.take(100)).map(({ content }) => content), texts);
      assert.deepEqual((await alice.inbox.take(100)).map(({ content }) => content), texts);
      await goesOn(both);
    });

    test('bytes arrive as their text; other values are PROTOCOL_MISMATCH and cost nothing', async (t) => {
      const both = await start(t);
      await toBob(both, Buffer.from('bytes'), 'bytes');
      for (const value of [7, { a: 1 }, null, new Date(0)]) {
        await assert.rejects(both.alice.send('bob', value), { code: 'PROTOCOL_MISMATCH', peerId: 'bob', retryable: false });
      }
      await goesOn(both);
    });

    test('what is sent to each while it is away arrives when it returns', async (t) => {
      const both = await start(t);
      const { alice, bob } = both;
      await goesOn(both, 1);
      await bob.leave();
      for (const content of ['one', 'two', 'three']) assert.equal((await alice.send('bob', content)).status, 'queued');
      await bob.back();
      assert.deepEqual((await bob.inbox.take(3)).map(({ content }) => content), ['one', 'two', 'three']);
      await alice.client.disconnect();
      for (const content of ['four', 'five']) assert.equal(await bob.send('alice', content), 'queued');
      const client = await alice.app.connect('alice');
      const again = { ...alice, inbox: messagesOf(client), errors: errorsOf(client), send: (...args) => client.send(...args) };
      assert.deepEqual((await again.inbox.take(2)).map(({ content }) => content), ['four', 'five']);
      await goesOn({ alice: again, bob });
    });

    test('what of theirs was not handled when the user left is given again, once', async (t) => {
      const { relay, bob } = await couple(t, { sessions, legacyPeers: 'allow' });
      const app = await createApp({ appToken: TOKEN, relayUrl: relay.url, legacyPeers: 'allow' });
      t.after(() => app.disconnect());
      const carol = await app.connect('carol');
      const begun = new Queue();
      carol.onMessage(({ content }) => {
        begun.push(content);
        if (content === 'two') return new Promise(() => {});
      });
      for (const content of ['one', 'two', 'three']) assert.equal(await bob.send('carol', content), 'ack');
      assert.deepEqual(await begun.take(2), ['one', 'two']);
      await carol.disconnect();
      const inbox = messagesOf(await app.connect('carol'));
      assert.equal(await bob.send('carol', 'four'), 'ack');
      assert.deepEqual((await inbox.take(3)).map(({ content }) => content), ['two', 'three', 'four']);
      assert.equal(inbox.size, 0);
    });

    test('there are no receipts: such a send resolves when the relay has the message', async (t) => {
      const both = await start(t);
      const receipts = [];
      both.alice.client.onReceipt((receipt) => receipts.push(receipt));
      assert.equal((await both.alice.send('bob', 'one', { receipt: true })).status, 'delivered');
      assert.equal((await both.bob.inbox.next()).content, 'one');
      await goesOn(both);
      assert.deepEqual(receipts, []);
    });
  });
}

test("with legacyPeers: 'allow' both may begin at once, where the other can read it", async (t) => {
  const both = await couple(t, { sessions: wire3Sessions.CryptoSessionManager, legacyPeers: 'allow' });
  const { alice, bob } = both;
  await alice.client.waitForUser('bob');
  await Promise.all([alice.send('bob', 'from alice'), bob.send('alice', 'from bob')]);
  assert.equal((await bob.inbox.next()).content, 'from alice');
  assert.equal((await alice.inbox.next()).content, 'from bob');
  await goesOn(both);
});

test('who has wire 4 is spoken to in wire 4 by the others all the same', async (t) => {
  const both = await couple(t, { legacyPeers: 'allow' });
  const carol = await (await createApp({ appToken: TOKEN, relayUrl: both.relay.url, legacyPeers: 'refuse' })).connect('carol');
  t.after(() => carol.disconnect());
  messagesOf(carol);
  await goesOn(both, 1);
  assert.equal((await both.alice.send('carol', { a: 1 }, { receipt: true })).status, 'received');
  await goesOn(both);
});

describe('a relay that does its worst to a conversation in wire 3', () => {
  /** What `bob` has sent to `alice`, with whom he talks, and what comes next of his and was not delivered. */
  async function withFrame(t) {
    const relay = await hostileRelay(t);
    const alice = await person(relay, 'alice', { legacyPeers: 'allow' });
    const bob = await wire3Client(t, relay, 'bob');
    const both = { relay, alice, bob };
    await goesOn(both);
    const caught = relay.caught(({ from }) => from === 'bob');
    await bob.send('alice', 'genuine');
    return { ...both, frame: await caught };
  }

  const changed = (field, at) => ({ payload, ...frame }) => {
    const bytes = Buffer.from(payload[field], 'base64url');
    bytes[at < 0 ? bytes.length + at : at] ^= 1;
    return { ...frame, payload: { ...payload, [field]: bytes.toString('base64url') } };
  };
  const forgeries = {
    'another ratchet key': changed('header', 64),
    'another counter': changed('header', 71),
    'another nonce': changed('header', 84),
    'another ciphertext': changed('ciphertext', 0),
    'another tag': changed('ciphertext', -1),
    'a trailer': ({ payload, ...frame }) => ({ ...frame, payload: { ...payload, header: `${payload.header}.BAAA` } }),
    'another sender': (frame) => ({ ...frame, from: 'alice' }),
  };
  for (const [what, forge] of Object.entries(forgeries)) {
    test(`${what}: refused, and the genuine one is read`, async (t) => {
      const { relay, alice, bob, frame } = await withFrame(t);
      relay.deliver(forge(frame));
      assert.equal((await alice.errors.next()).code, 'DECRYPTION_FAILED');
      relay.deliver(frame);
      assert.equal((await alice.inbox.next()).content, 'genuine');
      await goesOn({ alice, bob });
    });
  }

  test('messages again: REPLAY_DETECTED', async (t) => {
    const { relay, alice, bob, frame } = await withFrame(t);
    relay.deliver(frame);
    assert.equal((await alice.inbox.next()).content, 'genuine');
    for (const old of relay.frames.filter(({ from }) => from === 'bob')) {
      relay.deliver(old);
      assert.ok(['REPLAY_DETECTED', 'DECRYPTION_FAILED'].includes((await alice.errors.next()).code));
    }
    await goesOn({ alice, bob });
  });

  test('a v4 that is not the peer\'s: INVALID_BUNDLE, and wire 3 is spoken on', async (t) => {
    const { relay, alice, bob, frame } = await withFrame(t);
    relay.deliver(frame);
    await alice.inbox.next();
    const { pub } = relay.users.get('bob');
    const kemKey = kemKeyOf(relay.users.get('alice').pub);
    const { v4 } = bundle('bob', party(), { kemKey, validUntil: Date.now() + 1e9 });
    for (const made of [{ ...pub, v4 }, { ...pub, v4: relay.users.get('alice').pub.v4 }]) {
      relay.show('alice', 'bob', made);
      const { code, peerId } = await alice.errors.next();
      assert.deepEqual([code, peerId], ['INVALID_BUNDLE', 'bob']);
      await goesOn({ alice, bob });
    }
  });
});

describe("with legacyPeers: 'refuse'", () => {
  /** And `carol`, who has wire 4: with her the conversation goes on. */
  async function withCarol(t) {
    const both = await couple(t, { legacyPeers: 'refuse' });
    const app = await createApp({ appToken: TOKEN, relayUrl: both.relay.url });
    t.after(() => app.disconnect());
    const carol = await app.connect('carol');
    const inbox = messagesOf(carol);
    const undisturbed = async () => {
      await both.alice.send('carol', 'to carol', { receipt: true });
      assert.equal((await inbox.next()).content, 'to carol');
      await carol.send('alice', 'to alice', { receipt: true });
      assert.equal((await both.alice.inbox.next()).content, 'to alice');
      assert.deepEqual([both.alice.inbox.size, both.alice.errors.size, both.bob.frames.length], [0, 0, 0]);
    };
    return { ...both, undisturbed };
  }

  test('nothing is sent to them: PROTOCOL_MISMATCH, however often', async (t) => {
    const { alice, undisturbed } = await withCarol(t);
    for (const content of ['one', Buffer.from('two'), { three: 3 }]) {
      await assert.rejects(alice.send('bob', content), { code: 'PROTOCOL_MISMATCH', peerId: 'bob', retryable: false });
      await undisturbed();
    }
  });

  test('nothing of theirs is received: PROTOCOL_MISMATCH for each, for onError', async (t) => {
    const { alice, bob, undisturbed } = await withCarol(t);
    for (const content of ['one', 'two']) {
      await bob.send('alice', content);
      const { code, peerId, retryable } = await alice.errors.next();
      assert.deepEqual([code, peerId, retryable], ['PROTOCOL_MISMATCH', 'bob', false]);
    }
    await undisturbed();
    await assert.rejects(alice.send('bob', 'answer'), { code: 'PROTOCOL_MISMATCH' });
    await undisturbed();
  });

  test('a send that waited for somebody who turns out to be one of them is PROTOCOL_MISMATCH', async (t) => {
    const { relay, alice, undisturbed } = await withCarol(t);
    const sending = assert.rejects(alice.send('dave', 'too early'), { code: 'PROTOCOL_MISMATCH', peerId: 'dave' });
    await wire3Client(t, relay, 'dave');
    await sending;
    await undisturbed();
  });
});
