// What both kinds of ends do alike: send on command, note when messages arrive, report to the parent.
import { setTimeout as delay } from 'node:timers/promises';
import { median } from '../measure.mjs';

/** Microseconds on the clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e3;

/** `trips()`, where there is a store: how often it has been asked so far, which is reported with each task's figures. */
export function serve({ role, onMessage, send, trips = () => undefined }) {
  if (role === 'receiver') receive(onMessage, trips);
  else process.on('message', async (task) => process.send({ ...(await deliver(send, task)), trips: trips() }));
  process.send('ready');
}

function receive(onMessage, trips) {
  let expected = 0;
  let latencies = [];
  process.on('message', ({ count }) => {
    expected = count;
    latencies = [];
  });
  onMessage((text) => {
    const at = now();
    latencies.push(at - Number.parseFloat(text));
    if (latencies.length === expected) process.send({ medianUs: median(latencies), lastAt: at, trips: trips() });
  });
}

/** Sends `count` messages of 64 B that carry their time: paced by `gapMs`, or `inFlight` at once. */
async function deliver(send, { count, gapMs, inFlight }) {
  const firstAt = now();
  const message = () => now().toFixed(3).padEnd(64, ' ');
  if (gapMs !== undefined) {
    for (let i = 0; i < count; i++) await Promise.all([send(message()), delay(gapMs)]);
    return { firstAt };
  }
  let left = count;
  const lane = async () => {
    while (left-- > 0) await send(message());
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return { firstAt };
}
