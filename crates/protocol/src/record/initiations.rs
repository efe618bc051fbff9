//! Which ratchet keys have begun a session with us.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::codec::{Reader, Write};
use crate::session::SavedRecordError;

/// How many sessions a peer may begin with us under one identity. When they are used up it can
/// begin no other: forgetting the oldest instead would let a relay replay what began it.
pub const MAX_INITIATIONS: usize = 1000;

/// SHA-256 of each ratchet key that began a session, for the life of the record.
#[derive(Clone, Default)]
pub(super) struct Initiations(Arc<BTreeSet<[u8; 32]>>);

impl Initiations {
    pub(super) fn contains(&self, ratchet_key: &[u8]) -> bool {
        self.0.contains::<[u8; 32]>(&Sha256::digest(ratchet_key).into())
    }

    /// With one more; `None` when there are [`MAX_INITIATIONS`].
    pub(super) fn with(&self, ratchet_key: &[u8]) -> Option<Self> {
        if self.0.len() >= MAX_INITIATIONS {
            return None;
        }
        let mut next = self.clone();
        Arc::make_mut(&mut next.0).insert(Sha256::digest(ratchet_key).into());
        Some(next)
    }
}

impl Initiations {
    pub(super) fn write(&self, out: &mut impl Write) {
        out.put_varint(self.0.len() as u64);
        for digest in self.0.iter() {
            out.put(digest);
        }
    }

    /// Ascending, so that there is one order to write them in.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let count = reader.length()?;
        if count > MAX_INITIATIONS {
            return Err(SavedRecordError::Malformed);
        }
        let mut digests = BTreeSet::new();
        for _ in 0..count {
            let digest = *reader.array()?;
            if digests.last().is_some_and(|last| *last >= digest) {
                return Err(SavedRecordError::Malformed);
            }
            digests.insert(digest);
        }
        Ok(Self(Arc::new(digests)))
    }
}

impl fmt::Debug for Initiations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.len())
    }
}
