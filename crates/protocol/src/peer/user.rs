//! A user's own record: prekeys, and with whom something is under way.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::wire4::Prekeys;

/// What we keep about ourselves. Clones share it.
#[derive(Clone)]
pub struct UserRecord {
    pub(super) prekeys: Prekeys,
    /// Peers whose records were [active](super::PeerRecord::is_active) at some time since the user
    /// came: a superset of those that are, so that it is rarely written.
    pub(super) active: Arc<BTreeSet<Arc<str>>>,
}

impl UserRecord {
    /// With these prekeys, and nothing under way.
    pub fn new(prekeys: Prekeys) -> Self {
        Self { prekeys, active: Arc::default() }
    }

    /// Our prekeys.
    pub fn prekeys(&self) -> &Prekeys {
        &self.prekeys
    }

    /// With other prekeys.
    #[must_use = "the record itself is unchanged"]
    pub fn with_prekeys(&self, prekeys: Prekeys) -> Self {
        Self { prekeys, active: self.active.clone() }
    }

    /// Peers to look at when the user comes.
    pub fn active(&self) -> impl Iterator<Item = &str> {
        self.active.iter().map(|id| &**id)
    }

    /// How many peers there are to look at.
    pub fn active_len(&self) -> usize {
        self.active.len()
    }

    /// With these peers among the active; `None` if they are all there.
    pub fn with_active<'a>(&self, peers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut fresh = peers.filter(|peer| !self.active.contains(*peer)).peekable();
        fresh.peek()?;
        let mut active = (*self.active).clone();
        active.extend(fresh.map(Arc::from));
        Some(Self { prekeys: self.prekeys.clone(), active: Arc::new(active) })
    }

    /// Without the peers for whom `keep` says no; `None` if all stay.
    pub fn retain_active(&self, keep: impl Fn(&str) -> bool) -> Option<Self> {
        let kept: BTreeSet<Arc<str>> = self.active.iter().filter(|id| keep(id)).cloned().collect();
        let fewer = kept.len() < self.active.len();
        fewer.then(|| Self { prekeys: self.prekeys.clone(), active: Arc::new(kept) })
    }
}

impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prekeys, active } = self;
        f.debug_struct("UserRecord")
            .field("prekeys", prekeys)
            .field("active", &active.len())
            .finish()
    }
}
