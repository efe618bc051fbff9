//! ML-KEM-768 by aws-lc-rs. aws-lc wipes private keys when it frees them.

use aws_lc_rs::kem::{Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::{CIPHERTEXT_LENGTH, PUBLIC_KEY_LENGTH, SEED_LENGTH, portable};
use crate::secret::Secret;

const ALGORITHM: &Algorithm = &ML_KEM_768;

pub(super) struct PublicKey(EncapsulationKey);

pub(super) struct PrivateKey(DecapsulationKey);

impl PublicKey {
    pub(super) fn new(bytes: &[u8; PUBLIC_KEY_LENGTH]) -> Option<Self> {
        EncapsulationKey::new(ALGORITHM, bytes).ok().map(Self)
    }

    /// aws-lc draws from its own generator: it has no other interface.
    #[expect(clippy::expect_used, reason = "the key has passed the modulus check")]
    pub(super) fn encapsulate(
        &self,
        _rng: &mut (impl CryptoRng + ?Sized),
    ) -> ([u8; CIPHERTEXT_LENGTH], Secret<32>) {
        let (ciphertext, shared) = self.0.encapsulate().expect("a valid key encapsulates");
        let mut bytes = [0; CIPHERTEXT_LENGTH];
        bytes.copy_from_slice(ciphertext.as_ref());
        (bytes, Secret::filled(|secret| secret.copy_from_slice(shared.as_ref())))
    }
}

impl PrivateKey {
    /// aws-lc-rs reads private keys in their expanded form only, so `ml-kem` expands the seed.
    #[expect(deprecated, reason = "the expanded form, made from the seed and given to aws-lc only")]
    #[expect(clippy::expect_used, reason = "the length is right; aws-lc checks nothing else here")]
    pub(super) fn from_seed(seed: &[u8; SEED_LENGTH]) -> (Self, [u8; PUBLIC_KEY_LENGTH]) {
        use ml_kem::ExpandedKeyEncoding as _;
        let (private, public) = portable::expand(seed);
        let mut expanded = private.to_expanded_bytes();
        let handle = DecapsulationKey::new(ALGORITHM, &expanded).expect("a private key");
        expanded.zeroize();
        (Self(handle), public)
    }

    #[expect(clippy::expect_used, reason = "key and ciphertext have their lengths")]
    pub(super) fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LENGTH]) -> Secret<32> {
        let shared = self
            .0
            .decapsulate(Ciphertext::from(&ciphertext[..]))
            .expect("a valid key decapsulates");
        Secret::filled(|secret| secret.copy_from_slice(shared.as_ref()))
    }
}
