//! What the store promises when nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{made, nonce, open, open_with};
use crate::error::Error;
use crate::store::{MAX_VALUE, Options};

#[tokio::test]
async fn a_record_comes_back_as_it_was_last_saved_also_after_closing() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    assert_eq!(store.load("alice", "bob").await.unwrap(), None);
    store.save("alice", [("bob", b"one".as_slice()), ("carol", b"")]).await.unwrap();
    store.save("alice", [("bob", b"two")]).await.unwrap();
    assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().as_slice(), b"two");
    store.close().await;
    let store = open(&disk).await.unwrap();
    assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().as_slice(), b"two");
    assert_eq!(store.load("alice", "carol").await.unwrap().unwrap().as_slice(), b"");
}

#[tokio::test]
async fn two_users_do_not_mix() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.save("alice", [("bob", b"alice's")]).await.unwrap();
    store.save("ali", [("cebob", b"ali's")]).await.unwrap();
    assert_eq!(store.load("ali", "bob").await.unwrap(), None);
    assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().as_slice(), b"alice's");
    assert_eq!(store.identity("alice", b"a").await.unwrap().as_slice(), b"a");
    assert_eq!(store.identity("ali", b"b").await.unwrap().as_slice(), b"b");
    assert!(!store.check_and_mark("alice", "bob", &nonce(1)).await.unwrap());
    assert!(!store.check_and_mark("ali", "bob", &nonce(1)).await.unwrap());
    assert!(store.store_fingerprint("alice", "bob", b"f").await.unwrap());
    assert_eq!(store.verify_fingerprint("ali", "bob", b"f").await.unwrap(), None);
}

#[tokio::test]
async fn everybody_who_asks_at_once_gets_one_identity() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    let asked = (0..50u8).map(|i| {
        let store = store.clone();
        tokio::spawn(async move { store.identity("alice", &[i; 97]).await.unwrap().to_vec() })
    });
    let mut identities = Vec::new();
    for identity in asked.collect::<Vec<_>>() {
        identities.push(identity.await.unwrap());
    }
    identities.dedup();
    assert_eq!(identities.len(), 1);
    drop(store);
    let store = open(&disk).await.unwrap();
    assert_eq!(*store.identity("alice", b"another").await.unwrap(), identities[0]);
}

#[tokio::test]
async fn a_pinned_fingerprint_is_only_replaced_on_purpose() {
    let store = open(&made()).await.unwrap();
    assert_eq!(store.verify_fingerprint("alice", "bob", b"one").await.unwrap(), None);
    assert!(store.store_fingerprint("alice", "bob", b"one").await.unwrap());
    assert!(store.store_fingerprint("alice", "bob", b"one").await.unwrap());
    assert!(!store.store_fingerprint("alice", "bob", b"two").await.unwrap());
    assert_eq!(store.verify_fingerprint("alice", "bob", b"one").await.unwrap(), Some(true));
    assert_eq!(store.verify_fingerprint("alice", "bob", b"two").await.unwrap(), Some(false));
    store.replace_fingerprint("alice", "bob", b"two").await.unwrap();
    assert_eq!(store.verify_fingerprint("alice", "bob", b"two").await.unwrap(), Some(true));
    assert_eq!(store.verify_fingerprint("alice", "bob", b"one").await.unwrap(), Some(false));
}

#[tokio::test]
async fn a_nonce_is_new_once_also_among_those_that_are_asked_together() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    let (one, two) = (nonce(1), nonce(2));
    let many = [("bob", &one), ("bob", &two), ("bob", &one), ("carol", &one)];
    let seen = store.check_and_mark_many("alice", many).await.unwrap();
    assert_eq!(seen, [false, false, true, false]);
    let at_once = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.check_and_mark("alice", "bob", &nonce(3)).await.unwrap() })
    });
    let mut new = 0;
    for seen in at_once.collect::<Vec<_>>() {
        new += usize::from(!seen.await.unwrap());
    }
    assert_eq!(new, 1);
    drop(store);
    let store = open(&disk).await.unwrap();
    for number in 1..=3 {
        assert!(store.check_and_mark("alice", "bob", &nonce(number)).await.unwrap());
    }
}

#[tokio::test]
async fn a_mark_for_later_is_durable_with_the_record_and_gone_without_it() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    assert!(!store.mark_later("alice", "bob", &nonce(1)));
    assert!(store.mark_later("alice", "bob", &nonce(1)));
    assert!(store.check_and_mark("alice", "bob", &nonce(1)).await.unwrap());
    let before = disk.syncs();
    store.save("alice", [("bob", b"one")]).await.unwrap();
    let first = disk.syncs() - before; // opens the file for writing as well
    assert!(!store.mark_later("alice", "bob", &nonce(2)));
    let before = disk.syncs();
    store.save("alice", [("bob", b"two")]).await.unwrap();
    assert_eq!(disk.syncs() - before, 1, "the mark costs no sync of its own; at first {first}");
    assert!(!store.mark_later("alice", "bob", &nonce(3)));
    assert!(!store.mark_later("carol", "bob", &nonce(4)));
    store.save("carol", [("bob", b"one")]).await.unwrap();
    store.close().await;
    let store = open(&disk).await.unwrap();
    assert!(store.mark_later("alice", "bob", &nonce(1)));
    assert!(store.mark_later("alice", "bob", &nonce(2)));
    assert!(!store.mark_later("alice", "bob", &nonce(3)), "no step was saved with it");
    assert!(store.mark_later("carol", "bob", &nonce(4)));
}

#[tokio::test]
async fn a_mark_that_is_made_during_a_save_belongs_to_the_next_one() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    let save = store.save("alice", [("bob", b"one")]);
    let later = async { store.mark_later("alice", "bob", &nonce(1)) };
    let (saved, seen) = tokio::join!(biased; save, later);
    saved.unwrap();
    assert!(!seen);
    store.close().await;
    let store = open(&disk).await.unwrap();
    assert!(!store.mark_later("alice", "bob", &nonce(1)));
}

#[tokio::test]
async fn nonces_are_forgotten_after_the_window_and_their_rows_go() {
    let (disk, time) = (made(), Arc::new(AtomicU64::new(1000)));
    let clock = time.clone();
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let options = Options { clock, ..Options::default() };
    let store = open_with(&disk, options.clone()).await.unwrap();
    for number in 0..100 {
        assert!(!store.check_and_mark("alice", "bob", &nonce(number)).await.unwrap());
    }
    time.store(1300, Ordering::Relaxed);
    assert!(store.check_and_mark("alice", "bob", &nonce(0)).await.unwrap());
    drop(store);
    let store = open_with(&disk, options.clone()).await.unwrap();
    assert!(store.check_and_mark("alice", "bob", &nonce(99)).await.unwrap());
    assert_eq!(store.remembered_rows(), 100);
    time.store(1301, Ordering::Relaxed);
    for number in 0..20 {
        assert!(!store.check_and_mark("alice", "bob", &nonce(number)).await.unwrap());
    }
    assert_eq!(store.remembered_rows(), 20);
    drop(store);
    let store = open_with(&disk, options).await.unwrap();
    assert_eq!(store.remembered_rows(), 20);
    assert!(store.check_and_mark("alice", "bob", &nonce(19)).await.unwrap());
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_nothing_else_is() {
    let store = open(&made()).await.unwrap();
    let large = vec![7; MAX_VALUE + 1];
    let both = [("bob", large.as_slice()), ("carol", b"small")];
    assert_eq!(store.save("alice", both).await, Err(Error::TooLarge));
    assert_eq!(store.load("alice", "carol").await.unwrap(), None);
    store.save("alice", [("bob", &large[1..])]).await.unwrap();
    assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().len(), MAX_VALUE);
}

#[tokio::test]
async fn a_closed_store_says_so_and_closes_again_without_harm() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert_eq!(clone.save("alice", [("bob", b"one")]).await, Err(Error::Closed));
    assert_eq!(clone.load("alice", "bob").await, Err(Error::Closed));
    assert_eq!(clone.identity("alice", b"one").await, Err(Error::Closed));
    clone.close().await;
}

#[tokio::test]
async fn what_was_asked_before_closing_is_answered_and_durable() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    let saves = (0..100).map(|i: u32| {
        let store = store.clone();
        async move { store.save("alice", [(i.to_string(), b"value")]).await }
    });
    let all = futures_of(saves.collect());
    let (results, ()) = tokio::join!(all, store.close());
    assert!(results.iter().all(|result| result.is_ok()));
    let store = open(&disk).await.unwrap();
    for i in 0..100 {
        assert!(store.load("alice", &i.to_string()).await.unwrap().is_some());
    }
}

/// Polls all of them, in order, before any other future of the caller is polled.
async fn futures_of<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in pinned.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Nothing of what is kept can be found in the file.
#[tokio::test]
async fn no_name_and_no_value_is_in_the_file_in_the_clear() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.save("alice.of.examples", [("bob.of.examples", b"the.record")]).await.unwrap();
    store.identity("alice.of.examples", b"the.identity").await.unwrap();
    let fingerprint = b"the.fingerprint";
    store.store_fingerprint("alice.of.examples", "bob.of.examples", fingerprint).await.unwrap();
    store.check_and_mark("alice.of.examples", "bob.of.examples", b"the.nonce.12").await.unwrap();
    store.close().await;
    let bytes = disk.bytes();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"fingerprints"), "the names of tables would be found");
    for text in ["of.examples", "the.record", "the.identity", "the.fingerprint", "the.nonce"] {
        assert!(!holds(text.as_bytes()), "{text}");
    }
}
