// Rows about whole deliveries between two processes through a relay in a third: the SDK over the
// mock relay, against plain `ws` clients that pass the same frames unencrypted over the
// documentation's relay-server.mjs.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { median } from '../measure.mjs';
import { more, within } from '../report.mjs';
import { documentedRelay, mockRelay } from '../relays.mjs';

const rounds = 9;
const latencyMessages = 200;
const throughputMessages = 4_000;

export async function deliveryRows() {
  const relays = await Promise.all([mockRelay(), documentedRelay()]);
  const [ours, theirs] = await Promise.all([pair('sdk', relays[0].url), pair('plain', relays[1].url)]);
  try {
    for (const { run } of [ours, theirs]) await run({ count: 1_000, inFlight: 64 });
    const latency = await inTurns(ours, theirs, { count: latencyMessages, gapMs: 2 }, (result) => result.medianUs);
    const rate = await inTurns(ours, theirs, { count: throughputMessages, inFlight: 64 }, (result) => result.perSecond);
    const peer = 'ws, plaintext';
    return [
      within({ what: 'send to handler, 64 B, latency', peer, ...latency, unit: 'us', atMost: 1.5, method: `two processes and a relay; a message every 2 ms, ${latencyMessages} a batch, batches in turns; median of ${rounds} batches' medians` }),
      more({ what: 'the same, 64 in flight', peer, ...rate, unit: 'msg/s', atLeast: 1, method: `first send to last handler call of ${throughputMessages} messages (ws: 64 frames not yet written out), batches in turns; median of ${rounds}` }),
    ];
  } finally {
    for (const end of [ours, theirs, ...relays]) end.close();
  }
}

async function inTurns(ours, theirs, task, figure) {
  const samples = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) samples[i].push(figure(await [ours, theirs][i].run(task)));
  }
  return { ours: median(samples[0]), theirs: median(samples[1]) };
}

/** A receiver and a sender of one kind, each in a process of its own. */
async function pair(kind, url) {
  const start = async (role) => {
    const child = fork(new URL(`../delivery/${kind}.mjs`, import.meta.url), [role, url]);
    await message(child);
    return child;
  };
  const receiver = await start('receiver');
  const sender = await start('sender');
  return {
    async run(task) {
      const received = (receiver.send({ count: task.count }), message(receiver));
      const [start] = await Promise.all([(sender.send(task), message(sender)), received]);
      const { medianUs, lastAt } = await received;
      return { medianUs, perSecond: task.count / ((lastAt - start.firstAt) / 1e6) };
    },
    close: () => [sender, receiver].forEach((child) => child.kill()),
  };
}

/** The next message of `child`; rejects if it ends instead. */
async function message(child) {
  const settled = new AbortController();
  const { signal } = settled;
  const ended = once(child, 'exit', { signal }).then(() => Promise.reject(new Error('a benchmark process ended early')));
  try {
    const [reply] = await Promise.race([once(child, 'message', { signal }), ended]);
    return reply;
  } finally {
    settled.abort();
    ended.catch(() => {});
  }
}
