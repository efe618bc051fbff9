// Rows about what wire 4 costs in time: the client's own code, native, in turns with the peers.
import * as libsignal from '../contestants/libsignal.mjs';
import { build, native } from '../contestants/native.mjs';
import * as olm from '../contestants/olm.mjs';
import * as stvor from '../contestants/stvor.mjs';
import { processorTime, race } from '../measure.mjs';
import { faster, number, within } from '../report.mjs';

const text = Buffer.alloc(64, 'x');
const turns = 'processor time of the thread that works, contestants in alternating batches of 25 ms, medians of 31 batches';

export async function wire4Rows() {
  const program = build();
  const oneWay = await against(program, ['one-way-4', 'one-way-3', 'stream-4'], [
    { name: olm.name, run: await olm.oneWay(text) },
    { name: stvor.name, run: stvor.oneWay(text) },
  ]);
  const setUp = await against(program, ['set-up-4'], [
    { name: libsignal.name, run: await libsignal.setUpWithOneTimePrekey(text) },
    { name: 'libsignal, later', run: await libsignal.oneWay(text) },
  ]);
  const what = 'wire 4, one-way 64 B';
  const pieces = 'seal and encode, decode and open, hand over, both sides heard before; ours native, by whole records as the client keeps them';
  const beside = `with receipts and their Diffie-Hellman steps ${number(oneWay('stream-4'))} us; /ratchet, wire 3 through Node.js, ${number(oneWay(stvor.name))} us`;
  return [
    within({ what, peer: 'wire 3', ours: oneWay('one-way-4'), theirs: oneWay('one-way-3'), unit: 'us', atMost: 1.5, method: `${pieces}, wire 3 likewise; ${turns} (${beside})` }),
    faster({ what, peer: olm.name, ours: oneWay('one-way-4'), theirs: oneWay(olm.name), unit: 'us', atLeast: 3, method: `${pieces}, olm through Node.js; ${turns}` }),
    faster({
      what: 'wire 4, set-up to first message read',
      peer: libsignal.name,
      ours: setUp('set-up-4'),
      theirs: setUp(libsignal.name),
      unit: 'us',
      atLeast: 2,
      method: `hybrid post-quantum agreement with a one-time prekey; keys made before, bundle verified, first message sealed and opened; ours native, theirs through Node.js, where a later message takes ${number(setUp('libsignal, later'))} us; ${turns}`,
    }),
  ];
}

/** Races scenarios of the native program against `others`; returns the median microseconds of a name. */
async function against(program, scenarios, others) {
  const ours = await Promise.all(scenarios.map((scenario) => native(program, scenario)));
  try {
    const clock = processorTime();
    const times = await race([...ours, ...others.map((other) => ({ ...other, clock }))]);
    return (name) => times.get(name).median;
  } finally {
    for (const { close } of ours) close();
  }
}
