// A sender and a receiver of one kind, each in a process of its own, and runs of them in turns.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { median } from '../measure.mjs';

/** Starts both ends of `kind` (`sdk`, `plain` or `stored`) on the relay at `url`, each with what `more(role)` gives besides. */
export async function pair(kind, url, more = () => []) {
  const start = async (role) => {
    const child = fork(new URL(`${kind}.mjs`, import.meta.url), [role, url, ...more(role)]);
    await message(child);
    return child;
  };
  const receiver = await start('receiver');
  const sender = await start('sender');
  return {
    async run(task) {
      const received = (receiver.send({ count: task.count }), message(receiver));
      const [start] = await Promise.all([(sender.send(task), message(sender)), received]);
      const { medianUs, lastAt, trips } = await received;
      return { medianUs, perSecond: task.count / ((lastAt - start.firstAt) / 1e6), trips: { sender: start.trips, receiver: trips } };
    },
    close: () => [sender, receiver].forEach((child) => child.kill()),
  };
}

/** The median of `figure` over `rounds` runs of the same task by each of two pairs. */
export async function inTurns(ours, theirs, rounds, task, figure) {
  const samples = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) samples[i].push(figure(await [ours, theirs][i].run(task)));
  }
  return { ours: median(samples[0]), theirs: median(samples[1]) };
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
