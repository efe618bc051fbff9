//! The handshake: which keys a session begins with. It travels with every message of the
//! initiator until the peer has answered, so that any one of them is enough.
//!
//! Spec: docs/PROTOCOL.md, "Handshake".

use crate::codec::{Malformed, Reader, Write};
use crate::curve::COMPRESSED_LENGTH;
use crate::kem;

/// Length of what names the session: everything up to the signature.
const NAME_LENGTH: usize = 2 * COMPRESSED_LENGTH + 3 * 4;

/// The longest DER signature of P-256.
pub(super) const MAX_SIGNATURE_LENGTH: usize = 72;

/// The keys of ours that a handshake of the peer has used, or the peer's that ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PrekeyIds {
    pub(super) signed_prekey: u32,
    pub(super) kem: u32,
    /// 0 when there is none.
    pub(super) one_time: u32,
}

/// A handshake in its parts; public keys are not yet checked to be points.
pub(super) struct Handshake<'a> {
    /// The initiator's identity key.
    pub(super) identity: &'a [u8; COMPRESSED_LENGTH],
    /// The initiator's signed prekey.
    pub(super) signed_prekey: &'a [u8; COMPRESSED_LENGTH],
    /// The recipient's keys that were used.
    pub(super) ids: PrekeyIds,
    /// The initiator's identity key's over its signed prekey's 65 bytes, DER.
    pub(super) signature: &'a [u8],
    pub(super) ciphertext: &'a [u8; kem::CIPHERTEXT_LENGTH],
    /// All of it.
    pub(super) bytes: &'a [u8],
}

impl<'a> Handshake<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (identity, signed_prekey) = (reader.array()?, reader.array()?);
        let ids =
            PrekeyIds { signed_prekey: reader.u32()?, kem: reader.u32()?, one_time: reader.u32()? };
        let length = usize::from(reader.u8()?);
        if length > MAX_SIGNATURE_LENGTH {
            return Err(Malformed);
        }
        let (signature, ciphertext) = (reader.take(length)?, reader.array()?);
        reader.end()?;
        Ok(Self { identity, signed_prekey, ids, signature, ciphertext, bytes })
    }

    pub(super) fn write(
        identity: &[u8; COMPRESSED_LENGTH],
        signed_prekey: &[u8; COMPRESSED_LENGTH],
        ids: PrekeyIds,
        signature: &[u8],
        ciphertext: &[u8; kem::CIPHERTEXT_LENGTH],
    ) -> Vec<u8> {
        debug_assert!(signature.len() <= MAX_SIGNATURE_LENGTH, "a DER signature of P-256");
        let mut bytes = Vec::with_capacity(NAME_LENGTH + 1 + signature.len() + ciphertext.len());
        bytes.put(identity);
        bytes.put(signed_prekey);
        bytes.put_u32(ids.signed_prekey);
        bytes.put_u32(ids.kem);
        bytes.put_u32(ids.one_time);
        bytes.put_u8(signature.len() as u8);
        bytes.put(signature);
        bytes.put(ciphertext);
        bytes
    }
}

/// The part of a handshake's bytes that names its session. Signature and KEM ciphertext are not in
/// it: both are random beyond the caller's say, and the root key depends on them anyway.
pub(super) fn name(handshake: &[u8]) -> &[u8] {
    &handshake[..NAME_LENGTH]
}
