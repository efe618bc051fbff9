//! AES-256-GCM by aws-lc-rs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::TAG_LENGTH;

pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let mut ciphertext = Vec::with_capacity(plaintext.len() + TAG_LENGTH);
    ciphertext.extend_from_slice(plaintext);
    cipher(key)?
        .seal_in_place_append_tag(Nonce::from(nonce), Aad::from(ad), &mut ciphertext)
        .ok()?;
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
    cipher(key)?
        .open_separate_gather(Nonce::from(nonce), Aad::from(ad), ciphertext, tag, &mut plaintext)
        .ok()?;
    Some(plaintext)
}

/// "Less safe" because it leaves nonces to the caller: each key here seals one message.
fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}
