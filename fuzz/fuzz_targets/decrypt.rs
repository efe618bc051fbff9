//! Any bytes as a message, 85 of header and then ciphertext.
//!
//! The recorded sessions open their genuine message and nothing else; it still opens after
//! whatever was refused. Records of other keys open none of it, whatever session they try it on.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{LocalKeys, Record, Session};

struct State {
    session: Session,
    genuine: &'static [u8],
}

macro_rules! states {
    ($($name:literal),*) => {
        vec![$(State {
            session: Session::deserialize(include_bytes!(concat!("../seeds/saved_session/", $name)))
                .expect("a recorded session loads"),
            genuine: include_bytes!(concat!("../seeds/decrypt/", $name)),
        }),*]
    };
}

static STATES: LazyLock<Vec<State>> = LazyLock::new(|| {
    states![
        "pending",
        "pending-empty",
        "initiator-awaiting-reply",
        "responder-mid-chain",
        "established-new-key",
        "with-skipped-keys",
        "before-gap"
    ]
});

/// One that is pending, and one after both sides have begun at once.
static RECORDS: LazyLock<(LocalKeys, [Record; 2])> = LazyLock::new(|| {
    let rng = &mut ChaCha20Rng::seed_from_u64(2);
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let begin = |ours: &LocalKeys, theirs: &LocalKeys, rng: &mut ChaCha20Rng| {
        let theirs = theirs.bundle().verify().expect("genuine");
        Record::new(ours, theirs, rng).expect("other keys")
    };
    let pending = begin(&a, &b, rng);
    let begun = pending.encrypt(b"ours", rng).expect("sealed").record;
    let theirs = begin(&b, &a, rng).encrypt(b"theirs", rng).expect("sealed");
    let collided = begun.decrypt(&a, &theirs.header, &theirs.ciphertext, rng).expect("genuine");
    (a, [pending, collided.record])
});

fn split(message: &[u8]) -> (&[u8], &[u8]) {
    message.split_at(message.len().min(85))
}

fn opens(session: &Session, message: &[u8]) -> bool {
    let (header, ciphertext) = split(message);
    session.decrypt(header, ciphertext, &mut ChaCha20Rng::seed_from_u64(3)).is_ok()
}

fuzz_target!(|message: &[u8]| {
    for State { session, genuine } in STATES.iter() {
        assert_eq!(opens(session, message), message == *genuine);
        assert!(opens(session, genuine));
    }
    let (ours, records) = &*RECORDS;
    for record in records {
        let (header, ciphertext) = split(message);
        let rng = &mut ChaCha20Rng::seed_from_u64(3);
        assert!(record.decrypt(ours, header, ciphertext, rng).is_err());
    }
});
