//! Keys as types: a value of a public type is a point on the curve, of a private type a scalar.
//!
//! Parsing is the only place where either is checked. Clones share one key. Each role has types of
//! its own, so that one key cannot stand in for another:
//!
//! ```compile_fail,E0308
//! # use stvor_protocol::{IdentityKeyPair, LocalKeys, SignedPrekeyPair};
//! # fn f(identity: IdentityKeyPair, prekey: SignedPrekeyPair, signature: Vec<u8>) {
//! LocalKeys::from_parts(prekey, identity, signature); // the wrong way round
//! # }
//! ```
//!
//! Spec: X3DH, section 2; docs/PROTOCOL.md, "Keys and encodings".

mod local;
mod pair;

pub use local::LocalKeys;
pub use pair::{
    IdentityKey, IdentityKeyPair, RatchetKeyPair, RatchetPublicKey, SignedPrekey, SignedPrekeyPair,
};

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 65 bytes that encode, uncompressed, a point on P-256 other than infinity.
    #[error("not an uncompressed point on P-256")]
    Public,
    /// Not a scalar from 1 to n-1 in at most 32 big-endian bytes.
    #[error("not a private key of P-256")]
    Private,
    /// The public key is not the private key's.
    #[error("public and private key do not belong together")]
    Mismatch,
}
