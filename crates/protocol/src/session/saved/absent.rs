//! Chains that come from one that does not exist.
//!
//! The original writes zeros where there is no chain, and then uses them: a forged message makes
//! it step a chain of zeros, whose keys everybody can compute. A session that it saved after that
//! looks like any other but can be forged for ever, so it is recognised here and refused.

use subtle::ConstantTimeEq;

use super::NO_CHAIN;
use super::json::{Saved, SkippedKey};
use crate::chain_key::ChainKey;
use crate::secret::Secret;

/// How far the chain of zeros is followed, some 1.5 ms at most. A forged message goes at most 256
/// ahead, so this recognises what sixteen of them have made, and any number that went less far.
const STEPS: u32 = 4096;

/// Whether a chain or a skipped key of the session descends from zeros.
pub(super) fn descends_from_zeros(saved: &Saved) -> bool {
    let mut skipped: Vec<&SkippedKey> = saved.sk.iter().collect();
    skipped.sort_by_key(|entry| entry.counter);
    let mut skipped = skipped.as_slice();

    let last = skipped.last().map_or(0, |entry| entry.counter).max(saved.sc).max(saved.rc);
    let mut chain_key = ChainKey::new(Secret::copied_from(&NO_CHAIN));
    for counter in 0..=last.min(STEPS) {
        let at =
            |length: u32, key| counter > 0 && length == counter && same(key, chain_key.as_bytes());
        if at(saved.sc, &saved.sck) || at(saved.rc, &saved.rck) {
            return true;
        }
        let (next, message_key) = chain_key.step();
        let here = skipped.partition_point(|entry| entry.counter == counter);
        let (of_this_number, rest) = skipped.split_at(here);
        if of_this_number.iter().any(|entry| same(&entry.message_key, message_key.as_bytes())) {
            return true;
        }
        (chain_key, skipped) = (next, rest);
    }
    false
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}
