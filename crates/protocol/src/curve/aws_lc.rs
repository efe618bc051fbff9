//! P-256 by aws-lc-rs.
//!
//! Handles are parsed once and kept: loading a private key costs 19 us, an agreement 54 us.
//! aws-lc wipes private keys when it frees them.

use aws_lc_rs::agreement::{self, ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair,
};
use zeroize::Zeroizing;

use super::{POINT_LENGTH, SCALAR_LENGTH};
use crate::secret::Secret;

pub(super) struct PrivateKey(agreement::PrivateKey);

pub(super) struct PublicKey(ParsedPublicKey);

impl PrivateKey {
    pub(super) fn from_scalar(scalar: &[u8; SCALAR_LENGTH]) -> Option<Self> {
        agreement::PrivateKey::from_private_key(&ECDH_P256, scalar).ok().map(Self)
    }

    pub(super) fn public_bytes(&self) -> Option<[u8; POINT_LENGTH]> {
        self.0.compute_public_key().ok()?.as_ref().try_into().ok()
    }

    #[expect(clippy::expect_used, reason = "fails only where memory is exhausted, as Vec does")]
    pub(super) fn to_scalar(&self) -> Zeroizing<[u8; SCALAR_LENGTH]> {
        let bytes: EcPrivateKeyBin<'_> = self.0.as_be_bytes().expect("a P-256 key has a scalar");
        let mut scalar = Zeroizing::new([0; SCALAR_LENGTH]);
        scalar.copy_from_slice(bytes.as_ref());
        scalar
    }

    #[expect(
        clippy::expect_used,
        reason = "a scalar from 1 to n-1 and a point on a curve of prime order always agree"
    )]
    pub(super) fn agree(&self, theirs: &PublicKey) -> Secret<32> {
        agreement::agree(&self.0, theirs.0.clone(), (), |x| {
            Ok(Secret::filled(|secret| secret.copy_from_slice(x)))
        })
        .expect("valid keys agree")
    }

    /// The nonce comes from aws-lc, not from the caller: the one place in this crate where
    /// randomness is not an argument. Nothing but the signature's own bytes depends on it.
    #[expect(clippy::expect_used, reason = "the key is valid; only exhausted memory is left")]
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let scalar = self.to_scalar();
        let public = self.0.compute_public_key().expect("a private key has a public key");
        EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &*scalar,
            public.as_ref(),
        )
        .expect("the halves belong together")
        .sign(&SystemRandom::new(), message)
        .expect("a valid key signs any message")
        .as_ref()
        .to_vec()
    }
}

impl PublicKey {
    pub(super) fn from_uncompressed(bytes: &[u8; POINT_LENGTH]) -> Option<Self> {
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, bytes)).ok().map(Self)
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0.as_ref())
            .verify(message, signature)
            .is_ok()
    }
}
