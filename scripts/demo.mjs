// Sets up what is missing, then runs the documentation's Full Working Example against the bundled
// relay on a free port. Prints the example's own output and nothing else on stdout.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Failed, root, script } from './cargo.mjs';
import { setup } from './setup.mjs';

const { binaryPath } = createRequire(import.meta.url)('../platform.js');

/** What the documentation promises. */
const expected = [
  '✅ Alice sent message',
  '✅ Bob sent message',
  '📩 [Bob] from alice@example.com: Hello Bob! This is E2EE! 🔐',
  '📩 [Alice] from bob@example.com: Hi Alice! Got it! 🎉',
];
const timeoutMs = 30_000;

await script(async () => {
  setup();
  const relay = spawn(binaryPath(), ['mock-relay', '--port', '0', '--output', 'json', '--exit-on-stdin-close'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { url } = JSON.parse(await firstLine(relay));
  const app = startApp(url);
  try {
    await showAll(expected, app);
  } finally {
    app.kill();
    relay.stdin.end();
  }
});

/** The example as the documentation has it, but for the relay's address. It stays connected until it is ended. */
function startApp(url) {
  const source = readFileSync(join(root, 'examples/full-working-example/app.mjs'), 'utf8');
  const app = spawn(process.execPath, ['--input-type=module', '-'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  app.stdin.end(source.replace('ws://localhost:8080', url));
  return app;
}

async function firstLine(child) {
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Failed('the mock relay ended before it was listening');
}

/** Passes on what `child` prints, as it comes, until it was every one of `lines`; refuses any other. */
async function showAll(lines, child) {
  const missing = new Set(lines);
  const timer = setTimeout(() => child.kill(), timeoutMs);
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line);
    if (!missing.delete(line)) throw new Failed(`the example printed an unexpected line: ${line}`);
    if (missing.size === 0) break;
  }
  clearTimeout(timer);
  if (missing.size > 0) throw new Failed(`the example ended or hung without printing:\n${[...missing].join('\n')}`);
}
