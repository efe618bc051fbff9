// Root keys are nowhere in the memory of a process in clear, but while a step works with one. A process of its own
// uses every kind of session; its memory is read from here, while it stands still.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { buildTestAddon } from '../scripts/build.mjs';
import { program, root } from './support/child.mjs';
import { findKeys, mappingFlags } from './support/memory.mjs';
import { mockRelay } from './support/relays.mjs';

const { binding, platform } = createRequire(import.meta.url)('../platform.js');

/** What the hooks combine each byte with. */
const MASK = 0xa5;

// Other systems have no such way into the memory of another process.
describe('root keys in memory', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
  let addon;
  before(() => {
    addon = buildTestAddon();
  });

  test('are found nowhere after sends, receives and saves, where a planted one is found', async (t) => {
    const relay = await mockRelay(t);
    const directory = await mkdtemp(join(tmpdir(), 'stvor-memory-'));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const { child, line } = program(t, { file: join(root, '__test__', 'support', 'root-keys.mjs'), args: [addon, relay.url, join(directory, 'stvor.db')] });
    const told = async (name) => {
      const [, ...keys] = (await line(new RegExp(`^${name} `))).split(' ');
      return keys.map((key) => Buffer.from(key, 'hex').map((byte) => byte ^ MASK));
    };
    const scan = (keys) => {
      child.kill('SIGSTOP');
      try {
        return findKeys(child.pid, keys);
      } finally {
        child.kill('SIGCONT');
      }
    };
    const [alive, replaced] = [await told('alive'), await told('replaced')];
    const keys = [...alive, ...replaced];
    assert.ok(alive.length >= 8 && replaced.length >= 150, `${alive.length} alive, ${replaced.length} replaced`);
    assert.equal(new Set(keys.map((key) => key.toString('hex'))).size, keys.length, 'each is told once');

    child.kill('SIGUSR2');
    const [unused] = await told('unused');
    const first = scan([unused, ...keys]);
    assert.ok(first.scanned > 1 << 24, `${first.scanned} bytes`);
    const pieces = first.found.filter(({ key }) => key === 0);
    assert.equal(pieces.length, 4, 'what is in memory is found: the four parts of the planted key');
    assert.deepEqual(first.found.filter(({ key }) => key > 0), [], 'and nothing of root keys');

    child.kill('SIGUSR2');
    const [used] = await told('used');
    const second = scan(keys);
    assert.ok(second.found.length >= 4, 'a root key would have been found');
    assert.deepEqual([...new Set(second.found.map(({ key }) => keys[key].toString('hex')))], [used.toString('hex')]);

    const isProtected = (flags) => flags.includes('lo') && flags.includes('dd') && !flags.includes('wr');
    assert.equal(mappingFlags(child.pid).filter(isProtected).length, 1, 'one page, locked and not dumped, holds the key of the process');
  });

  test('cannot be asked for in the addon that ships', () => {
    const hooks = ['notedRootKeys', 'plant', 'exchangeOnRestingThreads'];
    assert.deepEqual(hooks.filter((name) => name in binding()), []);
    const shipped = readFileSync(join(root, `stvor.${platform()}.node`));
    const withHooks = readFileSync(addon);
    assert.equal(withHooks.includes('notedRootKeys'), true);
    assert.equal(shipped.includes('notedRootKeys'), false);
  });
});
