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
  const { crash } = await import('../__test__/support/crash.mjs');
  const { embeddedStore, fleetStore } = await import('../__test__/support/crash-stores.mjs');
  const { dropSchema, services } = await import('../__test__/support/services.mjs');
  const directory = mkdtempSync(join(tmpdir(), 'stvor-crash-'));
  const seed = Number(process.env.CRASH_SEED ?? randomBytes(4).readUInt32LE());
  console.log(`${store}: ${kills} kills, CRASH_SEED=${seed}`);
  const running = store === 'fleet' ? await services() : undefined;
  const schema = `stvor_crash_${seed}`;
  const fleet = running && fleetStore(running, schema);
  const stores = { alice: fleet ?? embeddedStore(directory, 'alice'), bob: fleet ?? embeddedStore(directory, 'bob') };
  try {
    const found = await crash({ seed, kills, stores, directory, log: (line) => console.log(`  ${line}`) });
    console.log(`  ${found.sent} sends accepted, ${found.handled} handled, of which ${found.repeated} again after a kill`);
    if (found.problems.length > 0) throw new Failed(found.problems.join('\n'));
  } finally {
    if (running) await dropSchema(running.databaseUrl, schema);
    await running?.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
