//! Any bytes as the `v4` field of a bundle: no other verify than those that were signed.
//!
//! The users are those of the first case in `crates/protocol/tests/vectors/wire4`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stvor_protocol::{PrekeyBundle, VerifiedBundle, VerifiedV4};

const SEEDS: [&[u8]; 2] = [include_bytes!("../seeds/v4/alice"), include_bytes!("../seeds/v4/bob")];

const NOW: u64 = 1800000000100;

/// IK, SPK and signature of Alice and Bob.
static BUNDLES: LazyLock<[(&str, VerifiedBundle); 2]> = LazyLock::new(|| {
    [
        ("alice", bundle(include_bytes!("../keys/alice-bundle"))),
        ("bob", bundle(include_bytes!("../keys/bob-bundle"))),
    ]
});

fn bundle(bytes: &[u8]) -> VerifiedBundle {
    PrekeyBundle::parse(&bytes[..65], &bytes[65..130], &bytes[130..])
        .and_then(PrekeyBundle::verify)
        .expect("a recorded bundle")
}

fuzz_target!(|blob: &[u8]| {
    for ((user, bundle), genuine) in BUNDLES.iter().zip(SEEDS) {
        let verified = VerifiedV4::verify(blob, bundle, user, NOW);
        assert_eq!(verified.is_ok(), blob == genuine);
    }
});
