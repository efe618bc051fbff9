// Two parties of the ratchet, established with each other.
import { establishSession, generateKeyPair } from '@stvor/sdk/ratchet';

/** Fresh identity and signed prekey of one party. */
export function party() {
  return { identity: generateKeyPair(), prekey: generateKeyPair() };
}

/** `ours` session towards `theirs`. */
export function session(ours, theirs) {
  return establishSession(ours.identity, ours.prekey, theirs.identity.publicKey, theirs.prekey.publicKey);
}

/** A fresh pair of sessions. */
export function pair() {
  const [a, b] = [party(), party()];
  return { alice: session(a, b), bob: session(b, a), a, b };
}
