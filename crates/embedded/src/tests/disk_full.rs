//! The disk is full, or fails once: nothing is half written, and the same store works again.

use std::io;

use super::{made, nonce, open, open_with, record, version_of};
use crate::error::Error;
use crate::store::Options;

#[tokio::test]
async fn a_full_disk_is_told_and_the_same_store_works_again_when_there_is_room() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    disk.set_capacity(Some(disk.bytes().len() + (2 << 20)));
    let mut saved = 0;
    let error = loop {
        let peer = saved.to_string();
        match store.save("alice", [(&peer, record(saved, 1, 100_000))]).await {
            Ok(()) => saved += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full(), "{error:?}");
    assert!(saved > 5);
    for _ in 0..3 {
        let again = store.save("alice", [("0", record(0, 2, 100_000))]).await;
        assert!(again.is_err_and(|error| error.is_disk_full()));
        for peer in 0..saved {
            let found = store.load("alice", &peer.to_string()).await.unwrap().unwrap();
            assert_eq!(version_of(peer, &found), 1);
        }
        assert_eq!(store.load("alice", &saved.to_string()).await.unwrap(), None);
    }
    disk.set_capacity(None);
    for peer in 0..=saved {
        store.save("alice", [(peer.to_string(), record(peer, 3, 100_000))]).await.unwrap();
    }
    store.close().await;
    let store = open(&disk).await.unwrap();
    for peer in 0..=saved {
        let found = store.load("alice", &peer.to_string()).await.unwrap().unwrap();
        assert_eq!(version_of(peer, &found), 3);
    }
}

/// One write or sync fails, whichever; what was acknowledged is there, what failed is not.
async fn fail_each_operation(kind: io::ErrorKind) {
    let (mut position, mut failures) = (0, 0);
    loop {
        let disk = made();
        let store = open(&disk).await.unwrap();
        let version = async || {
            let found = store.load("alice", "bob").await.unwrap();
            found.map_or(0, |found| version_of(0, &found))
        };
        disk.fail_after(position, kind);
        for attempt in 1..=8 {
            assert!(!store.mark_later("alice", "bob", &nonce(attempt)));
            let records = [("bob", record(0, attempt, 30_000 * attempt as usize))];
            if let Err(error) = store.save("alice", records.clone()).await {
                assert_eq!(error, Error::Io { kind });
                assert_eq!(version().await, attempt - 1, "what failed is not there");
                failures += 1;
                // The mark still waits, and goes with this one.
                store.save("alice", records).await.unwrap();
            }
            assert_eq!(version().await, attempt, "failure at operation {position}");
        }
        let finished = disk.will_fail();
        store.close().await;
        let store = open(&disk).await.unwrap();
        assert_eq!(version_of(0, &store.load("alice", "bob").await.unwrap().unwrap()), 8);
        for attempt in 1..=8 {
            assert!(store.mark_later("alice", "bob", &nonce(attempt)));
        }
        if finished {
            break;
        }
        position += 1;
    }
    assert!(failures > 40, "{failures} failures are no test");
}

#[tokio::test]
async fn after_any_write_or_sync_that_failed_for_lack_of_room_the_store_goes_on() {
    fail_each_operation(io::ErrorKind::StorageFull).await;
}

#[tokio::test]
async fn after_any_write_or_sync_that_failed_the_store_goes_on_without_what_failed() {
    fail_each_operation(io::ErrorKind::Other).await;
}

#[tokio::test]
async fn a_nonce_whose_marking_failed_is_new_again() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.save("alice", [("bob", b"value")]).await.unwrap();
    disk.fail_after(0, io::ErrorKind::StorageFull);
    assert!(store.check_and_mark("alice", "bob", &nonce(1)).await.is_err());
    assert!(!store.check_and_mark("alice", "bob", &nonce(1)).await.unwrap());
    assert!(store.check_and_mark("alice", "bob", &nonce(1)).await.unwrap());
}

#[tokio::test]
async fn a_read_that_failed_is_told_and_the_next_one_works() {
    let disk = made();
    let store = open_with(&disk, Options { cache: 0, ..Options::default() }).await.unwrap();
    store.save("alice", [("bob", record(0, 1, 500))]).await.unwrap();
    disk.fail_read(io::ErrorKind::Other);
    let result = store.load("alice", "bob").await;
    assert_eq!(result, Err(Error::Io { kind: io::ErrorKind::Other }));
    let found = store.load("alice", "bob").await.unwrap().unwrap();
    assert_eq!(version_of(0, &found), 1);
    store.save("alice", [("bob", record(0, 2, 500))]).await.unwrap();
    assert_eq!(version_of(0, &store.load("alice", "bob").await.unwrap().unwrap()), 2);
}
