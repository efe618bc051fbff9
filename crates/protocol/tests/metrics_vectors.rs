//! Metrics proofs recorded from the original.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde::Deserialize;
use stvor_protocol::metrics::{
    AttestationPayload, Counters, MetricsKey, MetricsPayload, verify_metrics_signature,
};
use support::Hex;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    attestation_keys: Vec<Key>,
    metrics_keys: Vec<Key>,
    attestations: Vec<Attested>,
    signed_metrics: Vec<Signed>,
    verify_metrics_signature: Vec<Verified>,
    verify_attestation: Vec<VerifiedAttestation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    app_token: String,
    key: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attested {
    app_token: String,
    attestation: Attestation,
    payload: String,
    proof: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attestation {
    metrics: Numbers,
    session_id: String,
    sequence_number: u64,
    timestamp: u64,
    attestation_id: String,
    proof: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    messages_encrypted: u64,
    messages_decrypted: u64,
    messages_rejected: u64,
    replay_attempts: u64,
    auth_failures: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedPayload {
    #[serde(flatten)]
    numbers: Numbers,
    timestamp: u64,
    app_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    app_token: String,
    payload: String,
    proof: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    note: String,
    payload: String,
    proof: String,
    api_key: String,
    valid: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifiedAttestation {
    note: String,
    attestation: Attestation,
    app_token: String,
    result: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    reason: String,
}

impl Numbers {
    fn counters(&self) -> Counters {
        Counters {
            messages_encrypted: self.messages_encrypted,
            messages_decrypted: self.messages_decrypted,
            messages_rejected: self.messages_rejected,
            replay_attempts: self.replay_attempts,
            auth_failures: self.auth_failures,
        }
    }
}

impl Attestation {
    fn payload(&self) -> String {
        AttestationPayload {
            metrics: self.metrics.counters(),
            session_id: &self.session_id,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            attestation_id: &self.attestation_id,
        }
        .to_json()
    }
}

fn file() -> File {
    serde_json::from_str(include_str!("vectors/v3.0.0/metrics.json")).unwrap()
}

#[test]
fn keys_are_derived_as_in_the_vectors() {
    let File { attestation_keys, metrics_keys, .. } = file();
    assert_eq!((attestation_keys.len(), metrics_keys.len()), (7, 7));
    for Key { app_token, key } in attestation_keys {
        assert_eq!(MetricsKey::attestation(&app_token).as_bytes()[..], *key, "{app_token}");
    }
    for Key { app_token, key } in metrics_keys {
        assert_eq!(MetricsKey::metrics(&app_token).as_bytes()[..], *key, "{app_token}");
    }
}

#[test]
fn attestations_are_reproduced_to_the_byte() {
    let vectors = file().attestations;
    assert_eq!(vectors.len(), 21);
    for Attested { app_token, attestation, payload, proof } in vectors {
        assert_eq!(attestation.payload(), payload);
        assert_eq!(MetricsKey::attestation(&app_token).prove(&payload), proof);
        assert_eq!(attestation.proof, proof);
    }
}

#[test]
fn signed_metrics_are_reproduced_to_the_byte() {
    let vectors = file().signed_metrics;
    assert_eq!(vectors.len(), 7);
    for Signed { app_token, payload, proof } in vectors {
        let fields: SignedPayload = serde_json::from_str(&payload).unwrap();
        let rebuilt = MetricsPayload {
            counters: fields.numbers.counters(),
            timestamp: fields.timestamp,
            app_token: &fields.app_token,
        };
        assert_eq!(rebuilt.to_json(), payload);
        assert_eq!(MetricsKey::metrics(&app_token).prove(&payload), proof);
        assert!(verify_metrics_signature(&payload, &proof, &app_token));
    }
}

#[test]
fn metrics_signatures_verify_as_the_vectors_say() {
    let vectors = file().verify_metrics_signature;
    assert_eq!(vectors.len(), 11);
    for Verified { note, payload, proof, api_key, valid } in vectors {
        assert_eq!(verify_metrics_signature(&payload, &proof, &api_key), valid, "{note}");
    }
}

/// The cases also cover sequence and age, which a backend checks; here it is the proof alone.
#[test]
fn attestation_proofs_verify_as_the_vectors_say() {
    let vectors = file().verify_attestation;
    assert_eq!(vectors.len(), 11);
    for VerifiedAttestation { note, attestation, app_token, result } in vectors {
        let key = MetricsKey::attestation(&app_token);
        let genuine = result.reason != "Signature verification failed";
        assert_eq!(key.verify(&attestation.payload(), &attestation.proof), genuine, "{note}");
    }
}
