//! Signatures, fingerprints, bundles and facade messages recorded from the original.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use stvor_protocol::{
    BundleError, IdentityKey, LocalKeys, PrekeyBundle, Session, VerifiedBundle, fingerprint,
};
use support::{Hex, Pair, Recorded, local_keys};

#[derive(Deserialize)]
struct Signatures {
    cases: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    id: u32,
    note: String,
    message: Hex,
    signature: Hex,
    public_key: Hex,
    private_key: Option<Hex>,
    valid: bool,
    #[serde(default)]
    original_throws: Option<String>,
}

#[test]
fn signatures_verify_as_the_vectors_say() {
    let file: Signatures = serde_json::from_str(include_str!("vectors/v3.0.0/ecdsa.json")).unwrap();
    let (mut valid, mut not_a_key) = (0, 0);
    for case in &file.cases {
        let what = format!("case {} ({})", case.id, case.note);
        let Ok(key) = IdentityKey::parse(&case.public_key) else {
            assert!(case.original_throws.is_some() && !case.valid, "{what}: key refused");
            not_a_key += 1;
            continue;
        };
        assert_eq!(key.verify(&case.message, &case.signature), case.valid, "{what}");
        valid += usize::from(case.valid);
        if let Some(private_key) = &case.private_key {
            let pair =
                Pair { public_key: case.public_key.clone(), private_key: private_key.clone() };
            let signature = pair.identity().sign(&case.message);
            assert!(key.verify(&case.message, &signature), "{what}: our own signature");
        }
    }
    assert_eq!((file.cases.len(), valid, not_a_key), (43, 20, 2));
}

#[derive(Deserialize)]
struct Tofu {
    cases: Vec<Fingerprint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fingerprint {
    identity_key: Hex,
    identity_key_base64url: String,
    fingerprint: String,
}

#[test]
fn fingerprints_are_the_vectors() {
    let file: Tofu = serde_json::from_str(include_str!("vectors/v3.0.0/tofu.json")).unwrap();
    let mut points = 0;
    for case in &file.cases {
        assert_eq!(fingerprint(&case.identity_key), case.fingerprint);
        let base64url = BASE64_URL_SAFE_NO_PAD.encode(&*case.identity_key);
        assert_eq!(base64url, case.identity_key_base64url);
        if let Ok(key) = IdentityKey::parse(&case.identity_key) {
            assert_eq!(key.fingerprint(), case.fingerprint);
            points += 1;
        }
    }
    // Four take the fingerprint of bytes that are no key.
    assert_eq!((file.cases.len(), points), (16, 12));
}

#[derive(Deserialize)]
struct FacadeWire {
    parties: HashMap<String, Party>,
    messages: Vec<Message>,
    bundles: Vec<BundleCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Party {
    user_id: String,
    identity_key_pair: Pair,
    signed_pre_key_pair: Pair,
    bundle: Bundle,
    initial_ratchet_key: Pair,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    identity_key: String,
    signed_pre_key: String,
    #[serde(default)]
    signed_pre_key_signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    from: String,
    to: String,
    content: String,
    ciphertext: String,
    header: String,
    receiver_generated_ratchet_key: Option<Pair>,
}

#[derive(Deserialize)]
struct BundleCase {
    note: String,
    bundle: Bundle,
    expected: String,
}

impl Bundle {
    fn parse(&self) -> Result<PrekeyBundle, BundleError> {
        PrekeyBundle::parse_base64url(
            &self.identity_key,
            &self.signed_pre_key,
            &self.signed_pre_key_signature,
        )
    }

    fn verify(&self) -> Result<VerifiedBundle, BundleError> {
        self.parse()?.verify()
    }
}

impl Party {
    fn keys(&self) -> LocalKeys {
        let signature = decode(&self.bundle.signed_pre_key_signature);
        local_keys(&self.identity_key_pair, &self.signed_pre_key_pair, &signature)
    }
}

fn decode(base64url: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

fn facade_wire() -> FacadeWire {
    serde_json::from_str(include_str!("vectors/v3.0.0/facade-wire.json")).unwrap()
}

#[test]
fn facade_messages_are_reproduced() {
    let file = facade_wire();
    let party =
        |user_id: &str| file.parties.values().find(|party| party.user_id == user_id).unwrap();
    let mut sessions: HashMap<&str, Session> = HashMap::new();
    for (name, us) in &file.parties {
        let them = file.parties.iter().find(|(other, _)| *other != name).unwrap().1;
        let theirs = them.bundle.verify().unwrap();
        let mut rng = Recorded::key(&us.initial_ratchet_key);
        let session = Session::establish(&us.keys(), &theirs, &mut rng).unwrap();
        sessions.insert(&us.user_id, session);
    }
    for message in &file.messages {
        let (header, ciphertext) = (decode(&message.header), decode(&message.ciphertext));
        let mut rng = Recorded::new(&header[73..]);
        let sealed =
            sessions[&*message.from].encrypt(message.content.as_bytes(), &mut rng).unwrap();
        assert_eq!(sealed.header[..], header, "{}", message.content);
        assert_eq!(sealed.ciphertext, ciphertext, "{}", message.content);

        let generated = &message.receiver_generated_ratchet_key;
        let mut rng = generated.as_ref().map_or(Recorded::nothing(), Recorded::key);
        let opened = sessions[&*message.to].decrypt(&header, &ciphertext, &mut rng).unwrap();
        assert_eq!(*opened.plaintext, message.content.as_bytes());

        sessions.insert(&party(&message.from).user_id, sealed.session);
        sessions.insert(&party(&message.to).user_id, opened.session);
    }
    assert_eq!(file.messages.len(), 8);
}

#[test]
fn published_bundles_are_written_as_the_original_writes_them() {
    for party in facade_wire().parties.values() {
        let bundle = party.keys().bundle();
        assert_eq!(bundle.identity_key_base64url(), party.bundle.identity_key);
        assert_eq!(bundle.signed_prekey_base64url(), party.bundle.signed_pre_key);
        assert_eq!(bundle.signature_base64url(), party.bundle.signed_pre_key_signature);
        assert_eq!(bundle, party.bundle.parse().unwrap());
    }
}

/// Among them those that the original accepts: a signature that is empty or missing.
#[test]
fn bundles_are_accepted_as_a_safe_implementation_should() {
    let file = facade_wire();
    for case in &file.bundles {
        let outcome = case.bundle.verify();
        assert_eq!(outcome.is_ok(), case.expected == "accept", "{}: {outcome:?}", case.note);
        if case.note.contains("empty") || case.note.contains("missing") {
            assert_eq!(outcome.unwrap_err(), BundleError::MissingSignature, "{}", case.note);
        }
    }
    assert_eq!(file.bundles.len(), 11);
}

#[test]
fn bundles_are_read_in_either_alphabet_with_and_without_padding() {
    let file = facade_wire();
    let Bundle { identity_key, signed_pre_key, signed_pre_key_signature } =
        &file.parties["alice"].bundle;
    let standard = |text: &str| {
        let mut text = text.replace('-', "+").replace('_', "/");
        text.push_str(["", "", "==", "="][text.len() % 4]);
        text
    };
    let read = PrekeyBundle::parse_base64url(
        &standard(identity_key),
        &standard(signed_pre_key),
        &standard(signed_pre_key_signature),
    );
    assert_eq!(read.unwrap(), file.parties["alice"].bundle.parse().unwrap());
    let refused = PrekeyBundle::parse_base64url(identity_key, "not base64!", "");
    assert_eq!(refused.unwrap_err(), BundleError::Encoding { field: "signedPreKey" });
    let refused = PrekeyBundle::parse_base64url("", signed_pre_key, "");
    assert_eq!(refused.unwrap_err(), BundleError::Key { field: "identityKey" });
}
