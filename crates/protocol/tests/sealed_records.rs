//! Sealed records: they open where they belong and as they were written, nowhere else and no
//! other way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use hkdf::Hkdf;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::Sha256;
use stvor_protocol::{
    IdentityKeyPair, LocalKeys, Record, SEALED_OVERHEAD, SealedError, StorageKey,
};
use support::Recorded;

const CONTEXT: [&[u8]; 3] = [b"alice", b"bob", b"record"];

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn storage_key() -> StorageKey {
    StorageKey::derive(&IdentityKeyPair::from_bytes(&[7; 32]).unwrap())
}

#[test]
fn a_record_leaves_sealed_and_comes_back() {
    let rng = &mut rng();
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let record = Record::new(&a, b.bundle().verify().unwrap(), rng).unwrap();
    let record = record.encrypt(b"text", rng).unwrap().record;
    let plain = record.to_bytes();

    let sealed = StorageKey::derive(a.identity()).seal(&CONTEXT, &plain, rng);
    let opened = StorageKey::derive(a.identity()).open(&CONTEXT, &sealed).unwrap();
    let again = Record::from_bytes(a.identity_key(), &opened).unwrap();
    assert_eq!(*again.to_bytes(), *plain);
    let theirs = StorageKey::derive(b.identity());
    assert_eq!(theirs.open(&CONTEXT, &sealed), Err(SealedError::OtherIdentity));
}

/// Every bit, and every length.
#[test]
fn a_flipped_bit_or_a_cut_is_refused() {
    let key = storage_key();
    let sealed = key.seal(&CONTEXT, b"what is in a record", &mut rng());
    for bit in 0..8 * sealed.len() {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 if altered[0] == 0 => SealedError::Damaged,
            0 => SealedError::Version { version: altered[0] },
            1..5 => SealedError::OtherIdentity,
            _ => SealedError::Damaged,
        };
        assert_eq!(key.open(&CONTEXT, &altered), Err(expected), "bit {bit}");
    }
    for length in 0..sealed.len() {
        let outcome = key.open(&CONTEXT, &sealed[..length]);
        assert_eq!(outcome, Err(SealedError::Damaged), "{length} bytes");
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(key.open(&CONTEXT, &longer), Err(SealedError::Damaged));
}

#[test]
fn a_record_opens_in_its_own_place_only() {
    let key = storage_key();
    let sealed = key.seal(&CONTEXT, b"text", &mut rng());
    let elsewhere: [&[&[u8]]; 8] = [
        &[b"carol", b"bob", b"record"],
        &[b"alice", b"carol", b"record"],
        &[b"alice", b"bob", b"prekeys"],
        &[b"bob", b"alice", b"record"],
        &[b"alic", b"ebob", b"record"], // the same bytes, parted otherwise
        &[b"alice", b"bob"],
        &[b"alice", b"bob", b"record", b""],
        &[],
    ];
    for context in elsewhere {
        assert_eq!(key.open(context, &sealed), Err(SealedError::Damaged), "{context:?}");
    }
    assert_eq!(**key.open(&CONTEXT, &sealed).unwrap(), *b"text");
}

/// The bytes as docs/PROTOCOL.md has them, put together here from the primitives.
#[test]
fn the_bytes_are_as_specified() {
    let salt: [u8; 16] = std::array::from_fn(|at| at as u8);
    let mut recorded = Recorded::new(&salt);
    let sealed = storage_key().seal(&CONTEXT, b"text", &mut recorded);
    recorded.assert_used_up();

    let mut storage = [0; 36];
    Hkdf::<Sha256>::new(None, &[7; 32]).expand(b"stvor-v4-storage-key", &mut storage).unwrap();
    let mut of_one_write = [0; 44];
    let info = b"stvor-v4-sealed-record\x05alice\x03bob\x06record";
    Hkdf::<Sha256>::new(Some(&salt), &storage[..32]).expand(info, &mut of_one_write).unwrap();
    let (key, nonce) = of_one_write.split_at(32);
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let mut ciphertext = b"text".to_vec();
    cipher.seal_in_place_append_tag(nonce, Aad::from([1]), &mut ciphertext).unwrap();

    assert_eq!(sealed, [&[1], &storage[32..], &salt, &ciphertext].concat());
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        seed: u64,
        context: Vec<Vec<u8>>,
        plaintext in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let context: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
        let key = storage_key();
        let sealed = key.seal(&context, &plaintext, &mut rng);
        prop_assert_eq!(sealed.len(), plaintext.len() + SEALED_OVERHEAD);
        prop_assert_eq!(&**key.open(&context, &sealed).unwrap(), &plaintext);
        let again = key.seal(&context, &plaintext, &mut rng);
        prop_assert_ne!(&again[5..], &sealed[5..]);
    }

    #[test]
    fn noise_is_not_opened(noise: Vec<u8>, ours: bool) {
        let key = storage_key();
        let mut sealed = noise;
        if ours {
            sealed.splice(0..0, key.seal(&CONTEXT, b"", &mut rng())[..5].iter().copied());
        }
        prop_assert!(key.open(&CONTEXT, &sealed).is_err());
    }
}
