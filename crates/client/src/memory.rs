//! The stores of development mode: maps behind a mutex, gone with the process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stvor_protocol::{IdentityKeyPair, PeerRecord, UserRecord};
use tokio::time::Instant;

use crate::random::OsRandom;
use crate::store::{Changes, IdentityStore, ReplayCache, SessionStore, StoreError, TofuStore};

/// How long a nonce is remembered (I5).
const REPLAY_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Nonces remembered at most, about 10 MiB; the oldest go first. The ratchet refuses replays of
/// any age by itself: this cache is the second lock on the same door.
const MAX_NONCES: usize = 100_000;

type Nonce = [u8; 12];

#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<String, User>,
}

#[derive(Default)]
struct User {
    identity: Option<IdentityKeyPair>,
    records: HashMap<String, PeerRecord>,
    own: Option<UserRecord>,
    fingerprints: HashMap<String, String>,
    nonces: Nonces,
}

impl MemoryStore {
    fn with<T>(&self, user_id: &str, f: impl FnOnce(&mut User) -> T) -> T {
        // A panic while the lock was held leaves maps that are still whole.
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.users.get_mut(user_id) {
            Some(user) => f(user),
            None => f(state.users.entry(user_id.to_owned()).or_default()),
        }
    }
}

/// The nonces of the last [`REPLAY_WINDOW`], by arrival and for look-up.
#[derive(Default)]
struct Nonces {
    /// By peer; nobody has none.
    seen: HashMap<Arc<str>, HashSet<Nonce>>,
    order: VecDeque<(Instant, Arc<str>, Nonce)>,
}

impl Nonces {
    fn check_and_mark(&mut self, peer_id: &str, nonce: Nonce, now: Instant) -> bool {
        while let Some((at, ..)) = self.order.front()
            && (now.duration_since(*at) > REPLAY_WINDOW || self.order.len() >= MAX_NONCES)
        {
            if let Some((_, peer, nonce)) = self.order.pop_front()
                && let Some(seen) = self.seen.get_mut(&peer)
            {
                seen.remove(&nonce);
                if seen.is_empty() {
                    self.seen.remove(&peer);
                } else if seen.len() < seen.capacity() / 4 {
                    seen.shrink_to(2 * seen.len());
                }
            }
        }
        let known = self.seen.get_key_value(peer_id).map(|(peer, _)| peer.clone());
        let peer = known.unwrap_or_else(|| peer_id.into());
        let new = self.seen.entry(peer.clone()).or_default().insert(nonce);
        if new {
            self.order.push_back((now, peer, nonce));
        }
        !new
    }
}

#[async_trait]
impl IdentityStore for MemoryStore {
    fn is_to_be_made(&self, user_id: &str) -> bool {
        self.with(user_id, |user| user.identity.is_none())
    }

    async fn identity_key_pair(&self, user_id: &str) -> Result<IdentityKeyPair, StoreError> {
        let fresh = || IdentityKeyPair::generate(&mut OsRandom::default());
        Ok(self.with(user_id, |user| user.identity.get_or_insert_with(fresh).clone()))
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        Ok(self.with(user_id, |user| user.records.get(peer_id).cloned()))
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.with(user_id, |user| user.own.clone()))
    }

    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        self.with(user_id, |user| {
            for (peer_id, record) in &changes.peers {
                match user.records.get_mut(peer_id) {
                    Some(kept) => *kept = record.clone(),
                    None => drop(user.records.insert(peer_id.clone(), record.clone())),
                }
            }
            if let Some(own) = &changes.user {
                user.own = Some(own.clone());
            }
        });
        Ok(())
    }
}

#[async_trait]
impl ReplayCache for MemoryStore {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: Nonce,
    ) -> Result<bool, StoreError> {
        let now = Instant::now();
        Ok(self.with(user_id, |user| user.nonces.check_and_mark(peer_id, nonce, now)))
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, Nonce)],
    ) -> Result<Vec<bool>, StoreError> {
        let now = Instant::now();
        Ok(self.with(user_id, |user| {
            let mark =
                |(peer, nonce): &(String, Nonce)| user.nonces.check_and_mark(peer, *nonce, now);
            nonces.iter().map(mark).collect()
        }))
    }
}

#[async_trait]
impl TofuStore for MemoryStore {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.with(user_id, |user| {
            let pin = user.fingerprints.entry(peer_id.to_owned());
            pin.or_insert_with(|| fingerprint.to_owned());
        });
        Ok(())
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.with(user_id, |user| {
            user.fingerprints.insert(peer_id.to_owned(), fingerprint.to_owned())
        });
        Ok(())
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError> {
        Ok(self.with(user_id, |user| user.fingerprints.get(peer_id).map(|f| f == fingerprint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_once_within_the_window_and_for_each_peer() {
        let (mut nonces, start) = (Nonces::default(), Instant::now());
        assert!(!nonces.check_and_mark("bob", [1; 12], start));
        assert!(nonces.check_and_mark("bob", [1; 12], start + REPLAY_WINDOW));
        assert!(!nonces.check_and_mark("carol", [1; 12], start));
        let later = start + REPLAY_WINDOW + Duration::from_secs(1);
        assert!(!nonces.check_and_mark("bob", [1; 12], later), "the window has passed");
    }

    #[test]
    fn the_nonce_cache_is_bounded_and_forgets_the_oldest_first() {
        let (mut nonces, now) = (Nonces::default(), Instant::now());
        for i in 0..=MAX_NONCES as u64 {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&i.to_be_bytes());
            assert!(!nonces.check_and_mark("bob", nonce, now));
        }
        assert_eq!(nonces.seen["bob"].len(), MAX_NONCES);
        assert_eq!(nonces.order.len(), MAX_NONCES);
        assert!(!nonces.check_and_mark("bob", [0; 12], now), "the oldest was dropped");
        let later = now + REPLAY_WINDOW + Duration::from_secs(1);
        assert!(!nonces.check_and_mark("carol", [0; 12], later));
        assert_eq!(nonces.seen.keys().map(|peer| &**peer).collect::<Vec<_>>(), ["carol"]);
    }
}
