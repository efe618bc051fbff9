//! ML-KEM-768 by `ml-kem`, in Rust alone: makes every key pair, and serves where aws-lc does not
//! build. `ml-kem` wipes private keys when it drops them.

use ml_kem::{DecapsulationKey768, Seed};
use zeroize::Zeroize;

use super::{PUBLIC_KEY_LENGTH, SEED_LENGTH};

/// The pair that a seed stands for.
pub(super) fn expand(seed: &[u8; SEED_LENGTH]) -> (DecapsulationKey768, [u8; PUBLIC_KEY_LENGTH]) {
    use ml_kem::kem::KeyExport as _;
    let mut seed = Seed::from(*seed);
    let private = DecapsulationKey768::from_seed(seed);
    seed.zeroize();
    let public = private.encapsulation_key().to_bytes().into();
    (private, public)
}

#[cfg(any(test, feature = "seeded", not(feature = "aws-lc")))]
#[cfg_attr(
    all(feature = "seeded", feature = "aws-lc", not(test)),
    expect(dead_code, reason = "only encapsulations are made with it")
)]
mod backend {
    use ml_kem::kem::Decapsulate as _;
    use ml_kem::{B32, DecapsulationKey768, EncapsulationKey768};
    use rand_core::CryptoRng;
    use zeroize::Zeroize;

    use super::super::{CIPHERTEXT_LENGTH, PUBLIC_KEY_LENGTH, SEED_LENGTH};
    use crate::secret::Secret;

    pub(in super::super) struct PublicKey(EncapsulationKey768);

    pub(in super::super) struct PrivateKey(DecapsulationKey768);

    impl PublicKey {
        pub(in super::super) fn new(bytes: &[u8; PUBLIC_KEY_LENGTH]) -> Option<Self> {
            EncapsulationKey768::new(bytes.into()).ok().map(Self)
        }

        pub(in super::super) fn encapsulate(
            &self,
            rng: &mut (impl CryptoRng + ?Sized),
        ) -> ([u8; CIPHERTEXT_LENGTH], Secret<32>) {
            let mut m = [0; 32];
            rng.fill_bytes(&mut m);
            let encapsulated = self.encapsulate_from(&m);
            m.zeroize();
            encapsulated
        }

        pub(in super::super) fn encapsulate_from(
            &self,
            m: &[u8; 32],
        ) -> ([u8; CIPHERTEXT_LENGTH], Secret<32>) {
            let mut m = B32::from(*m);
            let (ciphertext, mut shared) = self.0.encapsulate_deterministic(&m);
            let secret = Secret::filled(|secret| secret.copy_from_slice(&shared));
            m.zeroize();
            shared.zeroize();
            (ciphertext.into(), secret)
        }
    }

    impl PrivateKey {
        pub(in super::super) fn from_seed(
            seed: &[u8; SEED_LENGTH],
        ) -> (Self, [u8; PUBLIC_KEY_LENGTH]) {
            let (private, public) = super::expand(seed);
            (Self(private), public)
        }

        pub(in super::super) fn decapsulate(
            &self,
            ciphertext: &[u8; CIPHERTEXT_LENGTH],
        ) -> Secret<32> {
            let mut shared = self.0.decapsulate(ciphertext.into());
            let secret = Secret::filled(|secret| secret.copy_from_slice(&shared));
            shared.zeroize();
            secret
        }
    }
}

#[cfg(any(test, not(feature = "aws-lc")))]
pub(super) use backend::PrivateKey;
#[cfg(any(test, feature = "seeded", not(feature = "aws-lc")))]
pub(super) use backend::PublicKey;
