import { pair } from './delivery/pair.mjs';
import { relaysOfBothWires } from './relays.mjs';
const which = Number(process.argv[2]); const rounds = Number(process.argv[3] ?? 60);
const relays = await relaysOfBothWires();
const p = await pair('sdk', relays[which].url);
await p.run({count:1000,inFlight:64});
const xs=[]; for (let i=0;i<rounds;i++) xs.push((await p.run({count:4000,inFlight:64})).perSecond);
xs.sort((a,b)=>a-b); console.log(which===0?'wire4':'wire3', Math.round(xs[xs.length>>1]));
p.close(); relays.forEach(r=>r.close());
