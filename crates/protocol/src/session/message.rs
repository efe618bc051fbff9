//! A received message, its header taken apart.

use zeroize::Zeroizing;

use super::DecryptError;
use crate::aead::TAG_LENGTH;
use crate::header::Header;
use crate::message_key::MessageKey;
use crate::skipped::MAX_SKIP;

/// A message whose header has been taken apart and whose ciphertext may hold a tag.
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    ad: &'a [u8],
    ciphertext: &'a [u8],
    /// How far ahead in its chain it may be.
    pub(super) max_skip: u32,
}

impl<'a> Message<'a> {
    /// A message of wire 3, whose header is all its associated data.
    pub(crate) fn parse(header: &'a [u8], ciphertext: &'a [u8]) -> Result<Self, DecryptError> {
        if ciphertext.len() < TAG_LENGTH {
            return Err(DecryptError::CiphertextTooShort { length: ciphertext.len() });
        }
        Ok(Self::new(Header::parse(header)?, header, ciphertext, MAX_SKIP))
    }

    pub(crate) fn new(header: Header, ad: &'a [u8], ciphertext: &'a [u8], max_skip: u32) -> Self {
        Self { header, ad, ciphertext, max_skip }
    }

    pub(super) fn open_with(
        &self,
        message_key: &MessageKey,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        message_key
            .open(&self.header.nonce, self.ad, self.ciphertext)
            .ok_or(DecryptError::Authentication)
    }
}
