//! P-256 by `p256`, in Rust alone: for targets that aws-lc does not build for, and for tests.

use p256::SecretKey;
use p256::ecdh::diffie_hellman;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use super::{POINT_LENGTH, SCALAR_LENGTH};
use crate::secret::Secret;

pub(super) struct PrivateKey(SecretKey);

pub(super) struct PublicKey(p256::PublicKey);

impl PrivateKey {
    pub(super) fn from_scalar(scalar: &[u8; SCALAR_LENGTH]) -> Option<Self> {
        SecretKey::from_slice(scalar).ok().map(Self)
    }

    pub(super) fn public_bytes(&self) -> Option<[u8; POINT_LENGTH]> {
        self.0.public_key().to_sec1_point(false).as_bytes().try_into().ok()
    }

    pub(super) fn to_scalar(&self) -> Zeroizing<[u8; SCALAR_LENGTH]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    pub(super) fn agree(&self, theirs: &PublicKey) -> Secret<32> {
        let shared = diffie_hellman(self.0.to_nonzero_scalar(), theirs.0.as_affine());
        Secret::filled(|secret| secret.copy_from_slice(shared.raw_secret_bytes()))
    }

    /// The nonce is derived from key and message (RFC 6979).
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = SigningKey::from(&self.0).sign(message);
        signature.as_bytes().to_vec()
    }
}

impl PublicKey {
    pub(super) fn from_uncompressed(bytes: &[u8; POINT_LENGTH]) -> Option<Self> {
        p256::PublicKey::from_sec1_bytes(bytes).ok().map(Self)
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature)
            .is_ok_and(|signature| VerifyingKey::from(&self.0).verify(message, &signature).is_ok())
    }
}
