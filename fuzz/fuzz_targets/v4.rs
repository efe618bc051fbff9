//! Any bytes as the `v4` field of a bundle: no other verify than those that were signed.
//!
//! And as what Bob has signed, so that what lies behind the signature is reached: what is read
//! then is what stands there, and a session can begin with it.
//! The users are those of the first case in `crates/protocol/tests/vectors/wire4`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    IdentityKeyPair, LocalKeys, Parties, PrekeyBundle, Prekeys, Sessions, VerifiedBundle,
    VerifiedV4,
};

const SEEDS: [&[u8]; 2] = [include_bytes!("../seeds/v4/alice"), include_bytes!("../seeds/v4/bob")];

const NOW: u64 = 1800000000100;

struct State {
    /// IK, SPK and signature of Alice and Bob.
    bundles: [(&'static str, VerifiedBundle); 2],
    bob: IdentityKeyPair,
    /// Somebody who writes to Bob.
    carol: Prekeys,
}

static STATE: LazyLock<State> = LazyLock::new(|| {
    let bob = IdentityKeyPair::from_bytes(include_bytes!("../keys/bob-identity"));
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    State {
        bundles: [
            ("alice", bundle(include_bytes!("../keys/alice-bundle"))),
            ("bob", bundle(include_bytes!("../keys/bob-bundle"))),
        ],
        bob: bob.expect("a recorded key"),
        carol: Prekeys::new(&LocalKeys::generate(rng), NOW, rng),
    }
});

fn bundle(bytes: &[u8]) -> VerifiedBundle {
    PrekeyBundle::parse(&bytes[..65], &bytes[65..130], &bytes[130..])
        .and_then(PrekeyBundle::verify)
        .expect("a recorded bundle")
}

fuzz_target!(|blob: &[u8]| {
    for ((user, bundle), genuine) in STATE.bundles.iter().zip(SEEDS) {
        let verified = VerifiedV4::verify(blob, bundle, user, NOW);
        assert_eq!(verified.is_ok(), blob == genuine);
    }
    signed_by_bob(blob);
});

fn signed_by_bob(body: &[u8]) {
    let State { bundles: [_, (user, bundle)], bob, carol } = &*STATE;
    let signature = bob.sign(&[b"stvor-v4-bundle", &bob.public().as_bytes()[..], body].concat());
    let blob = [body, &signature].concat();
    let Ok(v4) = VerifiedV4::verify(&blob, bundle, user, NOW) else { return };

    assert!(body.starts_with(b"\x04\x03bob"));
    assert_eq!(body.len(), 1 + 4 + 4 + 4 + 65 + 4 + 1184 + 8 + 8);
    assert_eq!(v4.capabilities().to_be_bytes(), body[5..9]);
    assert_eq!(v4.valid_until_ms().to_be_bytes(), body[body.len() - 8..]);

    let rng = &mut ChaCha20Rng::seed_from_u64(2);
    let parties = Parties { sender: "carol", recipient: "bob" };
    let sessions = Sessions::new(bundle.identity_key().clone());
    let sessions = sessions.begin(carol, parties, &v4, None, NOW, None, rng);
    let sessions = sessions.expect("a bundle that was verified just now");
    assert!(sessions.encrypt(parties, NOW, b"text", rng).is_ok());
}
