//! What a relay or a stranger can make us keep or do is bounded.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_client::{Changes, Code, Stores};
use stvor_protocol::delivery::MAX_PENDING_MESSAGES;
use stvor_protocol::{Content, LocalKeys, Prekeys, UserRecord};
use tokio::sync::watch;

use crate::adapters::{Call, watched};
use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};
use crate::strangers::{Stranger, now_ms};

/// Four may have as much as one may have by itself; the fifth gets what is in order through.
#[tokio::test]
async fn what_waits_for_earlier_messages_is_bounded_over_all_peers() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    let shown = relay.keys_of("bob");
    let text = |text: &str| Content::text(text.to_owned());
    let mut withheld = Vec::new();
    for n in 0..4 {
        let mut stranger = Stranger::new(&format!("stranger {n}"), "bob", &shown);
        withheld.push(stranger.write(text("withheld")));
        for _ in 0..MAX_PENDING_MESSAGES {
            relay.inject("bob", &stranger.write(text("early")));
        }
    }
    let mut carol = Stranger::new("carol", "bob", &shown);
    let (first, second) = (carol.write(text("first")), carol.write(text("second")));
    relay.inject("bob", &second);
    let error = bob.error().await;
    assert_eq!((error.code, error.retryable), (Code::OutboxFull, true));
    relay.inject("bob", &first);
    assert_eq!(bob.next().await, ("carol".into(), "first".into()));
    relay.inject("bob", &second); // as her client would
    assert_eq!(bob.next().await, ("carol".into(), "second".into()));

    // What is released makes room.
    relay.inject("bob", &withheld[0]);
    for _ in 0..=MAX_PENDING_MESSAGES {
        assert_eq!(bob.next().await.0, "stranger 0");
    }
    let (third, fourth) = (carol.write(text("third")), carol.write(text("fourth")));
    relay.inject("bob", &fourth);
    relay.inject("bob", &third);
    assert_eq!(bob.next().await.1, "third");
    assert_eq!(bob.next().await.1, "fourth");
    assert!(bob.errors.try_recv().is_err());
}

#[tokio::test]
async fn prekeys_that_expire_are_no_reason_to_announce_those_that_do_not() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let relay = FakeRelay::start(Kind::Mock).await;
    let (inner, (replaced, mut saved)) = (Stores::memory(), watch::channel(0));
    let identity = inner.identity.identity_key_pair("alice").await.unwrap();
    let (now, mut random) = (now_ms(), ChaCha20Rng::seed_from_u64(1));
    let keys = LocalKeys::with_new_prekey(identity, &mut random);
    // The first are replaced thirty days before a second from now, and the next a day ago.
    let prekeys = Prekeys::new(&keys, now - 40 * DAY, &mut random);
    let prekeys = prekeys.rotated(now - 30 * DAY + 1_000, &mut random).unwrap();
    let prekeys = prekeys.rotated(now - DAY, &mut random).unwrap();
    let own = Changes { user: Some(UserRecord::new(prekeys)), ..Changes::default() };
    let stores = watched(&inner, move |call| {
        if let Call::Saved { replaced: Some(count) } = call {
            replaced.send_replace(count);
        }
        std::future::ready(Ok(()))
    });
    stores.sessions.save("alice", &own).await.unwrap();
    assert_eq!(*saved.borrow_and_update(), 2);

    let alice = Person::join_with(&open(&relay.url).await, "alice", stores).await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    saved.wait_for(|replaced| *replaced == 1).await.unwrap();
    alice.send("bob", "whatever is sent, is sent after it").await.unwrap();
    bob.next().await;
    assert_eq!(relay.announcements_of("alice"), 1);
}
