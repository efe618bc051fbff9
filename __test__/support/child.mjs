// Programs in processes of their own.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The project's directory: programs run there, so that they find the package by its name. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a program in development printed to stderr, without the notes that it keeps things in memory only. */
export function withoutMemoryWarnings(stderr) {
  if (!stderr.includes('[STVOR_MEMORY_ONLY]')) return stderr;
  return stderr.replace(/^\(node:\d+\) \[STVOR_MEMORY_ONLY\] .*\n|^\(Use `node --trace-warnings .*\n/gm, '');
}

/**
 * Starts a program: a file's path, or with `code` the text of an ES module. Ends after the test.
 * `line(predicate)` waits for a line of stdout, `ended` for `{ code, signal, lines, stderr, ms }`.
 */
export function program(t, { file, code, args = [], env = {}, cwd = root, type = 'module' }) {
  const started = performance.now();
  const nodeArgs = code === undefined ? [file, ...args] : [`--input-type=${type}`, '--eval', code, ...args];
  const child = spawn(process.execPath, nodeArgs, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = [];
  const waiting = new Set();
  let [rest, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop();
    lines.push(...parts);
    for (const check of waiting) check();
  });
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode, signal) => resolve({ code: exitCode, signal, lines, stderr: withoutMemoryWarnings(stderr), ms: performance.now() - started }));
  });
  t.after(() => {
    child.kill('SIGKILL');
    return ended;
  });
  return { child, lines, ended, line: (wanted) => lineOf({ lines, waiting, ended }, wanted) };
}

function lineOf({ lines, waiting, ended }, wanted) {
  const matches = typeof wanted === 'string' ? (line) => line === wanted : (line) => wanted.test(line);
  return new Promise((resolve, reject) => {
    const check = () => {
      const found = lines.find(matches);
      if (found === undefined) return;
      waiting.delete(check);
      resolve(found);
    };
    waiting.add(check);
    check();
    ended.then(({ code, stderr }) => reject(new Error(`ended with ${code} before ${wanted}:\n${lines.join('\n')}\n${stderr}`)));
  });
}
