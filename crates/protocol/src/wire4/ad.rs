//! `AD`: what a message of wire 4 is bound to besides its key.
//!
//! Spec: docs/PROTOCOL.md, "Associated data".

use sha2::{Digest, Sha256};

use super::Parties;
use crate::codec::Write;
use crate::header::HEADER_LENGTH;

const LABEL: &[u8] = b"stvor-v4-ad";

/// Hashes what is written: nothing is gathered in between.
pub(super) struct Hashed(Sha256);

impl Hashed {
    /// Labels differ in their first 64 bytes and none is another's beginning.
    pub(super) fn new(label: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(label))
    }

    /// Both user ids, each behind its length.
    pub(super) fn put_parties(&mut self, parties: Parties<'_>) {
        self.put_field(parties.sender.as_bytes());
        self.put_field(parties.recipient.as_bytes());
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for Hashed {
    fn put(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// SHA-256 over label, header (ratchet key, `PN`, `N`, nonce), user ids and trailer (timestamp,
/// session id, handshake).
pub(super) fn associated_data(
    header: &[u8; HEADER_LENGTH],
    parties: Parties<'_>,
    trailer: &[u8],
) -> [u8; 32] {
    let mut ad = Hashed::new(LABEL);
    ad.put(header);
    ad.put_parties(parties);
    ad.put_field(trailer);
    ad.finish()
}
