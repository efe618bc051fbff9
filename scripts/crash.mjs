// Kills processes in the middle of a conversation, hundreds of times: `npm run crash -- --kills 500 --store embedded`,
// and `CRASH_SEED=7 npm run crash` for the same schedule again. See docs/STORAGE.md, "Crash safety".
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failed, script } from './cargo.mjs';
import { setup } from './setup.mjs';

const STORES = ['embedded', 'fleet'];

await script(async () => {
  setup();
  const { kills, stores } = argumentsOf(process.argv.slice(2));
  for (const store of stores) await run(store, kills);
});

function argumentsOf(args) {
  const value = (name, otherwise) => {
    const at = args.indexOf(name);
    return at < 0 ? otherwise : args[at + 1];
  };
  const kills = Number(value('--kills', '300'));
  const store = value('--store');
  if (!Number.isInteger(kills) || kills < 1) throw new Failed('--kills takes a whole number');
  if (store !== undefined && !STORES.includes(store)) throw new Failed(`--store takes ${STORES.join(' or ')}`);
  return { kills, stores: store === undefined ? STORES : [store] };
}

async function run(store, kills) {
  // Loaded only now: what they need has just been installed and built.
  const { crash, embeddedStores, fleetStores } = await import('../__test__/support/crash.mjs');
  const { services } = await import('../__test__/support/services.mjs');
  const directory = mkdtempSync(join(tmpdir(), 'stvor-crash-'));
  const seed = Number(process.env.CRASH_SEED ?? randomBytes(4).readUInt32LE());
  console.log(`${store}: ${kills} kills, CRASH_SEED=${seed}`);
  const running = store === 'fleet' ? await services() : undefined;
  const stores = running ? fleetStores(running, `stvor_crash_${seed}`) : embeddedStores(directory);
  try {
    const found = await crash({ seed, kills, stores, directory, log: (line) => console.log(`  ${line}`) });
    console.log(`  ${found.sent} sends accepted, ${found.handled} handled, of which ${found.repeated} again after a kill`);
    if (found.problems.length > 0) throw new Failed(found.problems.join('\n'));
  } finally {
    await running?.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
