// Crash runs: two users in processes of their own and a relay in a third, each killed at random instants and started
// again, while numbered messages flow both ways. What is checked is in `verdict`.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const peerProgram = fileURLToPath(new URL('./crash-peer.mjs', import.meta.url));
const { binaryPath } = createRequire(import.meta.url)('../../platform.js');

/** How long everything that was accepted may take to be handled once nobody is killed any more. */
const QUIESCENCE_MS = 120_000;

/** Numbers that a seed decides, from 0 up to 1 (mulberry32). */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A process that can be killed and started again, and the lines that it prints. */
class Restartable {
  #start;
  #child;
  #waiting = new Set();
  stderr = '';

  constructor(start) {
    this.#start = start;
  }

  start() {
    const child = this.#start();
    this.#child = child;
    this.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
    child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr = (this.stderr + text).slice(-4_000)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      for (const check of this.#waiting) check(line);
    });
  }

  /** The next line that matches; rejects when the process ends before it. */
  line(wanted) {
    return new Promise((resolve, reject) => {
      const check = (line) => {
        if (!wanted.test(line)) return;
        this.#waiting.delete(check);
        resolve(line);
      };
      this.#waiting.add(check);
      void this.ended.then(({ code, signal }) => {
        this.#waiting.delete(check);
        reject(new Error(`ended with ${code ?? signal} before ${wanted}\n${this.stderr}`));
      });
    });
  }

  say(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  end() {
    this.#child.stdin.end();
    return this.ended;
  }

  async kill() {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/**
 * Kills and starts again `kills` times. `stores` is what `crash-peer.mjs` opens, for alice and for bob. Returns what
 * was found: `{ problems, sent, handled, repeated, kills }`.
 */
export async function crash({ seed, kills, stores, directory, log = () => {} }) {
  const random = randomOf(seed);
  const port = await freePort();
  const relay = new Restartable(() => spawn(binaryPath(), ['mock-relay', '--port', String(port)], { stdio: ['pipe', 'pipe', 'pipe'] }));
  const journals = { alice: join(directory, 'alice.journal'), bob: join(directory, 'bob.journal') };
  const user = (name, peer) =>
    new Restartable(() => {
      const env = {
        ...process.env,
        CRASH_USER: name,
        CRASH_PEER: peer,
        CRASH_RELAY: `ws://127.0.0.1:${port}`,
        CRASH_JOURNAL: journals[name],
        CRASH_STORE: JSON.stringify(stores[name]),
      };
      return spawn(process.execPath, [peerProgram], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    });
  const processes = { relay, alice: user('alice', 'bob'), bob: user('bob', 'alice') };
  const ready = { relay: /:\d+/, alice: /^ready$/, bob: /^ready$/ };
  try {
    for (const name of Object.keys(processes)) {
      processes[name].start();
      await processes[name].line(ready[name]);
    }
    for (let kill = 0; kill < kills; kill += 1) {
      const at = random();
      const name = at < 0.15 ? 'relay' : at < 0.575 ? 'alice' : 'bob';
      // Sometimes while it starts, mostly in the middle of its work.
      if (random() < 0.8) await Promise.race([processes[name].line(/^(sent|handled|try)/), after(500)]).catch(() => {});
      await after(random() * 120);
      await processes[name].kill();
      processes[name].start();
      if (kill % 25 === 24) log(`${kill + 1} kills`);
      if (random() < 0.7) await Promise.race([processes[name].line(ready[name]), after(20_000)]).catch(() => {});
    }
    const users = [processes.alice, processes.bob];
    await Promise.all(users.map((one) => quiet(one)));
    await settled(processes, journals);
    const ends = await Promise.all(users.map((one) => one.end()));
    const problems = ends.filter(({ code }) => code !== 0).map(({ code, signal }) => `a user ended with ${code ?? signal}`);
    return verdict(journals, kills, problems);
  } finally {
    await Promise.all(Object.values(processes).map((one) => one.kill().catch(() => {})));
  }
}

/** Lets a user finish its sends. It may just have been started. */
async function quiet(user) {
  const stopped = user.line(/^stopped$/);
  user.say('stop');
  await stopped;
}

/** Waits until everything that was accepted has been handled, or for as long as that may take. */
async function settled(processes, journals) {
  const deadline = Date.now() + QUIESCENCE_MS;
  for (const [from, to] of [['alice', 'bob'], ['bob', 'alice']]) {
    while (missing(journals[from], journals[to]).length > 0 && Date.now() < deadline) {
      await Promise.race([processes[to].line(/^handled/), after(1_000)]).catch(() => {});
    }
  }
}

const linesOf = (journal, pattern) => [...readFileSync(journal, 'utf8').matchAll(pattern)];
const sentOf = (journal) => linesOf(journal, /^sent (\d+)$/gm).map(([, number]) => Number(number));
const handledOf = (journal) => linesOf(journal, /^handled (\S+) (\d+)$/gm).map(([, id, number]) => ({ id, number: Number(number) }));

function missing(from, to) {
  const handled = new Set(handledOf(to).map(({ number }) => number));
  return sentOf(from).filter((number) => !handled.has(number));
}

/**
 * The law: every send that resolved is handled; what a handler has completed is never handled under another id, and
 * under the same id only if its process was killed in between; first times are in the order of sending.
 */
export function verdict(journals, kills, problems = []) {
  const found = { problems, sent: 0, handled: 0, repeated: 0, kills };
  for (const [from, to] of [['alice', 'bob'], ['bob', 'alice']]) {
    const lost = missing(journals[from], journals[to]);
    if (lost.length > 0) problems.push(`${from} to ${to}: sent and never handled: ${lost.slice(0, 10)}`);
    const ids = new Map();
    let last = 0;
    for (const { id, number } of handledOf(journals[to])) {
      found.handled += 1;
      const before = ids.get(number);
      if (before === undefined) {
        if (number < last) problems.push(`${from} to ${to}: ${number} came after ${last}`);
        last = number;
        ids.set(number, id);
      } else if (before !== id) problems.push(`${from} to ${to}: ${number} was handled as ${before} and as ${id}`);
      else found.repeated += 1;
    }
    found.sent += sentOf(journals[from]).length;
  }
  if (found.sent === 0) problems.push('nothing was sent, so this has shown nothing');
  return found;
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
