// Rows about the mock relay itself, against the documentation's relay-server.mjs on `ws`: the same
// load from the same native generator, crates/relay/examples/load.rs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { hostTriple, run, targetDir } from '../../../scripts/cargo.mjs';
import { median } from '../measure.mjs';
import { documentedRelay, mockRelay } from '../relays.mjs';
import { more, within } from '../report.mjs';

const rounds = 5;
const seconds = 3;
const connections = 1_000;
const mebibyte = 2 ** 20;

export async function relayRows() {
  const load = buildGenerator();
  const rate = await inTurns((start) => messagesPerCpuSecond(start, load));
  const memory = await inTurns((start) => addedMemory(start, load));
  const peer = 'relay-server.mjs';
  return [
    more({ what: 'mock relay, messages per CPU-second', peer, ...rate, unit: 'msg/s', atLeast: 4, method: `4 pairs, 64 messages in flight each, ${seconds} s a turn; messages that arrived by the relay's user and system time; median of ${rounds}` }),
    within({ what: `mock relay, memory for ${connections} idle connections`, peer, ...memory, unit: 'MiB', atMost: 1 / 3, method: `resident set with the connections less before, a fresh relay each turn; median of ${rounds}` }),
  ];
}

/** The generator is not what is measured: the quickly built profile serves. */
function buildGenerator() {
  const target = hostTriple();
  const args = ['build', '--profile', 'local', '--target', target, '-p', 'stvor-relay', '--example', 'load'];
  run('cargo', args, { stdio: ['ignore', 2, 2] });
  return join(targetDir(), target, 'local', 'examples', process.platform === 'win32' ? 'load.exe' : 'load');
}

async function inTurns(measure) {
  const [ours, theirs] = [[], []];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measure(mockRelay));
    theirs.push(await measure(documentedRelay));
  }
  return { ours: median(ours), theirs: median(theirs) };
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

async function addedMemory(start, load) {
  const relay = await start();
  const before = residentSet(relay.pid);
  const args = ['idle', '--url', relay.url, '--connections', String(connections)];
  const generator = spawn(load, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(createInterface({ input: generator.stdout }), 'line');
    return (residentSet(relay.pid) - before) / mebibyte;
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
