//! Whose public keys the relay has shown, and who wants to hear of whom.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use stvor_wire::PublicKeyBundle;

/// Announced users kept, about 10 MiB, or 40 MiB if all of them have keys for wire 4; past these
/// the one announced longest ago that nobody watches is forgotten. A relay of ours admits 10,000.
pub(super) const MAX_KNOWN: usize = 16_384;

#[derive(Default)]
pub(crate) struct Directory {
    bundles: HashMap<String, PublicKeyBundle>,
    order: VecDeque<String>,
    watchers: HashMap<String, HashSet<Arc<str>>>,
}

impl Directory {
    /// Keeps the bundle; returns who is to be told.
    pub(crate) fn announce(&mut self, user: &str, bundle: PublicKeyBundle) -> Vec<Arc<str>> {
        if self.bundles.insert(user.to_owned(), bundle).is_none() {
            self.order.push_back(user.to_owned());
            self.shrink();
        }
        self.watchers.get(user).map(|w| w.iter().cloned().collect()).unwrap_or_default()
    }

    fn shrink(&mut self) {
        let mut tries = self.order.len();
        while self.bundles.len() > MAX_KNOWN && tries > 0 {
            tries -= 1;
            let Some(oldest) = self.order.pop_front() else { return };
            if self.watchers.contains_key(&oldest) {
                self.order.push_back(oldest);
            } else {
                self.bundles.remove(&oldest);
            }
        }
    }

    pub(crate) fn get(&self, user: &str) -> Option<&PublicKeyBundle> {
        self.bundles.get(user)
    }

    pub(crate) fn watch(&mut self, watcher: Arc<str>, peer: &str) {
        self.watchers.entry(peer.to_owned()).or_default().insert(watcher);
    }

    pub(crate) fn unwatch(&mut self, watcher: &str, peer: &str) {
        if let Some(watchers) = self.watchers.get_mut(peer) {
            watchers.remove(watcher);
            if watchers.is_empty() {
                self.watchers.remove(peer);
            }
        }
    }

    /// Forgets a user who left this app.
    pub(crate) fn unwatch_all(&mut self, watcher: &str) {
        self.watchers.retain(|_, watchers| {
            watchers.remove(watcher);
            !watchers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(n: usize) -> PublicKeyBundle {
        PublicKeyBundle {
            identity_key: n.to_string(),
            signed_pre_key: String::new(),
            signed_pre_key_signature: String::new(),
            one_time_pre_key: String::new(),
            v4: None,
        }
    }

    #[test]
    fn a_flood_of_announcements_forgets_the_oldest_unwatched() {
        let mut directory = Directory::default();
        directory.watch("me".into(), "watched");
        assert_eq!(directory.announce("watched", bundle(0)), [Arc::from("me")]);
        for n in 0..MAX_KNOWN + 10 {
            assert!(directory.announce(&format!("user {n}"), bundle(n)).is_empty());
        }
        assert_eq!(directory.bundles.len(), MAX_KNOWN);
        assert_eq!(directory.order.len(), MAX_KNOWN);
        assert!(directory.get("watched").is_some(), "watched bundles stay");
        assert!(directory.get("user 0").is_none());
    }
}
