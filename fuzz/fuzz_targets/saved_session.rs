//! Any bytes as a saved session: what loads is saved in a form that loads to the same, and can be
//! used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::Session;

fuzz_target!(|json: &[u8]| {
    let Ok(session) = Session::deserialize(json) else {
        return;
    };
    let saved = session.serialize();
    let again = Session::deserialize(&saved).expect("what we save loads");
    assert_eq!(*again.serialize(), *saved);

    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let sealed = session.force_ratchet(&mut rng).encrypt(b"text", &mut rng);
    if let Ok(sealed) = sealed {
        // Our own message is not the peer's.
        assert!(session.decrypt(&sealed.header, &sealed.ciphertext, &mut rng).is_err());
    }
});
