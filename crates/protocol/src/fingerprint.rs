//! The fingerprint of an identity key, which people and trust stores compare.
//!
//! Spec: docs/PROTOCOL.md, "Public key bundle".

use sha2::{Digest, Sha256};

/// Lower-case hex SHA-256 of an identity key's 65 bytes.
///
/// Takes bytes rather than a key, since a store may be asked about a key of any origin.
pub fn fingerprint(identity_key: &[u8]) -> String {
    hex(&Sha256::digest(identity_key))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}
