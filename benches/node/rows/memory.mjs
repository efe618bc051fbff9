// Rows about what peers cost in memory and in a store once nothing is under way with them.
import { execFileSync } from 'node:child_process';
import { ask, build } from '../contestants/native.mjs';
import { example } from '../examples.mjs';
import { median } from '../measure.mjs';
import { bound, number } from '../report.mjs';

const rounds = 5;
const peers = 100_000;
const kibibyte = 2 ** 10;

export function memoryRows() {
  const program = build();
  const records = Array.from({ length: rounds }, () => ask(program, 'memory'));
  const open = JSON.parse(execFileSync(example('stvor-client', 'peers'), [String(peers)], { encoding: 'utf8' }));
  const of = (field) => median(records.map((record) => record[field]));
  const what = 'record with an idle session';
  return [
    bound({ what: `${what}, in memory`, ours: of('record') / kibibyte, most: 2, unit: 'KiB', method: `what the resident set of a native process grows by, a record, for 1,000 of them with different sessions; median of ${rounds} processes` }),
    bound({ what: `${what}, sealed`, ours: of('sealed') / kibibyte, most: 1.2, unit: 'KiB', method: 'what a store is given for it' }),
    bound({ what: `${number(peers)} peers open in one process`, ours: open.mib, most: 400, unit: 'MiB', method: `resident set of a native client with an idle session of wire 4 with each, and of a relay in the same process; ${number(open.bytes)} B a peer` }),
  ];
}
