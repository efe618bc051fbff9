//! Fingerprints, and what a backend checks of metrics.

use napi::bindgen_prelude::Result;
use napi_derive::napi;
use stvor_protocol::metrics::{self, Attestation, Counters, Known, MetricsKey};

use crate::error::invalid_argument;

/// Lower-case hex SHA-256 of an identity key.
#[napi(catch_unwind)]
pub fn fingerprint(identity_key: &[u8]) -> String {
    stvor_protocol::fingerprint(identity_key)
}

/// Whether `proof` signs `payload` under the metrics key of `app_token`.
#[napi(catch_unwind)]
pub fn verify_metrics_signature(payload: String, proof: String, app_token: String) -> bool {
    metrics::verify_metrics_signature(&payload, &proof, &app_token)
}

/// What a backend knows when it judges an attestation; `last_metrics` as JSON.
#[napi(object, object_to_js = false)]
pub struct NativeKnown {
    pub now: i64,
    pub last_sequence_number: Option<i64>,
    pub last_metrics: Option<String>,
}

/// Why an attestation, given as JSON, is not accepted under `app_token`; null if it is.
#[napi(catch_unwind)]
pub fn verify_attestation(
    attestation: String,
    app_token: String,
    known: NativeKnown,
) -> Result<Option<String>> {
    let Ok(attestation) = serde_json::from_str::<Attestation>(&attestation) else {
        return Ok(Some("Malformed attestation".to_owned()));
    };
    let NativeKnown { now, last_sequence_number, last_metrics } = known;
    let last_metrics = last_metrics.map(|json| serde_json::from_str::<Counters>(&json));
    let last_metrics = last_metrics
        .transpose()
        .map_err(|_| invalid_argument("lastMetrics", "its counters must be whole numbers"))?;
    let now_ms = now.try_into().unwrap_or_default();
    let known = Known { now_ms, last_sequence_number, last_metrics };
    let judged = attestation.verify(&MetricsKey::attestation(&app_token), &known);
    Ok(judged.err().map(|reason| reason.to_string()))
}
