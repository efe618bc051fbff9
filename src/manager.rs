//! What `CryptoSessionManager` is made of: our keys, and a record for each peer.

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use stvor_protocol::{
    BundleError, EstablishError, IdentityKeyPair, KeyError, LocalKeys, PrekeyBundle, Record,
    SignedPrekeyPair, VerifiedBundle,
};

use crate::error::{failure, invalid_argument};
use crate::random::with_random;
use crate::ratchet::{not_opened, not_sealed};

#[napi]
pub struct NativeKeys {
    keys: LocalKeys,
}

#[napi]
impl NativeKeys {
    #[napi(factory, catch_unwind)]
    pub fn generate() -> Self {
        Self { keys: with_random(LocalKeys::generate) }
    }

    /// Puts together what `export_parts` took apart.
    #[napi(factory, catch_unwind)]
    pub fn from_parts(
        identity_public: &[u8],
        identity_private: &[u8],
        prekey_public: &[u8],
        prekey_private: &[u8],
        signature: &[u8],
    ) -> Result<Self> {
        let wrong = |error: KeyError| invalid_argument("keys", error);
        let identity =
            IdentityKeyPair::from_halves(identity_public, identity_private).map_err(wrong)?;
        let prekey = SignedPrekeyPair::from_halves(prekey_public, prekey_private).map_err(wrong)?;
        let keys = LocalKeys::from_parts(identity, prekey, signature.to_vec())
            .map_err(|error| invalid_argument("keys", error))?;
        Ok(Self { keys })
    }

    /// Identity and signed prekey, public and private halves each, and the signature.
    #[napi(catch_unwind)]
    pub fn export_parts<'env>(&self, env: &'env Env) -> Result<Vec<BufferSlice<'env>>> {
        let (identity, prekey) = (self.keys.identity(), self.keys.signed_prekey());
        let (identity_private, prekey_private) = (identity.to_bytes(), prekey.to_bytes());
        [
            identity.public().as_bytes().as_slice(),
            identity_private.as_slice(),
            prekey.public().as_bytes(),
            prekey_private.as_slice(),
            self.keys.signature(),
        ]
        .into_iter()
        .map(|part| BufferSlice::copy_from(env, part))
        .collect()
    }

    /// Identity key, signed prekey and signature, base64url.
    #[napi(catch_unwind)]
    pub fn bundle(&self) -> Vec<String> {
        let bundle = self.keys.bundle();
        vec![
            bundle.identity_key_base64url(),
            bundle.signed_prekey_base64url(),
            bundle.signature_base64url(),
        ]
    }
}

#[napi]
pub struct PeerRecord {
    record: Record,
}

#[napi]
impl PeerRecord {
    /// A record for the owner of a bundle, given as base64url.
    #[napi(factory, catch_unwind)]
    pub fn establish(
        keys: &NativeKeys,
        identity_key: String,
        signed_prekey: String,
        signature: String,
    ) -> Result<Self> {
        let theirs = verified(&identity_key, &signed_prekey, &signature)?;
        let record = with_random(|random| Record::new(&keys.keys, theirs, random));
        Ok(Self { record: record.map_err(not_established)? })
    }

    /// Goes on with the same peer's new bundle.
    #[napi(catch_unwind)]
    pub fn renew(
        &mut self,
        keys: &NativeKeys,
        identity_key: String,
        signed_prekey: String,
        signature: String,
    ) -> Result<()> {
        let theirs = verified(&identity_key, &signed_prekey, &signature)?;
        let record = with_random(|random| self.record.with_bundle(&keys.keys, theirs, random));
        self.record = record.map_err(not_established)?;
        Ok(())
    }

    /// Header, then ciphertext.
    #[napi(catch_unwind)]
    pub fn encrypt<'env>(
        &mut self,
        env: &'env Env,
        plaintext: &[u8],
    ) -> Result<Vec<BufferSlice<'env>>> {
        let sealed =
            with_random(|random| self.record.encrypt(plaintext, random)).map_err(not_sealed)?;
        let parts = vec![
            BufferSlice::copy_from(env, sealed.header)?,
            BufferSlice::copy_from(env, sealed.ciphertext)?,
        ];
        self.record = sealed.record;
        Ok(parts)
    }

    #[napi(catch_unwind)]
    pub fn decrypt<'env>(
        &mut self,
        env: &'env Env,
        keys: &NativeKeys,
        header: &[u8],
        ciphertext: &[u8],
    ) -> Result<BufferSlice<'env>> {
        let opened =
            with_random(|random| self.record.decrypt(&keys.keys, header, ciphertext, random))
                .map_err(not_opened)?;
        let plaintext = BufferSlice::copy_from(env, &*opened.plaintext)?;
        self.record = opened.record;
        Ok(plaintext)
    }

    #[napi(catch_unwind)]
    pub fn force_ratchet(&mut self) {
        self.record = with_random(|random| self.record.force_ratchet(random));
    }
}

fn verified(identity_key: &str, signed_prekey: &str, signature: &str) -> Result<VerifiedBundle> {
    PrekeyBundle::parse_base64url(identity_key, signed_prekey, signature)
        .and_then(PrekeyBundle::verify)
        .map_err(|error: BundleError| {
            let message = format!("The peer's public keys are refused: {error}.");
            failure("INVALID_BUNDLE", &message, "Ask the peer for its public keys again.")
        })
}

fn not_established(error: EstablishError) -> napi::Error {
    match error {
        EstablishError::IdentityChanged => failure(
            "IDENTITY_CHANGED",
            "The peer's identity key is not the one that the session was established with.",
            "Make sure out of band that the new key is the peer's, then use a new manager for it.",
        ),
        error => invalid_argument("publicKeys", error),
    }
}
