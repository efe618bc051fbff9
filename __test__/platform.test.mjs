// Where no native code fits: the error says for which machine, and how to build it.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './support/child.mjs';

/** A copy of the package's JavaScript without any native file. */
function bareCopy(t) {
  const directory = mkdtempSync(join(tmpdir(), 'stvor-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const name of ['index.js', 'ratchet.js', 'mock-relay.js', 'platform.js', 'binding.js', 'lib', 'package.json']) {
    cpSync(join(root, name), join(directory, name), { recursive: true });
  }
  return createRequire(join(directory, 'x.js'));
}

function assertUnsupported(error) {
  const platform = `${process.platform}-${process.arch}`;
  assert.equal(error.name, 'StvorError');
  assert.equal(error.code, 'UNSUPPORTED_PLATFORM');
  assert.ok(error.message.includes(platform), error.message);
  assert.match(error.message, /Rust and a C compiler.*build\.mjs"? --release/);
  assert.match(error.action, /build\.mjs"? --release/);
  return true;
}

test('UNSUPPORTED_PLATFORM: the addon is missing', (t) => {
  const require = bareCopy(t);
  for (const name of ['./index.js', './ratchet.js']) assert.throws(() => require(name), assertUnsupported);
});

test('UNSUPPORTED_PLATFORM: the program of the mock relay is missing', async (t) => {
  await assert.rejects(bareCopy(t)('./mock-relay.js').startMockRelay(), assertUnsupported);
});
