//! Identities and sessions that the original has saved, in the form that ours are kept in.

use std::time::{SystemTime, UNIX_EPOCH};

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use stvor_protocol::{
    IdentityKeyPair, ImportError, KeyError, LocalKeys, PeerRecord, SignedPrekeyPair, StorageKey,
};

use crate::error::failure;
use crate::random::with_random;

/// A user's identity, from the original's record of it.
#[napi]
pub struct LegacyIdentity {
    identity: IdentityKeyPair,
}

#[napi]
impl LegacyIdentity {
    /// Checks that all parts belong together. The signed prekey is not used any more: what began
    /// with it has begun, and a relay may know it.
    #[napi(factory, catch_unwind)]
    pub fn from_parts(
        identity_public: &[u8],
        identity_private: &[u8],
        prekey_public: &[u8],
        prekey_private: &[u8],
        signature: &[u8],
    ) -> Result<Self> {
        let identity = IdentityKeyPair::from_halves(identity_public, identity_private)
            .map_err(|error: KeyError| damaged("identity", error))?;
        let prekey = SignedPrekeyPair::from_halves(prekey_public, prekey_private)
            .map_err(|error: KeyError| damaged("identity", error))?;
        LocalKeys::from_parts(identity.clone(), prekey, signature.to_vec())
            .map_err(|error| damaged("identity", error))?;
        Ok(Self { identity })
    }

    /// Public key, 65 bytes, and private key, 32 bytes.
    #[napi(catch_unwind)]
    pub fn key_pair<'env>(&self, env: &'env Env) -> Result<Vec<BufferSlice<'env>>> {
        let private = self.identity.to_bytes();
        Ok(vec![
            BufferSlice::copy_from(env, self.identity.public().as_bytes())?,
            BufferSlice::copy_from(env, private.as_slice())?,
        ])
    }

    /// The sealed record of a peer, that goes on with a session saved as JSON.
    #[napi(catch_unwind)]
    pub fn import_session(
        &self,
        user_id: String,
        peer_id: String,
        json: &[u8],
    ) -> Result<ImportedSession> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = since.as_millis().try_into().unwrap_or(u64::MAX);
        let record = PeerRecord::import(&self.identity, json, now_ms)
            .map_err(|error: ImportError| damaged("session", error))?;
        let key = StorageKey::derive(&self.identity);
        let sealed = with_random(|random| record.to_sealed(&key, &user_id, &peer_id, random));
        let fingerprint = record.their_identity().map(|theirs| theirs.fingerprint());
        Ok(ImportedSession { sealed, fingerprint: fingerprint.unwrap_or_default() })
    }
}

/// What is to be kept about a peer.
#[napi]
pub struct ImportedSession {
    sealed: Vec<u8>,
    fingerprint: String,
}

#[napi]
impl ImportedSession {
    /// For the session store.
    #[napi(catch_unwind)]
    pub fn sealed<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, &self.sealed)
    }

    /// For the store of fingerprints.
    #[napi(catch_unwind)]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

fn damaged(what: &str, error: impl std::fmt::Display) -> napi::Error {
    let message = format!("The {what} cannot be imported: {error}.");
    failure("LEGACY_FORMAT", &message, "Let this user begin anew, as after a change of device.")
}
