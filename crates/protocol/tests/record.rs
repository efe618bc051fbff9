//! Records: both sides first, sessions begun twice, old first messages given back by the relay.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    DecryptError, EstablishError, LocalKeys, MAX_INITIATIONS, MAX_OLDER_SESSIONS, Record,
    SessionState,
};
use support::Recorded;

/// One side of a conversation: it replaces its record after each step, as the client does.
struct Side {
    keys: LocalKeys,
    record: Record,
    rng: ChaCha20Rng,
}

#[derive(Clone)]
struct Envelope {
    header: [u8; 85],
    ciphertext: Vec<u8>,
}

impl Side {
    fn pair(seed: u64) -> (Self, Self) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (a, b) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
        (Self::new(&a, &b, 2 * seed + 1), Self::new(&b, &a, 2 * seed + 2))
    }

    fn new(ours: &LocalKeys, theirs: &LocalKeys, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let record = Record::new(ours, theirs.bundle().verify().unwrap(), &mut rng).unwrap();
        Self { keys: ours.clone(), record, rng }
    }

    fn send(&mut self, text: &str) -> Envelope {
        let sealed = self.record.encrypt(text.as_bytes(), &mut self.rng).unwrap();
        self.record = sealed.record;
        Envelope { header: sealed.header, ciphertext: sealed.ciphertext }
    }

    fn receive(&mut self, message: &Envelope) -> Result<String, DecryptError> {
        let Envelope { header, ciphertext } = message;
        let opened = self.record.decrypt(&self.keys, header, ciphertext, &mut self.rng)?;
        self.record = opened.record;
        Ok(String::from_utf8(opened.plaintext.to_vec()).unwrap())
    }

    fn assert_reads(&mut self, message: &Envelope, text: &str) {
        assert_eq!(self.receive(message).as_deref(), Ok(text));
    }

    fn first_ratchet_key(&self) -> [u8; 65] {
        *self.record.sending_session().our_ratchet_key().as_bytes()
    }

    /// The process ends and comes back with its keys, without its sessions.
    fn restart(&mut self) {
        let bundle = self.record.bundle().clone();
        self.record = Record::new(&self.keys, bundle, &mut self.rng).unwrap();
    }
}

/// Both send on the same session if what one seals now, the other opens without a new session.
fn assert_settled(a: &mut Side, b: &mut Side) {
    for round in 0..3 {
        let (to_b, to_a) = (format!("to b {round}"), format!("to a {round}"));
        let message = a.send(&to_b);
        b.assert_reads(&message, &to_b);
        let message = b.send(&to_a);
        a.assert_reads(&message, &to_a);
    }
    let (a, b) = (a.record.sending_session(), b.record.sending_session());
    assert_eq!(a.their_ratchet_key(), Some(b.our_ratchet_key().as_bytes()), "one session");
}

#[test]
fn when_both_begin_at_once_nothing_is_lost_and_the_lower_session_stays() {
    for seed in 0..8 {
        let (mut a, mut b) = Side::pair(seed);
        let lower = a.first_ratchet_key().min(b.first_ratchet_key());
        let from_a = [a.send("a0"), a.send("a1")];
        let from_b = [b.send("b0"), b.send("b1")];
        b.assert_reads(&from_a[1], "a1");
        a.assert_reads(&from_b[0], "b0");
        b.assert_reads(&from_a[0], "a0");
        assert_settled(&mut a, &mut b);
        a.assert_reads(&from_b[1], "b1");
        assert_settled(&mut a, &mut b);

        // The session that stays is the lower one: its first messages are known to be used up.
        let first = if from_a[0].header[..65] == lower {
            (&from_a[0], &mut b)
        } else {
            (&from_b[0], &mut a)
        };
        assert!(matches!(first.1.receive(first.0), Err(DecryptError::MissingMessageKey { .. })));
        assert_eq!((a.record.session_count(), b.record.session_count()), (2, 2));
    }
}

#[test]
fn a_peer_that_lost_its_sessions_is_answered_on_the_one_it_begins() {
    for seed in 0..8 {
        let (mut a, mut b) = Side::pair(seed);
        assert_settled(&mut a, &mut b);
        b.restart();
        let message = b.send("I am back");
        a.assert_reads(&message, "I am back");
        let message = a.send("welcome");
        b.assert_reads(&message, "welcome");
        assert_settled(&mut a, &mut b);
    }
}

/// Our first message was lost, or the peer is an original that could not read it: whichever
/// session the peer begins is the one it can read.
#[test]
fn a_peer_that_never_saw_our_session_is_answered_on_its_own() {
    for seed in 0..8 {
        let (mut a, mut b) = Side::pair(seed);
        let _lost = a.send("lost");
        let message = b.send("hello?");
        a.assert_reads(&message, "hello?");
        let before = b.record.session_count();
        let message = a.send("hello");
        b.assert_reads(&message, "hello");
        assert_eq!(b.record.session_count(), before, "no session had to be made for it");
        assert_settled(&mut a, &mut b);
    }
}

#[test]
fn an_old_first_message_never_begins_a_session_again() {
    let (mut a, mut b) = Side::pair(1);
    let first = a.send("pay 100");
    b.assert_reads(&first, "pay 100");
    assert_settled(&mut a, &mut b);
    // The session that it began has moved on, and is then pushed out of the record.
    for generation in 0..2 * MAX_OLDER_SESSIONS {
        let replayed = b.receive(&first);
        assert_eq!(replayed, Err(DecryptError::MissingMessageKey { counter: 0 }), "{generation}");
        a.restart();
        assert_settled(&mut a, &mut b);
    }
    assert_eq!(b.record.session_count(), 1 + MAX_OLDER_SESSIONS);
    assert_eq!(b.receive(&first), Err(DecryptError::MissingMessageKey { counter: 0 }));
}

#[test]
fn a_peer_may_begin_so_many_sessions_and_no_more() {
    let (mut a, mut b) = Side::pair(1);
    let first = a.send("first");
    b.assert_reads(&first, "first");
    for _ in 1..MAX_INITIATIONS {
        a.restart();
        let message = a.send("again");
        b.assert_reads(&message, "again");
    }
    a.restart();
    let message = a.send("one too many");
    assert_eq!(b.receive(&message), Err(DecryptError::TooManySessions));
    // The oldest is still remembered.
    assert_eq!(b.receive(&first), Err(DecryptError::MissingMessageKey { counter: 0 }));
}

#[test]
fn our_own_message_given_back_to_us_is_refused() {
    let (mut a, mut b) = Side::pair(1);
    let message = a.send("mine");
    assert_eq!(a.receive(&message), Err(DecryptError::Authentication));
    b.assert_reads(&message, "mine");
    assert_eq!(a.record.session_count(), 1);
}

#[test]
fn a_forged_first_message_makes_no_session() {
    let (mut a, mut b) = Side::pair(1);
    let mut message = a.send("hello");
    message.ciphertext[0] ^= 1;
    assert_eq!(b.receive(&message), Err(DecryptError::Authentication));
    assert_eq!(b.record.sending_session().state(), SessionState::Pending);
    message.ciphertext[0] ^= 1;
    b.assert_reads(&message, "hello");
}

#[test]
fn the_signed_prekey_is_no_ratchet_key_in_any_state() {
    let (mut a, mut b) = Side::pair(1);
    let theirs = *b.keys.signed_prekey().public().as_bytes();
    let forged = |mut message: Envelope| {
        message.header[..65].copy_from_slice(&theirs);
        message
    };
    let template = b.send("x");
    assert_eq!(a.receive(&forged(template.clone())), Err(DecryptError::SignedPrekey), "pending");
    let _ = a.send("x");
    assert_eq!(a.receive(&forged(template.clone())), Err(DecryptError::SignedPrekey), "initiated");
    assert_settled(&mut a, &mut b);
    assert_eq!(a.receive(&forged(template)), Err(DecryptError::SignedPrekey), "established");
}

#[test]
fn a_new_signed_prekey_starts_a_new_session_and_the_old_ones_go_on_receiving() {
    let (mut a, mut b) = Side::pair(1);
    assert_settled(&mut a, &mut b);
    let late = b.send("under the old prekey");

    // B comes back with the same identity and another signed prekey.
    let identity = b.keys.identity().clone();
    let prekey = stvor_protocol::SignedPrekeyPair::generate(&mut b.rng);
    let signature = identity.sign(prekey.public().as_bytes());
    let renewed = LocalKeys::from_parts(identity, prekey, signature).unwrap();
    let mut b_again = Side::new(&renewed, &a.keys, 77);
    let bundle = renewed.bundle().verify().unwrap();
    a.record = a.record.with_bundle(&a.keys, bundle.clone(), &mut a.rng).unwrap();
    assert_eq!(a.record.sending_session().state(), SessionState::Pending);
    assert_eq!(*a.record.bundle(), bundle);

    let message = a.send("hello again");
    a.assert_reads(&late, "under the old prekey");
    b_again.assert_reads(&message, "hello again");
    assert_settled(&mut a, &mut b_again);

    let same = a.record.with_bundle(&a.keys, bundle, &mut Recorded::nothing()).unwrap();
    assert_eq!(same.session_count(), a.record.session_count());
}

#[test]
fn a_record_keeps_its_peer() {
    let (mut a, b) = Side::pair(1);
    let (stranger, _) = Side::pair(2);
    let bundle = stranger.keys.bundle().verify().unwrap();
    let outcome = a.record.with_bundle(&a.keys, bundle, &mut a.rng);
    assert_eq!(outcome.unwrap_err(), EstablishError::IdentityChanged);
    assert_eq!(a.record.their_identity(), b.keys.identity_key());
}

/// A bundle with our own keys would let the relay give our messages back to us as the peer's.
#[test]
fn nobody_can_be_a_peer_with_our_keys() {
    let (mut a, b) = Side::pair(1);
    let ourselves = a.keys.bundle().verify().unwrap();
    let outcome = Record::new(&a.keys, ourselves, &mut a.rng);
    assert_eq!(outcome.unwrap_err(), EstablishError::OwnKeys);

    let (identity, prekey) = (b.keys.identity().clone(), a.keys.signed_prekey().clone());
    let signature = identity.sign(prekey.public().as_bytes());
    let stolen = LocalKeys::from_parts(identity, prekey, signature).unwrap();
    let outcome = Record::new(&a.keys, stolen.bundle().verify().unwrap(), &mut a.rng);
    assert_eq!(outcome.unwrap_err(), EstablishError::OwnKeys);
}

#[test]
fn a_forced_ratchet_is_read_in_every_state() {
    let (mut a, mut b) = Side::pair(1);
    let mut exchange = |force_a: bool, force_b: bool| {
        if force_a {
            a.record = a.record.force_ratchet(&mut a.rng);
        }
        let message = a.send("to b");
        b.assert_reads(&message, "to b");
        if force_b {
            b.record = b.record.force_ratchet(&mut b.rng);
        }
        let message = b.send("to a");
        a.assert_reads(&message, "to a");
        (a.record.clone(), b.record.clone())
    };
    for (force_a, force_b) in [(true, false), (false, true), (true, true), (false, false)] {
        let (a, b) = exchange(force_a, force_b);
        assert!(!a.sending_session().is_ratchet_forced());
        assert!(!b.sending_session().is_ratchet_forced());
    }
}
