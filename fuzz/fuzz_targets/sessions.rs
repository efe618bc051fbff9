//! Any bytes as saved sessions of wire 4, or as saved prekeys: what is read is written as the same
//! bytes, and can be used.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{IdentityKeyPair, Message4, Parties, Prekeys, Sessions};

macro_rules! seeds {
    ($($name:literal),*) => {
        [$(include_bytes!(concat!("../seeds/sessions/", $name)).as_slice()),*]
    };
}

const SEEDS: [&[u8]; 5] =
    seeds!["none", "initiated", "turned", "with-skipped-key", "five-and-retired"];

const NOW: u64 = 1_800_000_000_000;

static OURS: LazyLock<Prekeys> = LazyLock::new(|| {
    for seed in SEEDS {
        Sessions::from_bytes(seed).expect("a seed is saved sessions");
    }
    let identity = IdentityKeyPair::from_bytes(include_bytes!("../keys/bob-identity"));
    let identity = identity.expect("a recorded key");
    Prekeys::from_bytes(&identity, include_bytes!("../seeds/sessions/prekeys"))
        .expect("recorded prekeys")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(prekeys) = Prekeys::from_bytes(OURS.local_keys().identity(), bytes) {
        assert_eq!(*prekeys.to_bytes(), *bytes);
    }
    let Ok(sessions) = Sessions::from_bytes(bytes) else {
        return;
    };
    assert_eq!(*sessions.to_bytes(), *bytes);

    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let parties = Parties { sender: "alice", recipient: "bob" };
    for sessions in [sessions.force_ratchet(rng), sessions] {
        let Ok(sealed) = sessions.encrypt(parties, NOW, b"text", rng) else {
            continue;
        };
        let again = Sessions::from_bytes(&sealed.sessions.to_bytes());
        let again = again.expect("what a step leads to can be saved");
        // Our own message is not the peer's.
        let message = Message4::parse(&sealed.header, &sealed.trailer, &sealed.ciphertext);
        let message = message.expect("well-formed");
        assert!(again.decrypt(&OURS, parties, &message, NOW, rng).is_err());
    }
});
