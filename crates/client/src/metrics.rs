//! Counters of an app. Each counts after the cryptography has succeeded, or failed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the counters; names and meaning are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Messages sealed.
    pub messages_encrypted: u64,
    /// Messages opened.
    pub messages_decrypted: u64,
    /// Messages that failed authentication.
    pub messages_rejected: u64,
    /// Messages refused because they had been received before.
    pub replay_attempts: u64,
    /// Refusals by the relay of our token, and of bundles not signed by their owner.
    pub auth_failures: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    encrypted: AtomicU64,
    decrypted: AtomicU64,
    rejected: AtomicU64,
    replays: AtomicU64,
    auth_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn encrypted(&self) {
        self.encrypted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrypted(&self) {
        self.decrypted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn replay(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn auth_failure(&self) {
        self.auth_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Metrics {
        Metrics {
            messages_encrypted: self.encrypted.load(Ordering::Relaxed),
            messages_decrypted: self.decrypted.load(Ordering::Relaxed),
            messages_rejected: self.rejected.load(Ordering::Relaxed),
            replay_attempts: self.replays.load(Ordering::Relaxed),
            auth_failures: self.auth_failures.load(Ordering::Relaxed),
        }
    }
}
