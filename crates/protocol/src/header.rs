//! The message header, 85 bytes, which is also the message's associated data.
//!
//! Spec: Double Ratchet, section 3.1 (`HEADER`); docs/PROTOCOL.md, "Message".

use std::fmt;

use crate::curve::POINT_LENGTH;

/// Length of a header.
pub const HEADER_LENGTH: usize = 85;

/// Length of the AES-GCM nonce that a header carries.
pub const NONCE_LENGTH: usize = 12;

/// A header in its parts; integers are big-endian on the wire.
///
/// The ratchet key is just bytes here: most headers repeat a key that is known already, so it is
/// checked to be a point only when a Diffie-Hellman step takes it up.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// The sender's current ratchet public key.
    pub ratchet_key: [u8; POINT_LENGTH],
    /// `PN`: the number of messages in the sender's previous sending chain.
    pub previous_chain_length: u32,
    /// `N`: the number of this message in its chain, from 0.
    pub counter: u32,
    /// The AES-GCM nonce, random.
    pub nonce: [u8; NONCE_LENGTH],
}

/// Bytes are not a header: there are not 85 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a header has {HEADER_LENGTH} bytes, not {length}")]
pub struct HeaderError {
    /// How many there are.
    pub length: usize,
}

impl Header {
    /// Takes a header apart.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] unless there are exactly 85 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::take_apart(bytes).ok_or(HeaderError { length: bytes.len() })
    }

    fn take_apart(bytes: &[u8]) -> Option<Self> {
        let (ratchet_key, rest) = bytes.split_first_chunk()?;
        let (previous_chain_length, rest) = rest.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        Some(Self {
            ratchet_key: *ratchet_key,
            previous_chain_length: u32::from_be_bytes(*previous_chain_length),
            counter: u32::from_be_bytes(*counter),
            nonce: rest.try_into().ok()?,
        })
    }

    /// Puts the header together.
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..65].copy_from_slice(&self.ratchet_key);
        bytes[65..69].copy_from_slice(&self.previous_chain_length.to_be_bytes());
        bytes[69..73].copy_from_slice(&self.counter.to_be_bytes());
        bytes[73..].copy_from_slice(&self.nonce);
        bytes
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ratchet_key: _, previous_chain_length, counter, nonce: _ } = self;
        f.debug_struct("Header")
            .field("previous_chain_length", previous_chain_length)
            .field("counter", counter)
            .finish_non_exhaustive()
    }
}
