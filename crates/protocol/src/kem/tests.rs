//! Each backend against the other, on random input.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::{CIPHERTEXT_LENGTH, KeyPair, PublicKey, aws_lc, portable};
use crate::secret::Secret;

fn seed() -> impl Strategy<Value = [u8; 64]> {
    any::<([u8; 32], [u8; 32])>().prop_map(|(d, z)| [d, z].concat().try_into().unwrap())
}

proptest! {
    /// Whichever backend encapsulates, both find the same secret; and what both make of an altered
    /// ciphertext is the same, and another one.
    #[test]
    fn backends_agree(seed in seed(), random: u64, flip in 0..CIPHERTEXT_LENGTH * 8) {
        let rng = &mut ChaCha20Rng::seed_from_u64(random);
        let (ours, public) = aws_lc::PrivateKey::from_seed(&seed);
        let (theirs, same) = portable::PrivateKey::from_seed(&seed);
        prop_assert_eq!(public, same);
        for (mut ciphertext, secret) in [
            aws_lc::PublicKey::new(&public).unwrap().encapsulate(rng),
            portable::PublicKey::new(&public).unwrap().encapsulate(rng),
        ] {
            prop_assert_eq!(*ours.decapsulate(&ciphertext).as_bytes(), *secret.as_bytes());
            prop_assert_eq!(*theirs.decapsulate(&ciphertext).as_bytes(), *secret.as_bytes());
            ciphertext[flip / 8] ^= 1 << (flip % 8);
            let rejected = ours.decapsulate(&ciphertext);
            prop_assert_eq!(*theirs.decapsulate(&ciphertext).as_bytes(), *rejected.as_bytes());
            prop_assert_ne!(rejected.as_bytes(), secret.as_bytes());
        }
    }

    /// A key pair is its seed; whatever is altered in its public half, the backends say the same.
    #[test]
    fn keys_are_read_and_refused_alike(seed in seed(), at in 0..1184usize, byte: u8) {
        let pair = KeyPair::from_seed(Secret::copied_from(&seed));
        prop_assert_eq!(pair.seed(), &seed);
        let mut public = *pair.public_bytes();
        prop_assert_eq!(*PublicKey::parse(&public).unwrap().as_bytes(), *pair.public_bytes());
        public[at] = byte;
        let portable = portable::PublicKey::new(&public).is_some();
        prop_assert_eq!(PublicKey::parse(&public).is_some(), portable);
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    let pair = KeyPair::generate(&mut ChaCha20Rng::seed_from_u64(1));
    let public = pair.public_bytes();
    assert!(PublicKey::parse(&public[1..]).is_none());
    assert!(PublicKey::parse(&[&public[..], &[0]].concat()).is_none());
}
