//! How far ahead, how many late, and what a forced ratchet may do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    DecryptError, Encrypted, LocalKeys, MAX_SKIP, MAX_SKIPPED_KEYS, Session, SessionState,
};
use support::Recorded;

/// A generator that nobody has had before.
fn rng() -> ChaCha20Rng {
    static SEED: AtomicU64 = AtomicU64::new(0);
    ChaCha20Rng::seed_from_u64(SEED.fetch_add(1, Ordering::Relaxed))
}

fn pair() -> (Session, Session) {
    let mut rng = rng();
    let (a, b) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
    let establish = |ours: &LocalKeys, theirs: &LocalKeys, rng: &mut ChaCha20Rng| {
        Session::establish(ours, &theirs.bundle().verify().unwrap(), rng).unwrap()
    };
    (establish(&a, &b, &mut rng), establish(&b, &a, &mut rng))
}

/// Seals `count` messages; the session goes on.
fn seal(session: &mut Session, count: usize) -> Vec<Encrypted> {
    let mut rng = rng();
    (0..count)
        .map(|_| {
            let sealed = session.encrypt(b"text", &mut rng).unwrap();
            *session = sealed.session.clone();
            sealed
        })
        .collect()
}

fn open(session: &mut Session, message: &Encrypted) -> Result<(), DecryptError> {
    let opened = session.decrypt(&message.header, &message.ciphertext, &mut rng())?;
    assert_eq!(*opened.plaintext, b"text");
    *session = opened.session;
    Ok(())
}

fn exchange(from: &mut Session, to: &mut Session) {
    let message = seal(from, 1).remove(0);
    open(to, &message).unwrap();
}

#[test]
fn a_message_may_be_256_ahead_and_no_more() {
    for first in [0, 1] {
        let (mut a, mut b) = pair();
        let messages = seal(&mut a, first + MAX_SKIP as usize + 2);
        for message in &messages[..first] {
            open(&mut b, message).unwrap();
        }
        let before = b.serialize();
        let ahead = first + MAX_SKIP as usize;
        assert_eq!(open(&mut b, &messages[ahead + 1]), Err(DecryptError::TooManySkipped));
        assert_eq!(*b.serialize(), *before);
        open(&mut b, &messages[ahead]).unwrap();
        assert_eq!(b.skipped_count(), MAX_SKIP as usize);
        for late in &messages[first..ahead] {
            open(&mut b, late).unwrap();
        }
        assert_eq!(b.skipped_count(), 0);
    }
}

/// The end of a chain that is made known by the next one counts the same.
#[test]
fn a_chain_may_have_256_missing_at_its_end_and_no_more() {
    for missing in [MAX_SKIP as usize, MAX_SKIP as usize + 1] {
        let (mut a, mut b) = pair();
        exchange(&mut a, &mut b);
        let late = seal(&mut a, missing);
        exchange(&mut b, &mut a);
        let next = seal(&mut a, 1).remove(0);
        if missing > MAX_SKIP as usize {
            assert_eq!(open(&mut b, &next), Err(DecryptError::TooManySkipped));
        } else {
            open(&mut b, &next).unwrap();
            assert_eq!(b.skipped_count(), missing);
            for message in &late {
                open(&mut b, message).unwrap();
            }
        }
    }
}

#[test]
fn a_thousand_late_messages_are_kept_and_the_oldest_dropped_first() {
    let (mut a, mut b) = pair();
    let mut late = Vec::new();
    for _ in 0..5 {
        let mut messages = seal(&mut a, MAX_SKIP as usize);
        open(&mut b, &messages.pop().unwrap()).unwrap();
        late.extend(messages);
        exchange(&mut b, &mut a);
    }
    assert_eq!(late.len(), 5 * 255);
    assert_eq!(b.skipped_count(), MAX_SKIPPED_KEYS);
    let dropped = late.len() - MAX_SKIPPED_KEYS;
    for (position, message) in late.iter().enumerate() {
        let outcome = open(&mut b, message);
        assert_eq!(outcome.is_ok(), position >= dropped, "late message {position}: {outcome:?}");
    }
    assert_eq!(b.skipped_count(), 0);
}

#[test]
fn saving_keeps_the_order_of_skipped_keys() {
    let (mut a, mut b) = pair();
    for _ in 0..3 {
        let messages = seal(&mut a, 12);
        open(&mut b, &messages[11]).unwrap();
        open(&mut b, &messages[4]).unwrap();
        exchange(&mut b, &mut a);
    }
    let saved = b.serialize();
    let loaded = Session::deserialize(&saved).unwrap();
    assert_eq!(*loaded.serialize(), *saved);
    assert_eq!(loaded.skipped_count(), 3 * 10);
}

#[test]
fn read_messages_are_not_read_again() {
    let (mut a, mut b) = pair();
    let messages = seal(&mut a, 3);
    open(&mut b, &messages[0]).unwrap();
    open(&mut b, &messages[2]).unwrap();
    open(&mut b, &messages[1]).unwrap();
    exchange(&mut b, &mut a);
    exchange(&mut a, &mut b);
    for (number, message) in messages.iter().enumerate() {
        // Its chain has ended and left no key: nothing tells it from a forged ratchet key.
        assert_eq!(open(&mut b, message), Err(DecryptError::Authentication), "{number}");
    }
}

#[test]
fn a_pending_session_draws_no_nonce_before_it_has_begun() {
    let (a, _) = pair();
    let sealed = a.encrypt(b"text", &mut Recorded::new(&[9; 12])).unwrap();
    assert_eq!(sealed.header[73..], [9; 12]);
    assert_eq!(a.state(), SessionState::Pending);
    assert_eq!(sealed.session.state(), SessionState::Initiated);
}

#[test]
fn a_ratchet_forced_before_the_first_message_takes_effect_at_once() {
    let (mut a, mut b) = pair();
    let before = *a.our_ratchet_key().as_bytes();
    a = a.force_ratchet(&mut rng());
    assert_ne!(*a.our_ratchet_key().as_bytes(), before);
    assert!(!a.is_ratchet_forced());
    exchange(&mut a, &mut b);
    exchange(&mut b, &mut a);
}

#[test]
fn a_ratchet_forced_right_after_a_receipt_takes_effect_at_once_and_again() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    for _ in 0..3 {
        let before = *b.our_ratchet_key().as_bytes();
        b = b.force_ratchet(&mut rng()).force_ratchet(&mut rng());
        assert_ne!(*b.our_ratchet_key().as_bytes(), before);
        assert!(!b.is_ratchet_forced());
        exchange(&mut b, &mut a);
        exchange(&mut a, &mut b);
    }
}

/// The peer needs the ratchet key that stands in messages already sent: it is only marked.
#[test]
fn a_ratchet_forced_after_sending_waits_for_the_peer() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    let before = *a.our_ratchet_key().as_bytes();
    a = a.force_ratchet(&mut Recorded::nothing());
    assert_eq!(*a.our_ratchet_key().as_bytes(), before);
    assert!(a.is_ratchet_forced());
    exchange(&mut a, &mut b);

    let loaded = Session::deserialize(&a.serialize()).unwrap();
    assert!(loaded.is_ratchet_forced(), "the mark is saved");
    exchange(&mut b, &mut a);
    assert!(!a.is_ratchet_forced());
    assert_ne!(*a.our_ratchet_key().as_bytes(), before);

    // In a session that is read back, too.
    exchange(&mut a, &mut b);
    let mut loaded = Session::deserialize(&b.serialize()).unwrap().force_ratchet(&mut rng());
    assert!(loaded.is_ratchet_forced());
    exchange(&mut loaded, &mut a);
    exchange(&mut a, &mut loaded);
    assert!(!loaded.is_ratchet_forced());
}
