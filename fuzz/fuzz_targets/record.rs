//! Any bytes as a saved record: what is read is written as the same bytes, and can be used.
//!
//! The seeds are records of the keys that the generator below makes first.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{LocalKeys, Record};

macro_rules! seeds {
    ($($name:literal),*) => {
        [$(include_bytes!(concat!("../seeds/record/", $name)).as_slice()),*]
    };
}

const SEEDS: [&[u8]; 6] = seeds![
    "pending",
    "initiated",
    "collided",
    "skipped-keys",
    "settled",
    "after-a-new-signed-prekey"
];

static OURS: LazyLock<LocalKeys> = LazyLock::new(|| {
    let ours = LocalKeys::generate(&mut ChaCha20Rng::seed_from_u64(5));
    for seed in SEEDS {
        Record::from_bytes(ours.identity_key(), seed).expect("a seed is a record");
    }
    ours
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::from_bytes(OURS.identity_key(), bytes) else {
        return;
    };
    assert_eq!(*record.to_bytes(), *bytes);

    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for record in [record.force_ratchet(&mut rng), record.begin_anew(&mut rng)] {
        if let Ok(sealed) = record.encrypt(b"text", &mut rng) {
            let again = Record::from_bytes(OURS.identity_key(), &sealed.record.to_bytes());
            let again = again.expect("what a step leads to is a record");
            // Our own message is not the peer's.
            assert!(again.decrypt(&OURS, &sealed.header, &sealed.ciphertext, &mut rng).is_err());
        }
    }
});
