//! The `v4` field of a bundle: what a user publishes beyond wire 3, signed with the user id.
//!
//! Nothing begins with the bytes; only [`VerifiedV4::verify`] makes what
//! [`Sessions::begin`](crate::Sessions::begin) takes.
//! Spec: docs/PROTOCOL.md, "The v4 field of a bundle".

use std::fmt;
use std::sync::Arc;

use super::{MAX_CLOCK_SKEW_MS, V4Error, VERSION};
use crate::bundle::VerifiedBundle;
use crate::codec::{Reader, Write};
use crate::kem;
use crate::keys::{IdentityKey, IdentityKeyPair, SignedPrekey};

const LABEL: &[u8] = b"stvor-v4-bundle";

/// What we can do beyond wire 4 as it is: nothing yet. Readers ignore bits that they do not know.
const CAPABILITIES: u32 = 0;

/// What a blob is made of, besides the identity key that signs it.
pub(super) struct Blob<'a> {
    pub(super) user: &'a str,
    pub(super) signed_prekey_id: u32,
    pub(super) signed_prekey: &'a SignedPrekey,
    pub(super) kem_id: u32,
    pub(super) kem_key: &'a [u8; kem::PUBLIC_KEY_LENGTH],
    pub(super) valid_from_ms: u64,
    pub(super) valid_until_ms: u64,
}

impl Blob<'_> {
    pub(super) fn sign(&self, identity: &IdentityKeyPair) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1400 + self.user.len());
        bytes.put_u8(VERSION);
        bytes.put_field(self.user.as_bytes());
        bytes.put_u32(CAPABILITIES);
        bytes.put_u32(self.signed_prekey_id);
        bytes.put(self.signed_prekey.as_bytes());
        bytes.put_u32(self.kem_id);
        bytes.put(self.kem_key);
        bytes.put_u64(self.valid_from_ms);
        bytes.put_u64(self.valid_until_ms);
        let signature = identity.sign(&signed(identity.public(), &bytes));
        bytes.put(&signature);
        bytes
    }
}

/// What the signature is over: the label, the key that signs, everything before the signature.
fn signed(identity: &IdentityKey, body: &[u8]) -> Vec<u8> {
    [LABEL, identity.as_bytes(), body].concat()
}

/// A peer's bundle with its `v4` field, both signed by its identity key. Clones share it.
#[derive(Clone)]
pub struct VerifiedV4(Arc<Verified>);

struct Verified {
    bundle: VerifiedBundle,
    capabilities: u32,
    signed_prekey_id: u32,
    kem_id: u32,
    kem_key: kem::PublicKey,
    valid_until_ms: u64,
}

impl VerifiedV4 {
    /// Reads and checks the `v4` field of `bundle`, decoded from base64url. `user` is whose bundle
    /// it is said to be. Costs a signature check.
    ///
    /// # Errors
    ///
    /// Any [`V4Error`].
    pub fn verify(
        blob: &[u8],
        bundle: &VerifiedBundle,
        user: &str,
        now_ms: u64,
    ) -> Result<Self, V4Error> {
        let mut reader = Reader::new(blob);
        if reader.u8()? != VERSION {
            return Err(V4Error::Malformed);
        }
        let named = reader.field()?;
        let (capabilities, signed_prekey_id) = (reader.u32()?, reader.u32()?);
        let signed_prekey: &[u8; 65] = reader.array()?;
        let (kem_id, kem_key) = (reader.u32()?, reader.take(kem::PUBLIC_KEY_LENGTH)?);
        let (valid_from_ms, valid_until_ms) = (reader.u64()?, reader.u64()?);
        let signature = reader.rest();
        let body = &blob[..blob.len() - signature.len()];
        if !bundle.identity_key().verify(&signed(bundle.identity_key(), body), signature) {
            return Err(V4Error::Signature);
        }
        if named != user.as_bytes() {
            return Err(V4Error::OtherUser);
        }
        if signed_prekey != bundle.signed_prekey().as_bytes() {
            return Err(V4Error::OtherSignedPrekey);
        }
        if now_ms.saturating_add(MAX_CLOCK_SKEW_MS) < valid_from_ms {
            return Err(V4Error::NotYetValid);
        }
        let kem_key = kem::PublicKey::parse(kem_key).ok_or(V4Error::KemKey)?;
        let verified = Self(Arc::new(Verified {
            bundle: bundle.clone(),
            capabilities,
            signed_prekey_id,
            kem_id,
            kem_key,
            valid_until_ms,
        }));
        if verified.has_expired(now_ms) { Err(V4Error::Expired) } else { Ok(verified) }
    }

    /// The four fields of wire 3.
    pub fn bundle(&self) -> &VerifiedBundle {
        &self.0.bundle
    }

    /// The peer's identity key.
    pub fn identity_key(&self) -> &IdentityKey {
        self.0.bundle.identity_key()
    }

    /// Bits that say what the peer can do beyond wire 4 as it is. None has a meaning yet.
    pub fn capabilities(&self) -> u32 {
        self.0.capabilities
    }

    /// Until when sessions may begin with it, milliseconds since the Unix epoch.
    pub fn valid_until_ms(&self) -> u64 {
        self.0.valid_until_ms
    }

    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        now_ms > self.0.valid_until_ms.saturating_add(MAX_CLOCK_SKEW_MS)
    }

    pub(super) fn signed_prekey_id(&self) -> u32 {
        self.0.signed_prekey_id
    }

    pub(super) fn kem_id(&self) -> u32 {
        self.0.kem_id
    }

    pub(super) fn kem_key(&self) -> &kem::PublicKey {
        &self.0.kem_key
    }
}

impl fmt::Debug for VerifiedV4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verified {
            bundle: _,
            capabilities,
            signed_prekey_id,
            kem_id,
            kem_key: _,
            valid_until_ms,
        } = &*self.0;
        f.debug_struct("VerifiedV4")
            .field("capabilities", capabilities)
            .field("signed_prekey_id", signed_prekey_id)
            .field("kem_id", kem_id)
            .field("valid_until_ms", valid_until_ms)
            .finish_non_exhaustive()
    }
}
