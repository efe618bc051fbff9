// How times are taken: contestants run in turns in one process, batch by batch, so that whatever
// else the machine does falls on all of them alike.

const batchMs = 25;
const warmUpMs = 150;

/**
 * Times contestants against each other. A contestant is `{name, run}`, where `run(n)` does the work
 * n times and may return a promise. Returns for each its median time of one piece of work in
 * microseconds, with the quartiles: `Map<name, {median, q1, q3}>`.
 */
export async function race(contestants, { rounds = 31 } = {}) {
  const lanes = [];
  for (const { name, run } of contestants) lanes.push({ name, run, n: await batchSize(run), times: [] });
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? lanes : [...lanes].reverse();
    for (const lane of order) lane.times.push(await timed(lane.run, lane.n));
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

/** Warms `run` up and returns how often it runs in one batch. */
async function batchSize(run) {
  let n = 1;
  let us = await timed(run, n);
  const end = performance.now() + warmUpMs;
  while (performance.now() < end) {
    n = Math.max(1, Math.round((batchMs * 1000) / us / 4));
    us = await timed(run, n);
  }
  return Math.max(1, Math.round((batchMs * 1000) / us));
}

async function timed(run, n) {
  const start = performance.now();
  await run(n);
  return ((performance.now() - start) * 1000) / n;
}
