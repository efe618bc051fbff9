//! What `Debug` prints of every type, to the letter: no key, no plaintext, no token.

mod support;

use std::fmt::Debug;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::metrics::{AttestationPayload, Counters, MetricsKey, MetricsPayload};
use stvor_protocol::{
    Header, LocalKeys, Message4, Parties, RatchetKeyPair, Record, Session, SignedPrekey,
    StorageKey, x3dh_symmetric,
};
use support::wire4::{START, World};

fn assert_prints(value: &impl Debug, expected: &str) {
    assert_eq!(format!("{value:?}"), expected);
}

#[test]
fn keys_and_bundles_print_their_type() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (ours, theirs) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
    assert_prints(&ours, "LocalKeys { .. }");
    assert_prints(ours.identity(), "IdentityKeyPair { .. }");
    assert_prints(ours.identity_key(), "IdentityKey { .. }");
    assert_prints(ours.signed_prekey(), "SignedPrekeyPair { .. }");
    assert_prints(&StorageKey::derive(ours.identity()), "StorageKey { .. }");
    let prekey: &SignedPrekey = ours.signed_prekey().public();
    assert_prints(prekey, "SignedPrekey { .. }");
    let ratchet = RatchetKeyPair::generate(&mut rng);
    assert_prints(&ratchet, "RatchetKeyPair { .. }");
    assert_prints(ratchet.public(), "RatchetPublicKey { .. }");
    assert_prints(&ours.bundle(), "PrekeyBundle { .. }");
    assert_prints(&ours.bundle().verify().unwrap(), "VerifiedBundle { .. }");
    let secret = x3dh_symmetric(
        ours.identity(),
        ours.signed_prekey(),
        theirs.identity_key(),
        theirs.signed_prekey().public(),
    );
    assert_prints(&secret, "SharedSecret { .. }");
}

#[test]
fn sessions_records_and_messages_print_counts() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (a, b) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
    let session = Session::establish(&a, &b.bundle().verify().unwrap(), &mut rng).unwrap();
    let counts = |state: &str, sent: u32, received: u32| {
        format!(
            "Session {{ state: {state}, send_count: {sent}, receive_count: {received}, \
             previous_send_count: 0, skipped_count: 0, is_ratchet_forced: false, .. }}"
        )
    };
    assert_prints(&session, &counts("Pending", 0, 0));
    let sealed = session.encrypt(b"secret", &mut rng).unwrap();
    assert_prints(&sealed, &format!("Encrypted {{ session: {}, .. }}", counts("Initiated", 1, 0)));
    assert_prints(
        &Header::parse(&sealed.header).unwrap(),
        "Header { previous_chain_length: 0, counter: 0, .. }",
    );
    let theirs = Session::establish(&b, &a.bundle().verify().unwrap(), &mut rng).unwrap();
    let opened = theirs.decrypt(&sealed.header, &sealed.ciphertext, &mut rng).unwrap();
    assert_prints(
        &opened,
        &format!("Decrypted {{ session: {}, .. }}", counts("Established", 0, 1)),
    );

    let record = |session: &str, origin: &str, initiations: usize| {
        format!(
            "Record {{ sending: Held {{ session: {session}, origin: {origin}, generation: 0, .. }}, \
             older: [], initiations: {initiations}, .. }}"
        )
    };
    let to_b = Record::new(&a, b.bundle().verify().unwrap(), &mut rng).unwrap();
    let to_a = Record::new(&b, a.bundle().verify().unwrap(), &mut rng).unwrap();
    assert_prints(&to_b, &record(&counts("Pending", 0, 0), "Ours", 0));
    let sealed = to_b.encrypt(b"secret", &mut rng).unwrap();
    let expected = record(&counts("Initiated", 1, 0), "Ours", 0);
    assert_prints(&sealed, &format!("Sealed {{ record: {expected}, .. }}"));
    let opened = to_a.decrypt(&b, &sealed.header, &sealed.ciphertext, &mut rng).unwrap();
    let expected = record(&counts("Established", 0, 1), "Theirs { collided: false }", 1);
    assert_prints(&opened, &format!("Opened {{ record: {expected}, .. }}"));
}

#[test]
fn wire_4_prints_ids_times_and_counts() {
    let mut world = World::new(1);
    let (mut alice, mut bob) = world.sides();
    let (prekeys, published) = bob.prekeys.with_one_time(2, &mut world.rng);
    assert_prints(&prekeys, "Prekeys { id: 1, replaced: 0, one_time: 2, .. }");
    let one_time = published[1].id();
    assert_prints(&published[1], &format!("OneTimePrekey {{ id: {one_time}, .. }}"));
    bob.prekeys = prekeys;
    assert_prints(
        &bob.published(START),
        "VerifiedV4 { capabilities: 0, signed_prekey_id: 1, kem_id: 1, \
         valid_until_ms: 1807776000000, .. }",
    );
    assert_prints(&alice.sessions, "Sessions { sending: None, older: [], .. }");
    world.begin(&mut alice, &bob, Some(&published[1]));
    let first = world.seal(&mut alice, b"secret");
    let id = alice.sessions.sending().unwrap();
    assert_prints(&id, &hex::encode(id.as_bytes()));
    let session = |is_ours: bool, is_answered: bool| {
        format!(
            "Sessions {{ sending: Some(RankedSession {{ id: {id:?}, is_ours: {is_ours}, \
             is_answered: {is_answered}, .. }}), older: [], .. }}"
        )
    };
    assert_prints(&alice.sessions, &session(true, false));
    let message = Message4::parse(&first.header, &first.trailer, &first.ciphertext).unwrap();
    assert_prints(
        &message,
        &format!(
            "Message4 {{ header: Header {{ previous_chain_length: 0, counter: 0, .. }}, \
             session: {id:?}, has_handshake: true, .. }}"
        ),
    );
    let opened = world.try_open(&bob, &first).unwrap();
    assert_prints(
        &opened,
        &format!(
            "Opened4 {{ sessions: {}, timestamp_ms: {START}, used_one_time: Some({one_time}), .. }}",
            session(false, true)
        ),
    );
    let parties = Parties { sender: "bob", recipient: "alice" };
    let sealed = opened.sessions.encrypt(parties, START, b"secret", &mut world.rng).unwrap();
    assert_prints(&sealed, &format!("Sealed4 {{ sessions: {}, .. }}", session(false, true)));
}

#[test]
fn metrics_print_numbers() {
    assert_prints(&MetricsKey::metrics("stvor_secret"), "MetricsKey { .. }");
    let counters = Counters { messages_encrypted: 1, ..Counters::default() };
    let numbers = "Counters { messages_encrypted: 1, messages_decrypted: 0, messages_rejected: 0, \
                   replay_attempts: 0, auth_failures: 0 }";
    assert_prints(&counters, numbers);
    let payload = MetricsPayload { counters, timestamp: 5, app_token: "stvor_secret" };
    assert_prints(&payload, &format!("MetricsPayload {{ counters: {numbers}, timestamp: 5, .. }}"));
    let payload = AttestationPayload {
        metrics: counters,
        session_id: "session_0",
        sequence_number: 0,
        timestamp: 5,
        attestation_id: "attest_0",
    };
    assert_prints(
        &payload,
        &format!(
            "AttestationPayload {{ metrics: {numbers}, session_id: \"session_0\", \
             sequence_number: 0, timestamp: 5, attestation_id: \"attest_0\" }}"
        ),
    );
}
