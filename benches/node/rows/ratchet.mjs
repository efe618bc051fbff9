// Rows about sessions: encrypting, decrypting and establishing them, in one process.
import * as libsignal from '../contestants/libsignal.mjs';
import * as olm from '../contestants/olm.mjs';
import * as primitives from '../contestants/primitives.mjs';
import * as stvor from '../contestants/stvor.mjs';
import { race } from '../measure.mjs';
import { faster } from '../report.mjs';

const small = Buffer.alloc(64, 'x');
const large = Buffer.alloc(64 * 1024, 'x');

const turns = 'one process, contestants in alternating batches of 25 ms, medians of 31 batches';

export async function ratchetRows() {
  const oneWay = await run('oneWay', small, [stvor, libsignal, olm, primitives]);
  const bulk = await run('oneWay', large, [stvor, libsignal]);
  const pingPong = await run('pingPong', small, [stvor, libsignal, olm]);
  const setUp = await run('setUp', small, [stvor, libsignal]);
  const method = (text) => `${text}; ${turns}`;
  return [
    row('one-way 64 B', oneWay, libsignal, 20, method('encrypt + decrypt, both sides heard before')),
    row('one-way 64 B', oneWay, olm, 5, method('encrypt + decrypt, both sides heard before')),
    row('one-way 64 KiB', bulk, libsignal, 5, method('encrypt + decrypt, both sides heard before')),
    row('ping-pong 64 B', pingPong, libsignal, 2.2, method('encrypt + decrypt, sender and receiver change after every message')),
    row('ping-pong 64 B', pingPong, olm, 5, method('encrypt + decrypt, sender and receiver change after every message')),
    row('session set-up to first message read', setUp, libsignal, 2, method('keys made before; bundles verified, both sides establish, encrypt, decrypt; CryptoSessionManager')),
    row('one-way 64 B', oneWay, primitives, 2, method('encrypt + decrypt against two HMACs and one AES-256-GCM each way')),
  ];
}

/** Cost against message size and against the number of sessions in use. */
export async function growthRows() {
  const sizes = [64, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
  const bySize = await race(sizes.map((size) => ({ name: size, run: stvor.oneWay(Buffer.alloc(size, 'x')) })));
  const counts = [1, 1_000, 10_000];
  const bySessions = await race(counts.map((count) => ({ name: count, run: stvor.oneWayAcross(count, small) })));
  const medians = (results) => Object.fromEntries([...results].map(([name, { median }]) => [name, median]));
  return { bySize: medians(bySize), bySessions: medians(bySessions) };
}

async function run(scenario, text, contestants) {
  const lanes = contestants.map(async (contestant) => ({ name: contestant.name, run: await contestant[scenario](text) }));
  return race(await Promise.all(lanes));
}

function row(what, times, peer, atLeast, method) {
  const [ours, theirs] = [times.get(stvor.name).median, times.get(peer.name).median];
  return faster({ what, peer: peer.name, ours, theirs, unit: 'us', atLeast, method });
}
