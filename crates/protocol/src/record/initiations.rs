//! Which ratchet keys have begun a session with us.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

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

impl fmt::Debug for Initiations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.len())
    }
}
