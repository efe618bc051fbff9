//! Both implementations against each other, and the lengths that are refused.

use proptest::prelude::*;

use super::{TAG_LENGTH, aws_lc, open, portable, seal};

proptest! {
    /// Whichever seals, the bytes are the same and each opens them, on both sides of the switch.
    #[test]
    fn implementations_agree(
        key: [u8; 32],
        nonce: [u8; 12],
        ad in prop::collection::vec(any::<u8>(), 0..100),
        plaintext in prop::collection::vec(any::<u8>(), 0..2100),
        flip in any::<prop::sample::Index>(),
    ) {
        let mut sealed = seal(&key, &nonce, &ad, &plaintext).unwrap();
        prop_assert_eq!(&sealed, &aws_lc::seal(&key, &nonce, &ad, &plaintext).unwrap());
        prop_assert_eq!(&sealed, &portable::seal(&key, &nonce, &ad, &plaintext).unwrap());

        let open_all = |sealed: &[u8]| {
            let (ciphertext, tag) = sealed.split_last_chunk().unwrap();
            [
                open(&key, &nonce, &ad, sealed),
                aws_lc::open(&key, &nonce, &ad, ciphertext, tag),
                portable::open(&key, &nonce, &ad, ciphertext, tag),
            ]
        };
        for opened in open_all(&sealed) {
            prop_assert_eq!(&*opened.unwrap(), &plaintext);
        }
        let flip = flip.index(sealed.len() * 8);
        sealed[flip / 8] ^= 1 << (flip % 8);
        for opened in open_all(&sealed) {
            prop_assert!(opened.is_none());
        }
    }
}

/// A tag cut short, with or without a ciphertext before it, is not a shorter tag.
#[test]
fn only_whole_tags_are_accepted() {
    let (key, nonce) = ([1; 32], [2; 12]);
    for plaintext in [&b""[..], b"text"] {
        let sealed = seal(&key, &nonce, b"ad", plaintext).unwrap();
        assert_eq!(sealed.len(), plaintext.len() + TAG_LENGTH);
        assert_eq!(*open(&key, &nonce, b"ad", &sealed).unwrap(), plaintext);
        for length in 0..sealed.len() {
            assert!(open(&key, &nonce, b"ad", &sealed[..length]).is_none(), "{length} bytes");
        }
    }
}
