//! All long-term keys of one user.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::{IdentityKey, IdentityKeyPair, SignedPrekeyPair};
use crate::bundle::{BundleError, PrekeyBundle};

/// Our own long-term keys: the identity pair, the signed prekey pair, and the signature that
/// binds the second to the first. Clones share them.
#[derive(Clone)]
pub struct LocalKeys(Arc<Keys>);

struct Keys {
    identity: IdentityKeyPair,
    signed_prekey: SignedPrekeyPair,
    signature: Vec<u8>,
}

impl LocalKeys {
    /// Makes new keys. Draws the identity key, then the signed prekey, 32 bytes each.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::with_new_prekey(IdentityKeyPair::generate(rng), rng)
    }

    /// The same identity with another signed prekey. Draws 32 bytes from `rng`.
    #[must_use = "the keys themselves are unchanged"]
    pub fn rotated(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::with_new_prekey(self.0.identity.clone(), rng)
    }

    /// A new signed prekey for this identity. Draws 32 bytes from `rng`.
    pub fn with_new_prekey(identity: IdentityKeyPair, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let signed_prekey = SignedPrekeyPair::generate(rng);
        let signature = identity.sign(signed_prekey.public().as_bytes());
        Self(Arc::new(Keys { identity, signed_prekey, signature }))
    }

    /// Puts saved keys together again.
    ///
    /// # Errors
    ///
    /// [`BundleError::MissingSignature`], [`BundleError::Signature`]: others would refuse them.
    pub fn from_parts(
        identity: IdentityKeyPair,
        signed_prekey: SignedPrekeyPair,
        signature: Vec<u8>,
    ) -> Result<Self, BundleError> {
        let keys = Self(Arc::new(Keys { identity, signed_prekey, signature }));
        keys.bundle().verify()?;
        Ok(keys)
    }

    /// The identity pair, to be saved.
    pub fn identity(&self) -> &IdentityKeyPair {
        &self.0.identity
    }

    /// The public identity key.
    pub fn identity_key(&self) -> &IdentityKey {
        self.0.identity.public()
    }

    /// The signed prekey pair, to be saved.
    pub fn signed_prekey(&self) -> &SignedPrekeyPair {
        &self.0.signed_prekey
    }

    /// The identity key's signature over the signed prekey's 65 bytes, DER.
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// What others need to write to us.
    pub fn bundle(&self) -> PrekeyBundle {
        PrekeyBundle::new(
            self.identity_key().clone(),
            self.0.signed_prekey.public().clone(),
            self.0.signature.clone(),
        )
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeys").finish_non_exhaustive()
    }
}
