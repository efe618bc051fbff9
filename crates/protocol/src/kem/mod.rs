//! ML-KEM-768: key pairs, encapsulation, decapsulation. Two backends behind one small interface.
//!
//! With the feature `aws-lc` (the default) aws-lc-rs encapsulates and decapsulates, without it
//! `ml-kem` does. Key pairs are made by `ml-kem` in both cases, from a seed: 64 bytes to keep
//! instead of 2,400, and randomness that is an argument. Each backend has
//! `PublicKey::{new, encapsulate}` and `PrivateKey::{from_seed, decapsulate}`, nothing else; this
//! module adds what both share. Tests check each against the other. A public key that exists has
//! passed the modulus check.
//!
//! Spec: FIPS 203; docs/PROTOCOL.md, "Keys and encodings".

#[cfg(any(test, feature = "aws-lc"))]
mod aws_lc;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

#[cfg(feature = "aws-lc")]
use aws_lc as backend;
#[cfg(not(feature = "aws-lc"))]
use portable as backend;

use std::sync::Arc;

use rand_core::CryptoRng;

use crate::secret::Secret;

/// Length of a key pair's seed, `d || z`.
pub(crate) const SEED_LENGTH: usize = 64;

/// Length of a public (encapsulation) key.
pub(crate) const PUBLIC_KEY_LENGTH: usize = 1184;

/// Length of a ciphertext.
pub(crate) const CIPHERTEXT_LENGTH: usize = 1088;

/// `q`: coefficients in a public key are below it.
const MODULUS: u16 = 3329;

/// The coefficients of a public key, 12 bits each; a seed of 32 bytes follows.
const COEFFICIENTS_LENGTH: usize = 1152;

/// A public key, and the backend's handle for it. Clones share both.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<Encapsulation>);

struct Encapsulation {
    bytes: [u8; PUBLIC_KEY_LENGTH],
    handle: backend::PublicKey,
}

impl PublicKey {
    /// `None` unless `bytes` are 1184 and every coefficient is reduced (FIPS 203, section 7.2).
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.try_into().ok().filter(is_reduced)?;
        Some(Self(Arc::new(Encapsulation { handle: backend::PublicKey::new(&bytes)?, bytes })))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        &self.0.bytes
    }

    /// A secret, and the ciphertext that carries it. Draws 32 bytes from `rng`, unless the backend
    /// is aws-lc, which takes its own: nothing but the ciphertext and the secret depends on them.
    /// With the feature `seeded` it is `ml-kem` that encapsulates, whatever the backend.
    pub(crate) fn encapsulate(
        &self,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> ([u8; CIPHERTEXT_LENGTH], Secret<32>) {
        #[cfg(feature = "seeded")]
        if let Some(portable) = portable::PublicKey::new(&self.0.bytes) {
            return portable.encapsulate(rng);
        }
        self.0.handle.encapsulate(rng)
    }
}

/// The modulus check, the same for both backends. Two coefficients in three bytes.
fn is_reduced(bytes: &[u8; PUBLIC_KEY_LENGTH]) -> bool {
    bytes[..COEFFICIENTS_LENGTH].chunks_exact(3).all(|three| {
        let [low, middle, high] = [three[0], three[1], three[2]].map(u16::from);
        low | (middle & 0x0f) << 8 < MODULUS && middle >> 4 | high << 4 < MODULUS
    })
}

/// A key pair: its seed, its public half, and the backend's handle. Clones share them.
#[derive(Clone)]
pub(crate) struct KeyPair(Arc<Pair>);

struct Pair {
    seed: Secret<SEED_LENGTH>,
    public: [u8; PUBLIC_KEY_LENGTH],
    handle: backend::PrivateKey,
}

impl KeyPair {
    /// Draws 64 bytes from `rng`.
    pub(crate) fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::from_seed(Secret::filled(|seed| rng.fill_bytes(seed)))
    }

    /// Any 64 bytes are the seed of a key pair.
    pub(crate) fn from_seed(seed: Secret<SEED_LENGTH>) -> Self {
        let (handle, public) = backend::PrivateKey::from_seed(seed.as_bytes());
        Self(Arc::new(Pair { seed, public, handle }))
    }

    pub(crate) fn seed(&self) -> &[u8; SEED_LENGTH] {
        self.0.seed.as_bytes()
    }

    pub(crate) fn public_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        &self.0.public
    }

    /// The secret in `ciphertext`. One that was altered, or made for another key, yields a secret
    /// that nobody else has: implicit rejection, there is no error to see.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LENGTH]) -> Secret<32> {
        self.0.handle.decapsulate(ciphertext)
    }
}
