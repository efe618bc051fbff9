// Rows about whole deliveries between two processes through a relay in a third: the SDK over the
// mock relay, against plain `ws` clients that pass the same frames unencrypted over the
// documentation's relay-server.mjs; and wire 4 against wire 3, the SDK over the same relay.
import { inTurns, pair } from '../delivery/pair.mjs';
import { more, within } from '../report.mjs';
import { documentedRelay, mockRelay, relaysOfBothWires } from '../relays.mjs';

const rounds = 9;
const roundsOfWires = 61;
const latencyMessages = 200;
const throughputMessages = 4_000;
const throughput = { count: throughputMessages, inFlight: 64 };
const warmUp = { count: 1_000, inFlight: 64 };

export async function deliveryRows() {
  return [...(await againstPlain()), await againstWire3()];
}

async function againstPlain() {
  const relays = await Promise.all([mockRelay(), documentedRelay()]);
  const [ours, theirs] = await Promise.all([pair('sdk', relays[0].url), pair('plain', relays[1].url)]);
  try {
    for (const { run } of [ours, theirs]) await run(warmUp);
    const latency = await inTurns(ours, theirs, rounds, { count: latencyMessages, gapMs: 2 }, (result) => result.medianUs);
    const rate = await inTurns(ours, theirs, rounds, throughput, (result) => result.perSecond);
    const peer = 'ws, plaintext';
    return [
      within({ what: 'send to handler, 64 B, latency', peer, ...latency, unit: 'us', atMost: 1.5, method: `two processes and a relay; a message every 2 ms, ${latencyMessages} a batch, batches in turns; median of ${rounds} batches' medians` }),
      more({ what: 'the same, 64 in flight', peer, ...rate, unit: 'msg/s', atLeast: 1, method: `first send to last handler call of ${throughputMessages} messages (ws: 64 frames not yet written out), batches in turns; median of ${rounds}` }),
    ];
  } finally {
    for (const end of [ours, theirs, ...relays]) end.close();
  }
}

/** Contents of wire 4 are kept until the peer's receipt, and arrive once and in order whatever the relay does. */
async function againstWire3() {
  const relays = await relaysOfBothWires();
  const [ours, theirs] = await Promise.all(relays.map(({ url }) => pair('sdk', url)));
  try {
    for (const { run } of [ours, theirs]) await run(warmUp);
    const rate = await inTurns(ours, theirs, roundsOfWires, throughput, (result) => result.perSecond);
    return more({ what: 'wire 4, send to handler, 64 B, 64 in flight', peer: 'wire 3', ...rate, unit: 'msg/s', atLeast: 0.85, method: `receipts and ordering against neither, ours both, over relays of one kind; first send to last handler call of ${throughputMessages} messages, batches in turns; median of ${roundsOfWires}` });
  } finally {
    for (const end of [ours, theirs, ...relays]) end.close();
  }
}
