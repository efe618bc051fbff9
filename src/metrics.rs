//! Metrics as JavaScript reads them.

use napi_derive::napi;
use stvor_client::{Histogram, Metrics};

/// Counts and latencies over all users of an app.
#[napi(object, object_from_js = false)]
pub struct NativeMetrics {
    pub messages_encrypted: i64,
    pub messages_decrypted: i64,
    pub messages_rejected: i64,
    pub replay_attempts: i64,
    pub auth_failures: i64,
    pub messages_retransmitted: i64,
    pub receipts_received: i64,
    pub sessions_begun: i64,
    pub reconnections: i64,
    pub storage_failures: i64,
    pub storage_conflicts: i64,
    pub send_duration: NativeHistogram,
    pub receipt_duration: NativeHistogram,
    pub commit_duration: NativeHistogram,
}

/// Durations in seconds.
#[napi(object, object_from_js = false)]
pub struct NativeHistogram {
    pub count: i64,
    pub sum: f64,
    pub buckets: Vec<NativeBucket>,
}

/// How many durations were `le` seconds at most.
#[napi(object, object_from_js = false)]
pub struct NativeBucket {
    pub le: f64,
    pub count: i64,
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl From<Metrics> for NativeMetrics {
    fn from(metrics: Metrics) -> Self {
        Self {
            messages_encrypted: count(metrics.messages_encrypted),
            messages_decrypted: count(metrics.messages_decrypted),
            messages_rejected: count(metrics.messages_rejected),
            replay_attempts: count(metrics.replay_attempts),
            auth_failures: count(metrics.auth_failures),
            messages_retransmitted: count(metrics.messages_retransmitted),
            receipts_received: count(metrics.receipts_received),
            sessions_begun: count(metrics.sessions_begun),
            reconnections: count(metrics.reconnections),
            storage_failures: count(metrics.storage_failures),
            storage_conflicts: count(metrics.storage_conflicts),
            send_duration: metrics.send_duration.into(),
            receipt_duration: metrics.receipt_duration.into(),
            commit_duration: metrics.commit_duration.into(),
        }
    }
}

impl From<Histogram> for NativeHistogram {
    fn from(histogram: Histogram) -> Self {
        let buckets = histogram.cumulative();
        let buckets =
            buckets.map(|(bound, n)| NativeBucket { le: bound.as_secs_f64(), count: count(n) });
        Self {
            count: count(histogram.count()),
            sum: histogram.sum().as_secs_f64(),
            buckets: buckets.collect(),
        }
    }
}
