//! The root key `RK` and its step.
//!
//! Spec: Double Ratchet, section 5.2 (`KDF_RK`); docs/PROTOCOL.md, "Key derivation".

use crate::chain_key::ChainKey;
use crate::curve::DhOutput;
use crate::kdf::hkdf;
use crate::secret::Secret;

/// The root key `RK`: what each Diffie-Hellman output is mixed into.
#[derive(Clone)]
pub(crate) struct RootKey(Secret<32>);

impl RootKey {
    /// `info` of the root step.
    const INFO: &'static [u8] = b"stvor-rk";

    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// `RK, CK = KDF_RK(RK, DH)`: the next root key, and a new chain.
    pub(crate) fn step(&self, dh: &DhOutput) -> (Self, ChainKey) {
        let output = hkdf::<64>(self.0.as_bytes(), dh.as_bytes(), Self::INFO);
        let half = |from: usize| {
            Secret::filled(|key: &mut [u8; 32]| key.copy_from_slice(&output[from..from + 32]))
        };
        (Self(half(0)), ChainKey::new(half(32)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
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
            let root_key = RootKey::new(Secret::copied_from(vector.root_key.array()));
            let (next, chain_key) = root_key.step(&DhOutput::from_bytes(vector.dh_output.array()));
            assert_eq!(next.as_bytes()[..], *vector.new_root_key);
            assert_eq!(chain_key.as_bytes()[..], *vector.chain_key);
        }
    }
}
