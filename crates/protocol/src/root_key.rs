//! The root key `RK` and its step.
//!
//! At rest it is shielded: in clear only within a step, or while it is written into a record that
//! will be sealed. Spec: Double Ratchet, section 5.2 (`KDF_RK`); docs/PROTOCOL.md, "Key derivation".

use stvor_shield::{Shielded, on_wiped_stack};

use crate::chain_key::ChainKey;
use crate::curve::DhOutput;
use crate::kdf::hkdf;
use crate::secret::Secret;

/// How deep the stack is wiped after an agreement or a saved session has yielded a root key. Those
/// go deeper than a step does.
const DEPTH: usize = 32 << 10;

/// The root key `RK`: what each Diffie-Hellman output is mixed into.
#[derive(Clone)]
pub(crate) struct RootKey(Shielded<32>);

impl RootKey {
    /// `info` of the root step.
    const INFO: &'static [u8] = b"stvor-rk";

    /// Shields `key`, which the caller wipes.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Shielded::new(key))
    }

    /// `RK, CK = KDF_RK(RK, DH)`: the next root key, and a new chain.
    pub(crate) fn step(&self, dh: &DhOutput) -> (Self, ChainKey) {
        self.0.with(|key| {
            let output = hkdf::<64>(key, dh.as_bytes(), Self::INFO);
            let (next, chain_key) = halves(&output);
            (Self::new(next), ChainKey::new(Secret::copied_from(chain_key)))
        })
    }

    /// Runs `step` with the root key in clear. What `step` copies elsewhere it has to wipe.
    pub(crate) fn with_bytes<T>(&self, step: impl FnOnce(&[u8; 32]) -> T) -> T {
        self.0.with(step)
    }
}

/// Runs what has root keys in clear for other reasons than a step, and wipes the stack after it.
/// Nothing that it returns may hold one in clear on the stack.
pub(crate) fn leaving_none<T>(step: impl FnOnce() -> T) -> T {
    on_wiped_stack::<DEPTH, _>(step)
}

fn halves(output: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    let (halves, _) = output.as_chunks();
    (&halves[0], &halves[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::kdf;

    #[test]
    fn root_steps_match_the_vectors() {
        let vectors = kdf().root_kdf;
        assert_eq!(vectors.len(), 12);
        for vector in vectors {
            let root_key = RootKey::new(vector.root_key.array());
            let (next, chain_key) = root_key.step(&DhOutput::from_bytes(vector.dh_output.array()));
            assert_eq!(next.with_bytes(|key| key.to_vec()), *vector.new_root_key);
            assert_eq!(chain_key.as_bytes()[..], *vector.chain_key);
        }
    }

    /// Runs `step` some pages down the stack, out of the way of whoever looks at the stack later.
    #[cfg(target_os = "linux")]
    #[inline(never)]
    fn deep<T>(step: impl FnOnce() -> T) -> T {
        let frame = std::hint::black_box([0_u8; 8 << 10]);
        let result = step();
        assert_eq!(std::hint::black_box(&frame)[0], 0);
        result
    }

    /// What is left of the frames that were below this one.
    #[cfg(target_os = "linux")]
    #[inline(never)]
    fn stack_below() -> Vec<u8> {
        use std::os::unix::fs::FileExt as _;
        let (mut bytes, local) = (vec![0; 64 << 10], 0_u8);
        let from = std::hint::black_box(&local) as *const u8 as u64 - bytes.len() as u64;
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut bytes, from).unwrap();
        bytes
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_step_leaves_no_root_key_on_the_stack_not_even_a_part() {
        // Some keys of the vectors are zeros, or the like, which lie everywhere.
        let is_random = |key: &&[u8]| key[..8] != key[8..16];
        let mut random = 0;
        for vector in kdf().root_kdf {
            let keys = [&*vector.root_key, &*vector.new_root_key];
            let has_part_in = |stack: &[u8], key: &[u8]| {
                key.chunks(8).any(|part| stack.windows(8).any(|bytes| bytes == part))
            };
            let dh = DhOutput::from_bytes(vector.dh_output.array());
            let root_key = deep(|| RootKey::new(vector.root_key.array()));
            let _next = deep(|| root_key.step(&dh));
            let stack = stack_below();
            for key in keys.into_iter().filter(is_random) {
                assert!(!has_part_in(&stack, key));
            }
            deep(|| assert_ne!(std::hint::black_box(*vector.new_root_key.array()), [1; 32]));
            for key in keys[1..].iter().copied().filter(is_random) {
                assert!(has_part_in(&stack_below(), key), "a careless copy is found");
                random += 1;
            }
        }
        assert!(random >= 8, "{random}");
    }
}
