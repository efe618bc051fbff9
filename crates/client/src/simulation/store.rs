//! A party's disk: sealed records only, and a save that may never return.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{IdentityKeyPair, LocalKeys, PeerRecord, StorageKey, UserRecord};

use crate::store::{Changes, IdentityStore, SessionStore, StoreError};

/// What is on the disk: sealed bytes by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What the next save does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process dies before the save has taken place.
    CrashBefore,
    /// The process dies after it has.
    CrashAfter,
    /// The save fails.
    Error,
    /// The save has taken place, and seems to have failed.
    ErrorAfter,
}

/// The disk of one party. It outlives the party's process.
pub(super) struct Disk {
    keys: LocalKeys,
    state: Mutex<State>,
}

struct State {
    files: Files,
    fault: Option<Fault>,
    crashed: bool,
    random: ChaCha20Rng,
}

/// The name of the user's own record; no peer has it.
const OWN: &str = "";

impl Disk {
    pub(super) fn new(keys: LocalKeys, seed: u64) -> Arc<Self> {
        let random = ChaCha20Rng::seed_from_u64(seed);
        let state = State { files: Files::new(), fault: None, crashed: false, random };
        Arc::new(Self { keys, state: Mutex::new(state) })
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn fail_next(&self, fault: Fault) {
        self.with(|state| state.fault = Some(fault));
    }

    /// Whether the process has died in a save; asked once for each death.
    pub(super) fn take_crash(&self) -> bool {
        self.with(|state| std::mem::take(&mut state.crashed))
    }

    /// A process starts: it has its own saves to die in.
    pub(super) fn heal(&self) {
        self.with(|state| (state.fault, state.crashed) = (None, false));
    }

    /// What was to fail next does not.
    pub(super) fn fail_no_more(&self) {
        self.with(|state| state.fault = None);
    }

    pub(super) fn backup(&self) -> Files {
        self.with(|state| state.files.clone())
    }

    pub(super) fn restore(&self, files: Files) {
        self.with(|state| (state.files, state.fault) = (files, None));
    }

    fn key(&self) -> StorageKey {
        StorageKey::derive(self.keys.identity())
    }

    /// A peer's record as it was last saved.
    pub(super) fn record(&self, user_id: &str, peer_id: &str) -> Option<PeerRecord> {
        let sealed = self.with(|state| state.files.get(peer_id).cloned())?;
        PeerRecord::from_sealed(&self.key(), self.keys.identity(), user_id, peer_id, &sealed).ok()
    }
}

#[async_trait]
impl IdentityStore for Disk {
    async fn identity_key_pair(&self, _: &str) -> Result<IdentityKeyPair, StoreError> {
        Ok(self.keys.identity().clone())
    }
}

#[async_trait]
impl SessionStore for Disk {
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        let Some(sealed) = self.with(|state| state.files.get(peer_id).cloned()) else {
            return Ok(None);
        };
        let record =
            PeerRecord::from_sealed(&self.key(), self.keys.identity(), user_id, peer_id, &sealed);
        record.map(Some).map_err(|error| StoreError::failed(error.to_string()))
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        let Some(sealed) = self.with(|state| state.files.get(OWN).cloned()) else {
            return Ok(None);
        };
        let record = UserRecord::from_sealed(&self.key(), self.keys.identity(), user_id, &sealed);
        record.map(Some).map_err(|error| StoreError::failed(error.to_string()))
    }

    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        let key = self.key();
        let fault = self.with(|state| {
            let fault = state.fault.take();
            if matches!(fault, Some(Fault::CrashBefore | Fault::Error)) {
                state.crashed = fault == Some(Fault::CrashBefore);
                return fault;
            }
            for (peer_id, record) in &changes.peers {
                let sealed = record.to_sealed(&key, user_id, peer_id, &mut state.random);
                state.files.insert(peer_id.clone(), sealed);
            }
            if let Some(own) = &changes.user {
                let sealed = own.to_sealed(&key, user_id, &mut state.random);
                state.files.insert(OWN.to_owned(), sealed);
            }
            state.crashed = fault == Some(Fault::CrashAfter);
            fault
        });
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(StoreError::failed("the disk is full")),
            Some(Fault::ErrorAfter) => Err(StoreError::failed("nobody knows what became of it")),
            // The process is dead: it never learns.
            Some(Fault::CrashBefore | Fault::CrashAfter) => std::future::pending().await,
        }
    }
}
