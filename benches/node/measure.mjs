// How times are taken: contestants run in turns in one process, batch by batch, so that whatever
// else the machine does falls on all of them alike.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const batchMs = 25;
const warmUpMs = 150;

/**
 * Times contestants against each other. A contestant is `{name, run, clock}`, where `run(n)` does the
 * work n times and may return a promise, and `clock()` tells microseconds: elapsed ones without it.
 * Returns for each its median time of one piece of work in microseconds, with the quartiles:
 * `Map<name, {median, q1, q3}>`.
 */
export async function race(contestants, { rounds = 31 } = {}) {
  const lanes = [];
  for (const lane of contestants) lanes.push({ clock: elapsed, ...lane, n: await batchSize({ clock: elapsed, ...lane }), times: [] });
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? lanes : [...lanes].reverse();
    for (const lane of order) lane.times.push(await timed(lane, lane.n));
  }
  return new Map(lanes.map(({ name, times }) => [name, summary(times)]));
}

/** The quartiles of `values`. */
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q) => sorted[Math.round((sorted.length - 1) * q)];
  return { median: at(0.5), q1: at(0.25), q3: at(0.75) };
}

export const median = (values) => summary(values).median;

const elapsed = () => performance.now() * 1_000;

/**
 * A clock of the processor time that the main thread of a process has used: what runs between two
 * processes is told from what waits for a processor. Elapsed time where the system does not say.
 */
export function processorTime(pid = process.pid) {
  const account = `/proc/${pid}/task/${pid}/schedstat`;
  const read = () => Number(readFileSync(account, 'utf8').split(' ')[0]) / 1_000;
  try {
    read();
  } catch {
    return elapsed;
  }
  return async () => {
    await delay(1); // the account of a thread is complete when it waits
    return read();
  };
}

/** Warms a lane up and returns how often its work is done in one batch. */
async function batchSize(lane) {
  let n = 1;
  const end = performance.now() + warmUpMs;
  for (let share = 4; ; share = performance.now() < end ? 4 : 1) {
    const us = await timed(lane, n);
    // An account of processor time moves in ticks: what took less than one seems to take nothing.
    if (!(us > 0)) {
      if (n > 2 ** 24) throw new Error('what is measured takes no time, or its clock stands still');
      n *= 2;
      continue;
    }
    n = Math.max(1, Math.round((batchMs * 1000) / us / share));
    if (share === 1) return n;
  }
}

async function timed({ run, clock }, n) {
  const start = await clock();
  await run(n);
  return ((await clock()) - start) / n;
}
