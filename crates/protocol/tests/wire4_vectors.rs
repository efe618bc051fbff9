//! Wire 4 against another implementation of docs/PROTOCOL.md: `vectors/wire4/generate.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::Deserialize;
use stvor_protocol::{
    IdentityKey, IdentityKeyPair, Message4, Parties, PrekeyBundle, Prekeys, Sessions, VerifiedV4,
};
use support::{Hex, Recorded};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    note: String,
    alice: User,
    bob: User,
    now: u64,
    session: Hex,
    one_time: Option<u32>,
    messages: Vec<Message>,
    bobs_ratchet_key: Hex,
    bobs_nonce: Hex,
    answer: Message,
    later: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user: String,
    identity_key: Hex,
    prekeys: Hex,
    public_identity_key: Hex,
    signed_prekey: Hex,
    signed_prekey_signature: Hex,
    v4: Hex,
}

#[derive(Deserialize)]
struct Message {
    header: Hex,
    trailer: Hex,
    ciphertext: Hex,
    plaintext: Hex,
}

impl Message {
    fn parse(&self) -> Message4<'_> {
        Message4::parse(&self.header, &self.trailer, &self.ciphertext).unwrap()
    }
}

impl User {
    fn prekeys(&self) -> Prekeys {
        let identity = IdentityKeyPair::from_bytes(&self.identity_key).unwrap();
        Prekeys::from_bytes(&identity, &self.prekeys).unwrap()
    }

    fn published(&self, now: u64) -> VerifiedV4 {
        let Self { public_identity_key, signed_prekey, signed_prekey_signature, .. } = self;
        let bundle =
            PrekeyBundle::parse(public_identity_key, signed_prekey, signed_prekey_signature)
                .and_then(PrekeyBundle::verify)
                .unwrap();
        VerifiedV4::verify(&self.v4, &bundle, &self.user, now).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let file: File = serde_json::from_str(include_str!("vectors/wire4/sessions.json")).unwrap();
    assert_eq!(file.cases.len(), 4);
    file.cases
}

#[test]
fn conversations_open_and_are_answered_as_in_the_vectors() {
    for case in cases() {
        let Case { note, alice, bob, now, .. } = &case;
        let prekeys = bob.prekeys();
        let to_bob = Parties { sender: &alice.user, recipient: &bob.user };
        let to_alice = Parties { sender: &bob.user, recipient: &alice.user };
        let mut sessions = Sessions::new(IdentityKey::parse(&alice.public_identity_key).unwrap());
        // The last comes first and begins the session.
        for (nth, message) in case.messages.iter().rev().enumerate() {
            let mut rng = match nth {
                0 => Recorded::new(&case.bobs_ratchet_key),
                _ => Recorded::nothing(),
            };
            let parsed = message.parse();
            let opened = sessions.decrypt(&prekeys, to_bob, &parsed, *now, &mut rng).unwrap();
            rng.assert_used_up();
            assert_eq!(*opened.payload, *message.plaintext, "{note}");
            assert_eq!(opened.session.as_bytes()[..], *case.session, "{note}");
            assert_eq!(opened.used_one_time, case.one_time.filter(|_| nth == 0), "{note}");
            sessions = opened.sessions;
        }
        let Message { header, trailer, ciphertext, plaintext } = &case.answer;
        let time = case.answer.parse().timestamp_ms();
        let mut rng = Recorded::new(&case.bobs_nonce);
        let sealed = sessions.encrypt(to_alice, time, plaintext, &mut rng).unwrap();
        assert_eq!(sealed.header[..], **header, "{note}");
        assert_eq!(sealed.trailer, **trailer, "{note}");
        assert_eq!(sealed.ciphertext, **ciphertext, "{note}");
        sessions = sealed.sessions;
        for message in &case.later {
            let rng = &mut ChaCha20Rng::seed_from_u64(1);
            let parsed = message.parse();
            let opened = sessions.decrypt(&prekeys, to_bob, &parsed, *now, rng).unwrap();
            assert_eq!(*opened.payload, *message.plaintext, "{note}");
            sessions = opened.sessions;
        }
    }
}

#[test]
fn bundles_are_read_and_written_as_in_the_vectors() {
    for Case { note, alice, bob, now, .. } in cases() {
        for user in [alice, bob] {
            let published = user.published(now);
            assert_eq!(published.capabilities(), 0, "{note}");
            assert_eq!(published.valid_until_ms(), now - 100 + 90 * support::wire4::DAY, "{note}");
            let prekeys = user.prekeys();
            assert_eq!(*prekeys.to_bytes(), *user.prekeys, "{note}");
            // Everything but the signature, whose nonce is random.
            let ours = prekeys.v4(&user.user);
            let body = ours.len().min(user.v4.len()) - 72;
            assert_eq!(ours[..body], user.v4[..body], "{note}");
        }
    }
}

/// What we begin with the keys of the vectors' users, they could open.
#[test]
fn both_users_of_a_vector_agree_on_a_session_of_ours() {
    for Case { note, alice, bob, now, .. } in cases() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let parties = Parties { sender: &alice.user, recipient: &bob.user };
        let (a, b) = (alice.prekeys(), bob.prekeys());
        let theirs = bob.published(now);
        let to_bob = Sessions::new(theirs.identity_key().clone())
            .begin(&a, parties, &theirs, None, now, None, rng)
            .unwrap();
        let sealed = to_bob.encrypt(parties, now, b"hello", rng).unwrap();
        let message = Message4::parse(&sealed.header, &sealed.trailer, &sealed.ciphertext).unwrap();
        let identity = message.sender_identity().unwrap().unwrap();
        assert_eq!(identity.as_bytes()[..], *alice.public_identity_key, "{note}");
        let opened = Sessions::new(identity).decrypt(&b, parties, &message, now, rng).unwrap();
        assert_eq!(*opened.payload, b"hello", "{note}");
    }
}
