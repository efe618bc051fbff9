//! AES-256-GCM by `aes-gcm`.

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use super::TAG_LENGTH;

pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let mut ciphertext = Vec::with_capacity(plaintext.len() + TAG_LENGTH);
    ciphertext.resize(plaintext.len(), 0);
    let buffer = InOutBuf::new(plaintext, &mut ciphertext).ok()?;
    let tag = Aes256Gcm::new(key.into()).encrypt_inout_detached(nonce.into(), ad, buffer).ok()?;
    ciphertext.extend_from_slice(&tag);
    Some(ciphertext)
}

pub(super) fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LENGTH],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
    let buffer = InOutBuf::new(ciphertext, &mut plaintext).ok()?;
    Aes256Gcm::new(key.into()).decrypt_inout_detached(nonce.into(), ad, buffer, tag.into()).ok()?;
    Some(plaintext)
}
