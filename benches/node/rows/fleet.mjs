// The row about PostgreSQL with Redis: what waits for a round trip is written with it, whoever it is for.
import { pair } from '../delivery/pair.mjs';
import { median } from '../measure.mjs';
import { mockRelay } from '../relays.mjs';
import { more, number } from '../report.mjs';
import { withFleet } from '../stores.mjs';

const rounds = 9;
const peers = 16;
const one = { count: 100, inFlight: 1 };
const many = { count: 4_000, inFlight: 64 };

export const fleetRows = () => withFleet(measure);

async function measure(store) {
  const relay = await mockRelay();
  const ends = await pair('stored', relay.url, () => [JSON.stringify({ ...store, peers })]);
  const run = counted(ends);
  try {
    await run({ count: 1_000, inFlight: 64 });
    const samples = { one: [], many: [] };
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? ['one', 'many'] : ['many', 'one'];
      for (const which of order) samples[which].push(await run({ one, many }[which]));
    }
    const of = (which, figure) => median(samples[which].map(figure));
    const trips = (which) => `${number(of(which, ({ database }) => database))} and ${number(of(which, ({ redis }) => redis))}`;
    return [
      more({
        what: 'PostgreSQL + Redis, 64 in flight',
        peer: 'one in flight',
        ours: of('many', ({ perSecond }) => perSecond),
        theirs: of('one', ({ perSecond }) => perSecond),
        unit: 'msg/s',
        atLeast: 10,
        method: `one sender, ${peers} recipients in another process, all stored; first send to last handler call of ${many.count} messages and of ${one.count}, in turns, median of ${rounds}. Round trips a message to PostgreSQL and Redis, by sending, receiving and what was handled together: one in flight ${trips('one')}, 64 in flight ${trips('many')}`,
      }),
    ];
  } finally {
    ends.close();
    relay.close();
  }
}

/** Runs tasks of `ends`, and tells how many round trips each message of the task took. */
function counted(ends) {
  let before = { database: 0, redis: 0 };
  return async (task) => {
    const { perSecond, trips } = await ends.run(task);
    const now = { database: trips.sender.database + trips.receiver.database, redis: trips.sender.redis + trips.receiver.redis };
    const each = (service) => (now[service] - before[service]) / task.count;
    const result = { perSecond, database: each('database'), redis: each('redis') };
    before = now;
    return result;
  };
}
