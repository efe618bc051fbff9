//! An attestation: counters, who counted, when, and the proof. Made by the SDK, judged by a backend.

use serde::{Deserialize, Serialize};

use super::{AttestationPayload, Counters, MetricsKey};

/// Milliseconds after which an attestation is too old.
const MAX_AGE_MS: u64 = 5 * 60 * 1000;

/// Milliseconds that the clock of whoever attests may be ahead.
const MAX_AHEAD_MS: u64 = 60 * 1000;

/// An attestation as it travels, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// The counters since the session began.
    pub metrics: Counters,
    /// `attest_` and 32 hex digits, never the same twice.
    pub attestation_id: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// `session_` and 32 hex digits: an app, from its start to its end.
    pub session_id: String,
    /// From 0, one more each time.
    pub sequence_number: u64,
    /// Lower-case hex HMAC-SHA256 of the [payload](AttestationPayload).
    pub proof: String,
}

/// What a backend knows when it judges an attestation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The session's sequence number before; -1 says that there was none, `None` that it is not to
    /// be checked.
    pub last_sequence_number: Option<i64>,
    /// The session's counters before.
    pub last_metrics: Option<Counters>,
}

/// Why an attestation is not accepted. The first two texts and the fourth are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// Not made with this app token, or altered.
    #[error("Signature verification failed")]
    Proof,
    /// Not the number after the last: a repetition, or one before it is missing.
    #[error("Sequence number not monotonic")]
    Sequence,
    /// Made in the future, by a clock that is more than a minute ahead.
    #[error("Attestation timestamp in the future")]
    Future,
    /// Older than five minutes.
    #[error("Attestation timestamp too old")]
    Expired,
    /// A counter is less than before.
    #[error("Counters not monotonic")]
    Counters,
}

impl Attestation {
    /// Attests `payload`.
    pub fn new(key: &MetricsKey, payload: AttestationPayload<'_>) -> Self {
        let proof = key.prove(&payload.to_json());
        let AttestationPayload { metrics, session_id, sequence_number, timestamp, attestation_id } =
            payload;
        Self {
            metrics,
            attestation_id: attestation_id.to_owned(),
            timestamp,
            session_id: session_id.to_owned(),
            sequence_number,
            proof,
        }
    }

    /// Judges the attestation: the proof first, in constant time, and nothing before it. Whether
    /// its id was seen before is for the caller to say, once this has accepted it.
    ///
    /// # Errors
    ///
    /// The first [`AttestationError`], in their order.
    pub fn verify(&self, key: &MetricsKey, known: &Known) -> Result<(), AttestationError> {
        if !key.verify(&self.payload().to_json(), &self.proof) {
            return Err(AttestationError::Proof);
        }
        let follows = |last: i64| {
            last.checked_add(1).and_then(|next| u64::try_from(next).ok())
                == Some(self.sequence_number)
        };
        if !known.last_sequence_number.is_none_or(follows) {
            return Err(AttestationError::Sequence);
        }
        if self.timestamp > known.now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(AttestationError::Future);
        }
        if self.timestamp < known.now_ms.saturating_sub(MAX_AGE_MS) {
            return Err(AttestationError::Expired);
        }
        if !known.last_metrics.is_none_or(|last| self.metrics.follows(&last)) {
            return Err(AttestationError::Counters);
        }
        Ok(())
    }

    fn payload(&self) -> AttestationPayload<'_> {
        AttestationPayload {
            metrics: self.metrics,
            session_id: &self.session_id,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            attestation_id: &self.attestation_id,
        }
    }
}

impl Counters {
    /// Whether no counter is less than in `earlier`.
    fn follows(&self, earlier: &Self) -> bool {
        let all = |counters: &Self| {
            let Self {
                messages_encrypted,
                messages_decrypted,
                messages_rejected,
                replay_attempts,
                auth_failures,
            } = *counters;
            [
                messages_encrypted,
                messages_decrypted,
                messages_rejected,
                replay_attempts,
                auth_failures,
            ]
        };
        std::iter::zip(all(self), all(earlier)).all(|(now, before)| now >= before)
    }
}
