// Rows about the mock relay itself, against the documentation's relay-server.mjs on `ws`: the same
// load from the same native generator, crates/relay/examples/load.rs.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { example } from '../examples.mjs';
import { median } from '../measure.mjs';
import { documentedRelay, mockRelay } from '../relays.mjs';
import { more, number, within } from '../report.mjs';

const rounds = 5;
const seconds = 3;
const connections = 1_000;
const mebibyte = 2 ** 20;

export async function relayRows() {
  const load = example('stvor-relay', 'load');
  const rate = await inTurns((start) => messagesPerCpuSecond(start, load));
  const memory = await inTurns((start) => idleMemory(start, load));
  const peer = 'relay-server.mjs';
  const of = (samples, field) => median(samples.map((sample) => sample[field]));
  const added = `of it for the connections ${number(of(memory.ours, 'added'))} and ${number(of(memory.theirs, 'added'))} MiB`;
  return [
    more({
      what: 'mock relay, messages per CPU-second',
      peer,
      ours: median(rate.ours),
      theirs: median(rate.theirs),
      unit: 'msg/s',
      atLeast: 4,
      method: `4 pairs, 64 messages in flight each, ${seconds} s a turn; messages that arrived by the relay's user and system time; median of ${rounds}`,
    }),
    within({
      what: `mock relay, memory with ${number(connections)} idle connections`,
      peer,
      ours: of(memory.ours, 'total'),
      theirs: of(memory.theirs, 'total'),
      unit: 'MiB',
      atMost: 1 / 3,
      method: `resident set of a fresh relay each turn (${added}); median of ${rounds}`,
    }),
  ];
}

async function inTurns(measure) {
  const [ours, theirs] = [[], []];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measure(mockRelay));
    theirs.push(await measure(documentedRelay));
  }
  return { ours, theirs };
}

async function messagesPerCpuSecond(start, load) {
  const relay = await start();
  try {
    const args = ['pairs', '--url', relay.url, '--pid', String(relay.pid), '--seconds', String(seconds)];
    const { messages, cpuSeconds } = JSON.parse(execFileSync(load, args, { encoding: 'utf8' }));
    return messages / cpuSeconds;
  } finally {
    relay.close();
  }
}

/** MiB that a relay takes with the connections open, and how much of it came with them. */
async function idleMemory(start, load) {
  const relay = await start();
  const before = residentSet(relay.pid);
  const args = ['idle', '--url', relay.url, '--connections', String(connections)];
  const generator = spawn(load, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(createInterface({ input: generator.stdout }), 'line');
    const total = residentSet(relay.pid);
    return { total: total / mebibyte, added: (total - before) / mebibyte };
  } finally {
    generator.stdin.end();
    relay.close();
  }
}

/** Bytes of memory in use by a process. */
function residentSet(pid) {
  if (process.platform === 'linux') return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  return 1024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }));
}
