//! Proofs over usage counters: keys derived from the app token, HMAC-SHA256 over JSON text.
//!
//! The two kinds have keys of their own, so that a proof of one never verifies as the other.
//! Spec: docs/PROTOCOL.md, "Metrics".

mod attestation;

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::fingerprint::hex;
use crate::kdf::{HmacKey, hkdf};
use crate::secret::Secret;

pub use attestation::{Attestation, AttestationError, Known};

const SALT: [u8; 32] = [0; 32];

/// A key that proves that counters come from a holder of the app token.
pub struct MetricsKey(Secret<32>);

impl MetricsKey {
    /// For attestations, which the SDK sends.
    pub fn attestation(app_token: &str) -> Self {
        Self::derive(app_token, b"stvor-metrics-attestation-v1")
    }

    /// For signed metrics, which [`verify_metrics_signature`] checks.
    pub fn metrics(app_token: &str) -> Self {
        Self::derive(app_token, b"stvor-metrics-v3")
    }

    fn derive(app_token: &str, info: &[u8]) -> Self {
        Self(Secret::copied_from(&hkdf::<32>(&SALT, app_token.as_bytes(), info)))
    }

    /// Lower-case hex HMAC-SHA256 of `payload`.
    pub fn prove(&self, payload: &str) -> String {
        let mut tag = [0; 32];
        HmacKey::new(self.0.as_bytes()).tag(payload.as_bytes(), &mut tag);
        hex(&tag)
    }

    /// Whether `proof` is [`prove`](Self::prove)'s for `payload`; upper case is refused.
    pub fn verify(&self, payload: &str, proof: &str) -> bool {
        self.prove(payload).as_bytes().ct_eq(proof.as_bytes()).into()
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for MetricsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsKey").finish_non_exhaustive()
    }
}

/// Whether `payload` is JSON and `proof` its proof under the metrics key of `app_token`.
pub fn verify_metrics_signature(payload: &str, proof: &str, app_token: &str) -> bool {
    MetricsKey::metrics(app_token).verify(payload, proof)
        && serde_json::from_str::<serde::de::IgnoredAny>(payload).is_ok()
}

/// The counters that a proof covers, in the order in which they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Messages sealed.
    pub messages_encrypted: u64,
    /// Messages opened.
    pub messages_decrypted: u64,
    /// Messages that could not be opened.
    pub messages_rejected: u64,
    /// Messages refused as replays.
    pub replay_attempts: u64,
    /// Failed authentications towards the relay.
    pub auth_failures: u64,
}

/// What an attestation proves: JSON text of these fields, in this order, without spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestationPayload<'a> {
    /// The counters.
    pub metrics: Counters,
    /// `session_` and 32 hex digits.
    pub session_id: &'a str,
    /// From 0, one more each time.
    pub sequence_number: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// `attest_` and 32 hex digits.
    pub attestation_id: &'a str,
}

/// What a signed metrics record proves: JSON text of these fields, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsPayload<'a> {
    /// The counters, in the object itself.
    #[serde(flatten)]
    pub counters: Counters,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The app token.
    pub app_token: &'a str,
}

impl AttestationPayload<'_> {
    /// The text under the proof.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

impl MetricsPayload<'_> {
    /// The text under the proof.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

impl fmt::Debug for MetricsPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counters, timestamp, app_token: _ } = self;
        f.debug_struct("MetricsPayload")
            .field("counters", counters)
            .field("timestamp", timestamp)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, reason = "structs of numbers and strings always serialise")]
fn json(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).expect("numbers and strings are JSON")
}
