//! Safety numbers: the same on both sides, of the accepted identity, and given only once it is
//! pinned.

use stvor_client::{Code, Stores};

use crate::adapters::{Call, failing_at};
use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};

#[tokio::test]
async fn a_number_is_not_given_before_the_identity_that_it_is_of_is_pinned() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let inner = Stores::memory();
    let (failures, stores) = failing_at(&inner, |call| *call == Call::Pin);
    failures.set(1);
    let alice = Person::join_with(&open(&relay.url).await, "alice", stores).await;
    let bob = Person::join(&open(&relay.url).await, "bob").await;
    let error = alice.client.safety_number("bob").await.unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
    let pinned = inner.tofu.verify_fingerprint("alice", "bob", bob.client.fingerprint()).await;
    assert_eq!(pinned, Ok(None));

    let (here, theirs) = alice.client.safety_number("bob").await.unwrap();
    assert_eq!(theirs.fingerprint(), bob.client.fingerprint());
    let pinned = inner.tofu.verify_fingerprint("alice", "bob", bob.client.fingerprint()).await;
    assert_eq!(pinned, Ok(Some(true)));
    let (there, _) = bob.client.safety_number("alice").await.unwrap();
    assert_eq!(here.to_bytes(), there.to_bytes());
}

#[tokio::test]
async fn a_peer_who_is_away_and_known_by_a_record_alone_has_a_number() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let stores = Stores::memory();
    let alice = Person::join_with(&app, "alice", stores.clone()).await;
    let bobs = open(&relay.url).await;
    let bob = Person::join(&bobs, "bob").await;
    alice.send("bob", "hello").await.unwrap();
    bobs.close().await;
    app.close().await;

    // Alice connects anew, and knows nothing of bob but her record and her pin.
    let app = open(&relay.url).await;
    let alice = Person::join_with(&app, "alice", stores).await;
    let (_, theirs) = alice.client.safety_number("bob").await.unwrap();
    assert_eq!(theirs.fingerprint(), bob.client.fingerprint());
}
