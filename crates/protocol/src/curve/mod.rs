//! P-256: key pairs, agreement, signatures. Two backends behind one small interface.
//!
//! With the feature `aws-lc` (the default) aws-lc-rs does the work, without it `p256`. Each has
//! `PrivateKey::{from_scalar, public_bytes, to_scalar, agree, sign}` and
//! `PublicKey::{from_uncompressed, verify}`, nothing else; this module adds what both share. Tests
//! check each against the other. A public key that exists is a point on the curve other than
//! infinity, a private key that exists is a scalar from 1 to n-1: both are checked once, here.
//!
//! With the feature `seeded` signatures are `p256`'s in any case, since aws-lc's depend on chance.
//!
//! Spec: SEC 1, FIPS 186-5, NIST SP 800-56A; docs/PROTOCOL.md, "Keys and encodings".

#[cfg(any(test, feature = "aws-lc"))]
mod aws_lc;
#[cfg(any(test, feature = "seeded", not(feature = "aws-lc")))]
#[cfg_attr(
    all(feature = "seeded", feature = "aws-lc", not(test)),
    expect(dead_code, reason = "only signatures are made with it")
)]
mod portable;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

#[cfg(feature = "aws-lc")]
use aws_lc as backend;
#[cfg(not(feature = "aws-lc"))]
use portable as backend;

use std::sync::{Arc, OnceLock};

use p256::elliptic_curve::sec1::ToSec1Point as _;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Length of a private key: a big-endian scalar.
pub(crate) const SCALAR_LENGTH: usize = 32;

/// Length of a public key: `04 || x || y`.
pub(crate) const POINT_LENGTH: usize = 65;

/// First byte of an uncompressed point. Compressed, hybrid and infinite ones are refused.
const UNCOMPRESSED: u8 = 4;

/// Length of a compressed public key, `02 || x` or `03 || x`: wire 4's handshake has them.
pub(crate) const COMPRESSED_LENGTH: usize = 33;

/// The x coordinate that two key pairs agree on: 32 bytes, never shortened.
pub(crate) struct DhOutput(Secret<32>);

impl DhOutput {
    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::copied_from(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// A point on the curve, its encoding, and the backend's handle for it. Clones share both.
///
/// The handle is made when it is needed: it takes 500 bytes, and what is only sent or compared
/// needs none.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<Point>);

struct Point {
    bytes: [u8; POINT_LENGTH],
    handle: OnceLock<Box<backend::PublicKey>>,
}

impl PublicKey {
    /// `None` unless `bytes` are 65 and encode, uncompressed, a point on the curve.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = uncompressed(bytes)?;
        let handle = OnceLock::from(Box::new(backend::PublicKey::from_uncompressed(&bytes)?));
        Some(Self(Arc::new(Point { bytes, handle })))
    }

    /// The bytes of a point that has been checked, without a handle.
    fn checked(bytes: [u8; POINT_LENGTH]) -> Self {
        Self(Arc::new(Point { bytes, handle: OnceLock::new() }))
    }

    /// The same key, sharing nothing with this one: for keeping while it is not used.
    pub(crate) fn without_handle(&self) -> Self {
        Self::checked(self.0.bytes)
    }

    #[expect(clippy::expect_used, reason = "the bytes were checked before the key existed")]
    fn handle(&self) -> &backend::PublicKey {
        let Point { bytes, handle } = &*self.0;
        handle.get_or_init(|| {
            Box::new(backend::PublicKey::from_uncompressed(bytes).expect("a point"))
        })
    }

    /// `None` unless `bytes` are `02` or `03` and the x coordinate of a point on the curve. Costs
    /// a square root.
    pub(crate) fn parse_compressed(bytes: &[u8; COMPRESSED_LENGTH]) -> Option<Self> {
        let point = p256::PublicKey::from_sec1_bytes(bytes).ok()?;
        Self::parse(point.to_sec1_point(false).as_bytes())
    }

    pub(crate) fn to_compressed(&self) -> [u8; COMPRESSED_LENGTH] {
        let mut bytes = [0; COMPRESSED_LENGTH];
        bytes.copy_from_slice(&self.0.bytes[..COMPRESSED_LENGTH]);
        bytes[0] = 2 | (self.0.bytes[POINT_LENGTH - 1] & 1); // whether y is odd
        bytes
    }

    pub(crate) fn as_bytes(&self) -> &[u8; POINT_LENGTH] {
        &self.0.bytes
    }

    /// Whether `signature` is ECDSA over SHA-256 of `message`, strict DER, `s` high or low.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.handle().verify(message, signature)
    }
}

/// The bytes, if they have the form of an uncompressed point. Backends read other forms as well.
fn uncompressed(bytes: &[u8]) -> Option<[u8; POINT_LENGTH]> {
    bytes.try_into().ok().filter(|bytes: &[u8; POINT_LENGTH]| bytes[0] == UNCOMPRESSED)
}

/// A scalar from 1 to n-1, and the backend's handle for it. Clones share both.
///
/// The handle of one that was [kept](Self::kept) is made when it is needed: it costs a scalar
/// multiplication, and a session that is read back may go on for long without an agreement.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<Scalar>);

struct Scalar {
    kept: Option<Secret<SCALAR_LENGTH>>,
    handle: OnceLock<backend::PrivateKey>,
}

impl PrivateKey {
    /// Draws 32 bytes from `rng` for each attempt; all but one attempt in 2^32 succeed.
    pub(crate) fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> (Self, PublicKey) {
        let mut scalar = Zeroizing::new([0; SCALAR_LENGTH]);
        loop {
            rng.fill_bytes(&mut *scalar);
            if let Some(pair) = Self::from_scalar(&scalar) {
                return pair;
            }
        }
    }

    /// `None` unless `scalar` is between 1 and n-1.
    pub(crate) fn from_scalar(scalar: &[u8; SCALAR_LENGTH]) -> Option<(Self, PublicKey)> {
        let private = backend::PrivateKey::from_scalar(scalar)?;
        let public = PublicKey::checked(private.public_bytes()?);
        Some((Self(Arc::new(Scalar { kept: None, handle: OnceLock::from(private) })), public))
    }

    /// The same without a handle and without the public half, at a hundredth of the cost.
    pub(crate) fn kept(scalar: &[u8; SCALAR_LENGTH]) -> Option<Self> {
        p256::SecretKey::from_slice(scalar).ok()?; // checks the range
        let kept = Some(Secret::copied_from(scalar));
        Some(Self(Arc::new(Scalar { kept, handle: OnceLock::new() })))
    }

    /// Costs a scalar multiplication.
    #[expect(clippy::expect_used, reason = "a scalar in range has a public key")]
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::checked(self.handle().public_bytes().expect("a public key"))
    }

    #[expect(clippy::expect_used, reason = "the range was checked before the key existed")]
    fn handle(&self) -> &backend::PrivateKey {
        let Scalar { kept, handle } = &*self.0;
        handle.get_or_init(|| {
            let scalar = kept.as_ref().map(Secret::as_bytes);
            scalar.and_then(backend::PrivateKey::from_scalar).expect("a scalar in range")
        })
    }

    /// The same for a scalar whose leading zero bytes were dropped; up to 32 bytes.
    pub(crate) fn from_short_scalar(scalar: &[u8]) -> Option<(Self, PublicKey)> {
        let start = SCALAR_LENGTH.checked_sub(scalar.len())?;
        let mut padded = Zeroizing::new([0; SCALAR_LENGTH]);
        padded[start..].copy_from_slice(scalar);
        Self::from_scalar(&padded)
    }

    /// 32 bytes.
    pub(crate) fn to_scalar(&self) -> Zeroizing<[u8; SCALAR_LENGTH]> {
        match &self.0.kept {
            Some(scalar) => Zeroizing::new(*scalar.as_bytes()),
            None => self.handle().to_scalar(),
        }
    }

    /// `DH(self, theirs)`.
    pub(crate) fn agree(&self, theirs: &PublicKey) -> DhOutput {
        DhOutput(self.handle().agree(theirs.handle()))
    }

    /// ECDSA over SHA-256 of `message`, DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        #[cfg(feature = "seeded")]
        if let Some(portable) = portable::PrivateKey::from_scalar(&self.to_scalar()) {
            return portable.sign(message);
        }
        self.handle().sign(message)
    }
}
