// The client's own code without JavaScript, in a process of its own: crates/protocol/examples/contestant.rs.
// It does as many pieces of work as it is told in a line, and answers each line when it is done.
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { example } from '../examples.mjs';
import { processorTime } from '../measure.mjs';

/** Builds the program and returns its path. */
export const build = () => example('stvor-protocol', 'contestant', { profile: 'release' });

/** A contestant for `race`, `{name, run, clock, close}`, that does what the program calls `scenario`. */
export async function native(program, scenario) {
  const child = spawn(program, [scenario], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const expect = async (word) => {
    const { value } = await lines.next();
    if (value !== word) throw new Error(`the native contestant ${scenario} said ${value} instead of ${word}`);
  };
  await expect('ready');
  return {
    name: scenario,
    run(n) {
      child.stdin.write(`${n}\n`);
      return expect('done');
    },
    clock: processorTime(child.pid),
    close: () => child.stdin.end(),
  };
}

/** What the program prints as JSON for `question`, `sizes` or `memory`. */
export const ask = (program, question) => JSON.parse(execFileSync(program, [question], { encoding: 'utf8' }));
