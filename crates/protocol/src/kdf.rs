//! HKDF-SHA256 and HMAC-SHA256, as the key schedule uses them.
//!
//! Spec: RFC 5869, RFC 2104; docs/PROTOCOL.md, "Key derivation".

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// HKDF-SHA256, extract and expand, into `N` bytes.
pub(crate) fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "RFC 5869 ends there") };
    let mut output = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "the only error is a length that the line above bars")]
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut *output).expect("length is in bounds");
    output
}

/// HMAC-SHA256 under one 32-byte key, its padded blocks hashed once for several messages.
pub(crate) struct HmacKey(Hmac<Sha256>);

impl HmacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut block = [0; 64]; // RFC 2104 pads shorter keys with zeros to one block
        block[..32].copy_from_slice(key);
        let mac = Hmac::new(&block.into());
        block.zeroize();
        Self(mac)
    }

    /// Writes the tag of `message` to `output`.
    pub(crate) fn tag(&self, message: &[u8], output: &mut [u8; 32]) {
        let mut tag = self.0.clone().chain_update(message).finalize().into_bytes();
        output.copy_from_slice(&tag);
        tag.zeroize();
    }
}
