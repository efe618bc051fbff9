// One side of a crash run: sends numbered messages to its peer and notes what its handler has completed. It is
// killed at any instant; what it has noted in its journal is what it had done by then.
//
// The journal has a line for each event: `try N` before a send, `sent N` once it has resolved, `failed N CODE`,
// and `handled ID N` as the last thing that a handler does. The lines go to stdout as well.
import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createApp } from '@stvor/sdk';
import { adaptersOf } from './crash-stores.mjs';

const { CRASH_USER: user, CRASH_PEER: peer, CRASH_RELAY: relayUrl, CRASH_JOURNAL: journal } = process.env;
const store = JSON.parse(process.env.CRASH_STORE);
const IN_FLIGHT = 8;

function note(line) {
  appendFileSync(journal, `${line}\n`);
  console.log(line);
}

function lastTried() {
  const tried = [...readFileSync(journal, 'utf8').matchAll(/^try (\d+)$/gm)];
  return tried.length === 0 ? 0 : Number(tried.at(-1)[1]);
}

appendFileSync(journal, '');
const app = await createApp({ appToken: 'stvor_crash', relayUrl, productionMode: true, storageAdapters: await adaptersOf(store) });
const client = await app.connect(user);
client.onError(() => {});
client.onMessage(async ({ id, content }) => {
  await new Promise((resolve) => setImmediate(resolve));
  note(`handled ${id} ${content}`);
});

let number = lastTried();
let isSending = true;
async function sendInTurn() {
  while (isSending) {
    const mine = (number += 1);
    note(`try ${mine}`);
    try {
      await client.send(peer, String(mine), { timeout: 20_000 });
      note(`sent ${mine}`);
    } catch (error) {
      note(`failed ${mine} ${error.code}`);
    }
  }
}
const lanes = Array.from({ length: IN_FLIGHT }, sendInTurn);
console.log('ready');

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'stop') {
    isSending = false;
    await Promise.all(lanes);
    console.log('stopped');
  }
}
await app.disconnect();
process.exit(0);
