//! `/ratchet`'s functions on bare keys.

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use stvor_protocol::{
    IdentityKey, IdentityKeyPair, KeyError, SignedPrekey, SignedPrekeyPair, x3dh_symmetric,
};

use crate::error::invalid_argument;
use crate::random::with_random;

/// Four keys of an agreement, parsed.
pub(crate) struct AgreementKeys {
    pub(crate) our_identity: IdentityKeyPair,
    pub(crate) our_signed_prekey: SignedPrekeyPair,
    pub(crate) their_identity: IdentityKey,
    pub(crate) their_signed_prekey: SignedPrekey,
}

/// The public and private halves as JavaScript has them.
pub(crate) type Halves<'a> = (&'a [u8], &'a [u8]);

impl AgreementKeys {
    pub(crate) fn parse(
        our_identity: Halves<'_>,
        our_signed_prekey: Halves<'_>,
        their_identity: &[u8],
        their_signed_prekey: &[u8],
    ) -> Result<Self> {
        let wrong = |argument| move |error: KeyError| invalid_argument(argument, error);
        let (identity, prekey) = (our_identity, our_signed_prekey);
        Ok(Self {
            our_identity: IdentityKeyPair::from_halves(identity.0, identity.1)
                .map_err(wrong("myIdentityKeyPair"))?,
            our_signed_prekey: SignedPrekeyPair::from_halves(prekey.0, prekey.1)
                .map_err(wrong("mySignedPreKeyPair"))?,
            their_identity: IdentityKey::parse(their_identity).map_err(wrong("peerIdentityKey"))?,
            their_signed_prekey: SignedPrekey::parse(their_signed_prekey)
                .map_err(wrong("peerSignedPreKey"))?,
        })
    }
}

/// Writes a new pair into `out`: 65 public bytes, then 32 private ones.
#[napi(catch_unwind)]
pub fn generate_key_pair_into(mut out: BufferSlice<'_>) -> Result<()> {
    let pair = with_random(IdentityKeyPair::generate);
    copy(&mut out, &[pair.public().as_bytes(), pair.to_bytes().as_slice()])
}

/// ECDSA over SHA-256, DER.
#[napi(catch_unwind)]
pub fn ec_sign<'env>(env: &'env Env, data: &[u8], private_key: &[u8]) -> Result<BufferSlice<'env>> {
    let pair = IdentityKeyPair::from_bytes(private_key)
        .map_err(|error| invalid_argument("keyPair.privateKey", error))?;
    BufferSlice::copy_from(env, pair.sign(data))
}

/// Whether `signature` is `public_key`'s over `data`.
#[napi(catch_unwind)]
pub fn ec_verify(data: &[u8], signature: &[u8], public_key: &[u8]) -> Result<bool> {
    let key =
        IdentityKey::parse(public_key).map_err(|error| invalid_argument("publicKey", error))?;
    Ok(key.verify(data, signature))
}

/// The shared secret of symmetric X3DH.
#[napi(catch_unwind)]
pub fn agree<'env>(
    env: &'env Env,
    identity_public: &[u8],
    identity_private: &[u8],
    prekey_public: &[u8],
    prekey_private: &[u8],
    peer_identity: &[u8],
    peer_prekey: &[u8],
) -> Result<BufferSlice<'env>> {
    let keys = AgreementKeys::parse(
        (identity_public, identity_private),
        (prekey_public, prekey_private),
        peer_identity,
        peer_prekey,
    )?;
    let secret = x3dh_symmetric(
        &keys.our_identity,
        &keys.our_signed_prekey,
        &keys.their_identity,
        &keys.their_signed_prekey,
    );
    BufferSlice::copy_from(env, secret.as_bytes())
}

/// Copies `parts` into `out`, which JavaScript has made just as long.
pub(crate) fn copy(out: &mut [u8], parts: &[&[u8]]) -> Result<()> {
    let mut rest = out;
    for part in parts {
        let (head, tail) = std::mem::take(&mut rest)
            .split_at_mut_checked(part.len())
            .ok_or_else(|| invalid_argument("out", "too short"))?;
        head.copy_from_slice(part);
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(invalid_argument("out", "too long")) }
}
