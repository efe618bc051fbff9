// The row about what keeping a record costs besides the store: sealing, unsealing, and shielding its root key.
import { build, native } from '../contestants/native.mjs';
import { race } from '../measure.mjs';
import { bound } from '../report.mjs';

export async function sealingRows() {
  const contestant = await native(build(), 'sealing');
  try {
    const times = await race([contestant]);
    return [bound({ what: 'record sealed and unsealed', ours: times.get('sealing').median, unit: 'us', most: 20, method: 'native: a record with a message under way to what a store is given and back, root key unshielded and shielded again; processor time of the thread, median of 31 batches of 25 ms' })];
  } finally {
    contestant.close();
  }
}
