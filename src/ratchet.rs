//! `/ratchet`'s session: a `stvor_protocol::Session` that each call advances.

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use stvor_protocol::{DecryptError, EncryptError, Session};

use crate::error::{failure, invalid_argument};
use crate::keys::{AgreementKeys, copy};
use crate::random::with_random;

#[napi]
pub struct RatchetSession {
    session: Session,
}

#[napi]
impl RatchetSession {
    #[napi(factory, catch_unwind)]
    pub fn establish(
        identity_public: &[u8],
        identity_private: &[u8],
        prekey_public: &[u8],
        prekey_private: &[u8],
        peer_identity: &[u8],
        peer_prekey: &[u8],
    ) -> Result<Self> {
        let keys = AgreementKeys::parse(
            (identity_public, identity_private),
            (prekey_public, prekey_private),
            peer_identity,
            peer_prekey,
        )?;
        let established = with_random(|random| {
            Session::establish_unverified(
                &keys.our_identity,
                &keys.our_signed_prekey,
                &keys.their_identity,
                &keys.their_signed_prekey,
                random,
            )
        });
        let session = established.map_err(|error| invalid_argument("peerIdentityKey", error))?;
        Ok(Self { session })
    }

    #[napi(factory, catch_unwind)]
    pub fn deserialize(data: &[u8]) -> Result<Self> {
        let session =
            Session::deserialize(data).map_err(|error| invalid_argument("data", error))?;
        Ok(Self { session })
    }

    #[napi(catch_unwind)]
    pub fn serialize<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.session.serialize())
    }

    /// Writes header and ciphertext into `out`: 85 bytes, the plaintext's length, 16 bytes.
    #[napi(catch_unwind)]
    pub fn encrypt_into(&mut self, plaintext: &[u8], mut out: BufferSlice<'_>) -> Result<()> {
        let sealed =
            with_random(|random| self.session.encrypt(plaintext, random)).map_err(not_sealed)?;
        copy(&mut out, &[&sealed.header, &sealed.ciphertext])?;
        self.session = sealed.session;
        Ok(())
    }

    /// Writes the plaintext into `out`: the ciphertext's length less 16 bytes.
    #[napi(catch_unwind)]
    pub fn decrypt_into(
        &mut self,
        header: &[u8],
        ciphertext: &[u8],
        mut out: BufferSlice<'_>,
    ) -> Result<()> {
        let opened = with_random(|random| self.session.decrypt(header, ciphertext, random))
            .map_err(not_opened)?;
        copy(&mut out, &[&opened.plaintext])?;
        self.session = opened.session;
        Ok(())
    }

    #[napi(catch_unwind)]
    pub fn force_ratchet(&mut self) {
        self.session = with_random(|random| self.session.force_ratchet(random));
    }

    #[napi(getter, catch_unwind)]
    pub fn state(&self) -> &'static str {
        self.session.state().as_str()
    }

    #[napi(getter, catch_unwind)]
    pub fn send_count(&self) -> u32 {
        self.session.send_count()
    }

    #[napi(getter, catch_unwind)]
    pub fn recv_count(&self) -> u32 {
        self.session.receive_count()
    }

    #[napi(getter, catch_unwind)]
    pub fn prev_send_count(&self) -> u32 {
        self.session.previous_send_count()
    }

    #[napi(getter, catch_unwind)]
    pub fn identity_key<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.session.our_identity().as_bytes())
    }

    #[napi(getter, catch_unwind)]
    pub fn peer_identity_key<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.session.their_identity().as_bytes())
    }

    #[napi(getter, catch_unwind)]
    pub fn ratchet_public_key<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.session.our_ratchet_key().as_bytes())
    }

    #[napi(getter, catch_unwind)]
    pub fn peer_ratchet_public_key<'env>(
        &self,
        env: &'env Env,
    ) -> Result<Option<BufferSlice<'env>>> {
        self.session.their_ratchet_key().map(|key| BufferSlice::copy_from(env, key)).transpose()
    }
}

pub(crate) fn not_sealed(error: EncryptError) -> napi::Error {
    invalid_argument("plaintext", error)
}

pub(crate) fn not_opened(error: DecryptError) -> napi::Error {
    let message = format!("Message could not be decrypted: {error}.");
    let action =
        "Check that it is the peer's, unaltered and not read before; the session is as it was.";
    failure("DECRYPTION_FAILED", &message, action)
}
