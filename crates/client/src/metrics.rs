//! Counters and latencies of an app. What concerns messages counts after the cryptography has
//! succeeded, or failed, and after the step was committed.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

use crate::histogram::{Histogram, Recorder};
use crate::store::StoreErrorKind;
use crate::{Error, StoreError};

/// A reading of the counters. Names and meaning of the first five are the original's, and
/// attestations cover them alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Messages sealed for the first time.
    pub messages_encrypted: u64,
    /// Messages opened.
    pub messages_decrypted: u64,
    /// Messages that failed authentication.
    pub messages_rejected: u64,
    /// Messages refused because they had been received before.
    pub replay_attempts: u64,
    /// Refusals by the relay of our token, and of bundles not signed by their owner.
    pub auth_failures: u64,
    /// Messages sealed again, since the recipient may not have got them.
    pub messages_retransmitted: u64,
    /// Messages of ours whose recipients' handlers have completed.
    pub receipts_received: u64,
    /// Sessions that we have begun, healing included.
    pub sessions_begun: u64,
    /// Connections to the relay after the first.
    pub reconnections: u64,
    /// Calls of stores that failed.
    pub storage_failures: u64,
    /// Steps taken again because another process had written the same records.
    pub storage_conflicts: u64,
    /// From the call of a send until the relay has the message; not of sends that wait for the
    /// recipient's receipt.
    pub send_duration: Histogram,
    /// From the call of a send that waits for it until the recipient's receipt.
    pub receipt_duration: Histogram,
    /// One step's write to the stores, its nonce check included; not of steps that write nothing,
    /// or fail.
    pub commit_duration: Histogram,
}

/// Counts from many threads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What [`Metrics`] is a reading of.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) encrypted: Counter,
    pub(crate) decrypted: Counter,
    pub(crate) rejected: Counter,
    pub(crate) replays: Counter,
    pub(crate) auth_failures: Counter,
    pub(crate) retransmitted: Counter,
    pub(crate) receipts: Counter,
    pub(crate) sessions_begun: Counter,
    pub(crate) reconnections: Counter,
    pub(crate) storage_failures: Counter,
    pub(crate) storage_conflicts: Counter,
    pub(crate) send: Recorder,
    pub(crate) receipt: Recorder,
    pub(crate) commit: Recorder,
}

impl Counters {
    /// Counts what a store answered, and turns it into what the application is told.
    pub(crate) fn storage(&self, error: &StoreError) -> Error {
        let told = Error::storage(error);
        // Without the store's own words: it may have put anything into them.
        match error.kind {
            StoreErrorKind::Conflict => {
                self.storage_conflicts.one();
                info!("store conflict");
            }
            _ => {
                self.storage_failures.one();
                warn!(code = told.code.as_str(), "store failed");
            }
        }
        told
    }

    pub(crate) fn read(&self) -> Metrics {
        Metrics {
            messages_encrypted: self.encrypted.read(),
            messages_decrypted: self.decrypted.read(),
            messages_rejected: self.rejected.read(),
            replay_attempts: self.replays.read(),
            auth_failures: self.auth_failures.read(),
            messages_retransmitted: self.retransmitted.read(),
            receipts_received: self.receipts.read(),
            sessions_begun: self.sessions_begun.read(),
            reconnections: self.reconnections.read(),
            storage_failures: self.storage_failures.read(),
            storage_conflicts: self.storage_conflicts.read(),
            send_duration: self.send.read(),
            receipt_duration: self.receipt.read(),
            commit_duration: self.commit.read(),
        }
    }
}
