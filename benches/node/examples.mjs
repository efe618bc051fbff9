// Programs that take part in a run and need no JavaScript: examples of our crates.
import { join } from 'node:path';
import { hostTriple, run, targetDir } from '../../scripts/cargo.mjs';

/**
 * Builds an example of `crate` and returns the program's path. What is measured itself is built as
 * what is published is, `{profile: 'release'}`; for what only helps, the quickly built profile serves.
 */
export function example(crate, name, { profile = 'local' } = {}) {
  const target = hostTriple();
  run('cargo', ['build', '--profile', profile, '--target', target, '-p', crate, '--example', name], { stdio: ['ignore', 2, 2] });
  return join(targetDir(), target, profile, 'examples', process.platform === 'win32' ? `${name}.exe` : name);
}
