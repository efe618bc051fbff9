//! Fingerprints, and the check of signed metrics.

use napi_derive::napi;
use stvor_protocol::metrics;

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
