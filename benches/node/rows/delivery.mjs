// Rows about whole deliveries between two processes through a relay in a third: the SDK over the
// mock relay, against plain `ws` clients that pass the same frames unencrypted over the
// documentation's relay-server.mjs.
import { inTurns, pair } from '../delivery/pair.mjs';
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
    const latency = await inTurns(ours, theirs, rounds, { count: latencyMessages, gapMs: 2 }, (result) => result.medianUs);
    const rate = await inTurns(ours, theirs, rounds, { count: throughputMessages, inFlight: 64 }, (result) => result.perSecond);
    const peer = 'ws, plaintext';
    return [
      within({ what: 'send to handler, 64 B, latency', peer, ...latency, unit: 'us', atMost: 1.5, method: `two processes and a relay; a message every 2 ms, ${latencyMessages} a batch, batches in turns; median of ${rounds} batches' medians` }),
      more({ what: 'the same, 64 in flight', peer, ...rate, unit: 'msg/s', atLeast: 1, method: `first send to last handler call of ${throughputMessages} messages (ws: 64 frames not yet written out), batches in turns; median of ${rounds}` }),
    ];
  } finally {
    for (const end of [ours, theirs, ...relays]) end.close();
  }
}
