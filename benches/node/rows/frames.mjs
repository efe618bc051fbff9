// Rows about bytes on the wire: the frames in which clients of ours send 64 bytes through a relay,
// as they arrive at a front before it.
import { on, once } from 'node:events';
import { createApp } from '@stvor/sdk';
import { recorder } from '../recorder.mjs';
import { mockRelay } from '../relays.mjs';
import { bound } from '../report.mjs';

const rounds = 5;
const text = 'x'.repeat(64);

export async function frameRows() {
  const [wire4, wire3] = [await conversations({ wire3: false }), await conversations({ wire3: true })];
  const longest = (conversations, at) => Math.max(...conversations.map((lengths) => lengths[at]));
  const [first, later, laterIn3] = [longest(wire4, 0), longest(wire4, 1), longest(wire3, 1)];
  const frames = `whole WebSocket messages with 64 B of text, as they reach the relay; the longest of ${rounds} conversations`;
  return [
    bound({ what: 'wire 4, first message more than a later one', ours: first - later, most: 1_700, unit: 'B', method: `handshake with a one-time prekey, ${first} B, against ${later} B; ${frames}` }),
    bound({ what: 'wire 4, later message more than in wire 3', ours: later - laterIn3, most: 75, unit: 'B', method: `${later} B against ${laterIn3} B; ${frames}` }),
  ];
}

/** Lengths of the first message and of one after the peer has answered, for each of new pairs of users. */
async function conversations(options) {
  const relay = await mockRelay();
  const front = await recorder(relay.url, options);
  const lengths = [];
  try {
    for (let i = 0; i < rounds; i++) lengths.push(await conversation(front, options, [`alice ${i}`, `bob ${i}`]));
    return lengths;
  } finally {
    front.close();
    relay.close();
  }
}

async function conversation(front, { wire3 }, [alice, bob]) {
  // An app each: users of one app know of each other what no relay tells them.
  const apps = await Promise.all([alice, bob].map(() => createApp({ appToken: 'stvor_bench', relayUrl: front.url })));
  const stocked = wire3 || prekeysOf(front);
  const receiver = await apps[1].connect(bob);
  await stocked;
  const sender = await apps[0].connect(alice);
  const heard = new Promise((resolve) => receiver.onMessage(resolve));
  const [first, given] = [once(front, 'message'), wire3 || once(front, 'found')];
  await sender.send(bob, text, { receipt: !wire3 });
  if (!wire3 && !(await given)[0]) throw new Error('the relay had no one-time prekey to give');
  await heard;
  const later = once(front, 'message');
  await sender.send(bob, text);
  await Promise.all(apps.map((app) => app.disconnect()));
  return [(await first)[0], (await later)[0]];
}

/** When the relay has one-time prekeys of the user who connects. */
async function prekeysOf(front) {
  for await (const [left] of on(front, 'prekeys')) if (left > 0) return;
}
