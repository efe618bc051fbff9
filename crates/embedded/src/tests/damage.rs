//! A file that is not what was written is never taken for another: right data, or an error.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::sim::SimDisk;
use super::{made, nonce, open, record, version_of};
use crate::error::Error;

const PEERS: usize = 200;

/// A file with records, an identity, a fingerprint and nonces, closed or as a kill leaves it.
async fn filled(closed: bool) -> Vec<u8> {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.identity("alice", b"identity").await.unwrap();
    store.store_fingerprint("alice", "bob", b"fingerprint").await.unwrap();
    for version in 1..=2 {
        let records = (0..PEERS).map(|peer| (peer.to_string(), record(peer, version, 700)));
        store.mark_later("alice", "bob", &nonce(version));
        store.save("alice", records).await.unwrap();
    }
    if closed {
        store.close().await;
    }
    disk.bytes()
}

/// Opens `bytes` and reads everything. `Ok` with the oldest version found if all is there.
async fn read_all(bytes: Vec<u8>) -> Result<u64, Error> {
    let store = open(&Arc::new(SimDisk::from_bytes(bytes))).await?;
    let mut oldest = u64::MAX;
    for peer in 0..PEERS {
        let found = store.load("alice", &peer.to_string()).await?;
        oldest = oldest.min(version_of(peer, &found.expect("never silently empty")));
    }
    assert_eq!(store.identity("alice", b"another").await?.as_slice(), b"identity");
    assert_eq!(store.verify_fingerprint("alice", "bob", b"fingerprint").await?, Some(true));
    for version in 1..=oldest {
        assert!(store.mark_later("alice", "bob", &nonce(version)));
    }
    Ok(oldest)
}

#[tokio::test]
async fn a_flipped_bit_of_a_closed_file_is_damage_or_does_not_matter() {
    let bytes = filled(true).await;
    assert_eq!(read_all(bytes.clone()).await, Ok(2));
    let mut random = ChaCha20Rng::seed_from_u64(5);
    let mut damaged = 0;
    let headers = (0..200).chain(4096..4500).chain(8192..8600).chain(16384..16384 + 330).step_by(3);
    let pages = (0..700).map(|_| random.next_u32() as usize % bytes.len());
    for at in headers.chain(pages.collect::<Vec<_>>()) {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let result = read_all(altered).await;
        assert!(matches!(result, Ok(2) | Err(Error::Damaged)), "byte {at}: {result:?}");
        damaged += usize::from(result.is_err());
    }
    assert!(damaged > 150, "{damaged} damaged files are no test");
}

/// Damage to the last commit alone looks like a commit that the power cut tore, and gives the one
/// before; nothing else does.
#[tokio::test]
async fn a_flipped_bit_of_a_file_left_open_is_damage_or_at_most_takes_back_the_last_commit() {
    let bytes = filled(false).await;
    assert_eq!(read_all(bytes.clone()).await, Ok(2));
    let mut random = ChaCha20Rng::seed_from_u64(6);
    let mut damaged = 0;
    let headers = (0..200).chain(4096..4500).chain(8192..8600).chain(16384..16384 + 330).step_by(3);
    let pages = (0..500).map(|_| random.next_u32() as usize % bytes.len());
    for at in headers.chain(pages.collect::<Vec<_>>()) {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let result = read_all(altered).await;
        assert!(matches!(result, Ok(1 | 2) | Err(Error::Damaged)), "byte {at}: {result:?}");
        damaged += usize::from(result != Ok(2));
    }
    assert!(damaged > 100, "{damaged} damaged files are no test");
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_damaged_whatever_the_length() {
    for closed in [true, false] {
        let bytes = filled(closed).await;
        let lengths = (0..20_000).step_by(617).chain((20_000..bytes.len()).step_by(33_333));
        for length in lengths.chain([bytes.len() - 1, bytes.len() - 4096]) {
            let result = read_all(bytes[..length].to_vec()).await;
            assert_eq!(result, Err(Error::Damaged), "{length} of {}", bytes.len());
        }
    }
}

#[tokio::test]
async fn zeroed_and_exchanged_pages_are_damage_or_do_not_matter() {
    let bytes = filled(true).await;
    let pages = bytes.len() / 4096;
    let mut damaged = 0;
    for page in 0..pages.min(200) {
        let mut zeroed = bytes.clone();
        zeroed[page * 4096..(page + 1) * 4096].fill(0);
        let mut exchanged = bytes.clone();
        exchanged.copy_within(page * 4096..(page + 1) * 4096, (page + 7) % pages * 4096);
        for altered in [zeroed, exchanged] {
            let result = read_all(altered).await;
            assert!(matches!(result, Ok(2) | Err(Error::Damaged)), "page {page}: {result:?}");
            damaged += usize::from(result.is_err());
        }
    }
    assert!(damaged > 50, "{damaged} damaged files are no test");
}

#[tokio::test]
async fn a_damaged_file_is_left_as_it_was_found() {
    let mut bytes = filled(true).await;
    let middle = bytes.len() / 6;
    for at in (middle..middle + 40 * 4096).step_by(4096) {
        bytes[at] ^= 1;
    }
    let disk = Arc::new(SimDisk::from_bytes(bytes.clone()));
    assert_eq!(open(&disk).await.err(), Some(Error::Damaged));
    assert!(disk.bytes() == bytes);
    assert_eq!(open(&disk).await.err(), Some(Error::Damaged), "and is still damaged");
}

#[tokio::test]
async fn a_file_that_is_only_read_is_not_changed() {
    for closed in [true, false] {
        let bytes = filled(closed).await;
        let disk = Arc::new(SimDisk::from_bytes(bytes.clone()));
        let store = open(&disk).await.unwrap();
        assert!(store.load("alice", "3").await.unwrap().is_some());
        store.close().await;
        assert!(disk.bytes() == bytes);
    }
}
