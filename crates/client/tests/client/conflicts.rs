//! Two processes that serve one user from one store, and replays that only the cache knows.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stvor_client::{
    Code, Content, ReplayCache, SealedSessions, SealedStore, SendOptions, StoreError,
    StoreErrorKind, Stores,
};

use crate::adapters::{Call, watched};
use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};
use crate::strangers::Stranger;

type Rows = HashMap<String, (u64, Vec<u8>)>;

/// Rows with versions, which every process reads and writes.
#[derive(Default)]
struct Database(Mutex<Rows>);

/// One process's view: it writes only over what it has read.
struct Process {
    database: Arc<Database>,
    known: Mutex<HashMap<String, u64>>,
    conflicts: Mutex<usize>,
    /// Whether it saves record by record, as a store does that has no more than the documented
    /// methods, and not all or none.
    one_by_one: bool,
    /// Saves whose answers get lost: they are made, and seem to have failed.
    unanswered: AtomicUsize,
    /// Saves after those that fail, and are not made.
    refused: AtomicUsize,
}

impl Process {
    fn new(database: &Arc<Database>, one_by_one: bool) -> Arc<Self> {
        let (known, conflicts) = (Mutex::default(), Mutex::default());
        let (database, unanswered, refused) = (database.clone(), 0.into(), 0.into());
        Arc::new(Self { database, known, conflicts, one_by_one, unanswered, refused })
    }
}

#[async_trait]
impl SealedStore for Process {
    async fn load(&self, _: &str, peer_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.database.0.lock().unwrap();
        let (version, bytes) = match rows.get(peer_id) {
            Some((version, bytes)) => (*version, Some(bytes.clone())),
            None => (0, None),
        };
        self.known.lock().unwrap().insert(peer_id.to_owned(), version);
        Ok(bytes)
    }

    async fn save(&self, _: &str, new: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let mut rows = self.database.0.lock().unwrap();
        let mut known = self.known.lock().unwrap();
        let is_old = |peer: &String| {
            rows.get(peer).map_or(0, |row| row.0) != known.get(peer).copied().unwrap_or(0)
        };
        let lost = self.unanswered.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() {
            for (peer, bytes) in new {
                let version = rows.get(&peer).map_or(0, |row| row.0) + 1;
                rows.insert(peer, (version, bytes));
            }
            return Err(StoreError::failed("the connection broke"));
        }
        if self.refused.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StoreError::failed("the server is away"));
        }
        let (old, fresh): (Vec<_>, Vec<_>) = new.into_iter().partition(|(peer, _)| is_old(peer));
        let mut saved = Vec::new();
        for (peer, bytes) in fresh {
            if !old.is_empty() && !self.one_by_one {
                break;
            }
            let version = known.get(&peer).copied().unwrap_or(0) + 1;
            known.insert(peer.clone(), version);
            rows.insert(peer.clone(), (version, bytes));
            saved.push(peer);
        }
        if old.is_empty() {
            return Ok(());
        }
        *self.conflicts.lock().unwrap() += 1;
        let error = StoreError::of(StoreErrorKind::Conflict, "the row has another version");
        Err(StoreError { saved, ..error })
    }
}

fn stores_of(process: &Arc<Process>, others: &Stores) -> Stores {
    Stores { sessions: Arc::new(SealedSessions::new(process.clone())), ..others.clone() }
}

#[tokio::test]
async fn two_processes_that_serve_one_user_lose_none_of_each_others_steps() {
    let relay = FakeRelay::start(Kind::Mock).await;
    for one_by_one in [false, true] {
        let [alice, bob, carol] =
            ["alice", "bob", "carol"].map(|name| format!("{name} {one_by_one}"));
        let (database, others) = (Arc::new(Database::default()), Stores::memory());
        let (first, second) =
            (Process::new(&database, one_by_one), Process::new(&database, one_by_one));
        let (first_app, second_app) = (open(&relay.url).await, open(&relay.url).await);
        let mut peers = Vec::new();
        for name in [&bob, &carol] {
            peers.push(Person::join(&open(&relay.url).await, name).await);
        }
        let here = Person::join_with(&first_app, &alice, stores_of(&first, &others)).await;
        let there = Person::join_with(&second_app, &alice, stores_of(&second, &others)).await;
        let mut sends = Vec::new();
        for n in 0..40 {
            // A step of both has the records of two peers, of which one may be out of date.
            sends.push(here.send(&bob, &format!("here {n}")));
            sends.push(here.send(&carol, &format!("here {n}")));
            sends.push(there.send(if n % 3 == 0 { &carol } else { &bob }, &format!("there {n}")));
            if n % 4 == 3 {
                for sent in sends.drain(..) {
                    sent.await.unwrap();
                }
            }
        }
        let theirs = |to: &str| {
            let is_theirs = move |n: &i32| (n % 3 == 0) == to.starts_with("carol");
            let there = (0..40).filter(is_theirs).map(|n| format!("there {n}"));
            (0..40).map(|n| format!("here {n}")).chain(there).collect::<BTreeSet<_>>()
        };
        for (peer, name) in peers.iter_mut().zip([&bob, &carol]) {
            let (all, mut got) = (theirs(name), BTreeSet::new());
            while got.len() < all.len() {
                let (_, text) = peer.next().await;
                assert!(got.insert(text.clone()), "{text} came to {name} twice");
            }
            assert_eq!(got, all);
            assert!(peer.messages.try_recv().is_err(), "nothing more comes to {name}");
        }
        let met = *first.conflicts.lock().unwrap() + *second.conflicts.lock().unwrap();
        assert!(met > 0, "the two never met, so this has shown nothing");
    }
}

#[tokio::test]
async fn what_a_save_has_kept_whose_answer_was_lost_is_given_and_what_was_told_to_have_failed_is_not_sent()
 {
    let relay = FakeRelay::start(Kind::Mock).await;
    let database = Arc::new(Database::default());
    let process = Process::new(&database, false);
    let app = open(&relay.url).await;
    let mut alice = Person::join(&open(&relay.url).await, "alice").await;
    let stores = stores_of(&process, &Stores::memory());
    let mut bob = Person::join_with(&app, "bob", stores).await;
    for (n, text) in ["zero", "one"].into_iter().enumerate() {
        alice.send("bob", text).await.unwrap();
        assert_eq!(bob.next().await.1, text);
        bob.send("alice", text).await.unwrap();
        assert_eq!(alice.next().await.1, text, "{n}");
    }
    // Received: kept, as it turns out when the next save meets another version.
    process.unanswered.store(1, SeqCst);
    process.refused.store(12, SeqCst); // and then the store is away for a while
    alice.send("bob", "two").await.unwrap();
    assert_eq!(bob.next().await.1, "two");
    for _ in 0..13 {
        assert_eq!(bob.error().await.code, Code::StorageFailed);
    }
    let receipt = SendOptions { receipt: true, ..SendOptions::default() };
    let three = alice.send_with("bob", "three", receipt);
    assert_eq!(bob.next().await.1, "three");
    three.await.unwrap();
    // Sent: kept, and withdrawn, since its sender was told that it was not sent.
    process.unanswered.store(1, SeqCst);
    let error = bob.send("alice", "never").await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::StorageFailed, true));
    let four = bob.send_with("alice", "four", receipt);
    assert_eq!(alice.next().await.1, "four");
    four.await.unwrap();
    assert!(*process.conflicts.lock().unwrap() >= 2, "the lost answers led to no conflict");
    assert!(bob.messages.try_recv().is_err(), "nothing comes to bob twice");
}

/// In wire 3 nobody seals again what was refused.
#[tokio::test]
async fn a_process_behind_another_one_of_its_user_opens_what_an_original_client_writes() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (database, others) = (Arc::new(Database::default()), Stores::memory());
    let [behind, ahead] = [(); 2].map(|()| stores_of(&Process::new(&database, false), &others));
    let mut behind = Person::join_with(&open(&relay.url).await, "bob", behind).await;
    let mut carol = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    relay.inject("bob", &carol.announcement_of_wire3());
    relay.inject("bob", &carol.write_in_wire3("one"));
    assert_eq!(behind.next().await.1, "one");

    // The relay has the newer connection. Each answer turns the ratchets.
    let mut ahead = Person::join_with(&open(&relay.url).await, "bob", ahead).await;
    relay.inject("bob", &carol.announcement_of_wire3());
    for text in ["two", "three"] {
        relay.inject("bob", &carol.write_in_wire3(text));
        assert_eq!(ahead.next().await.1, text);
        ahead.send("carol", text).await.unwrap();
        assert_eq!(carol.read_in_wire3(relay.seen_from("bob").last().unwrap()), text);
    }
    ahead.client.disconnect().await;
    let announced = relay.announcements_of("bob");
    relay.kick();
    while relay.announcements_of("bob") == announced {
        tokio::task::yield_now().await;
    }
    relay.inject("bob", &carol.write_in_wire3("four"));
    assert_eq!(behind.next().await.1, "four");
    relay.inject("bob", &carol.write_in_wire3("five"));
    assert_eq!(behind.next().await.1, "five");
    assert!(behind.errors.try_recv().is_err(), "nothing was refused");
}

#[tokio::test]
async fn a_peer_whose_record_cannot_be_read_keeps_nobody_else_from_being_received() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let stores = watched(&Stores::memory(), |call| {
        let is_cut = matches!(call, Call::Load { peer } if peer == "anna");
        let damaged = || StoreError::of(StoreErrorKind::Damaged, "the row is cut");
        std::future::ready(if is_cut { Err(damaged()) } else { Ok(()) })
    });
    let app = open(&relay.url).await;
    let mut bob = Person::join_with(&app, "bob", stores).await;
    let anna = Person::join(&open(&relay.url).await, "anna").await;
    let zoe = Person::join(&open(&relay.url).await, "zoe").await;
    anna.send("bob", "never read").await.unwrap();
    assert_eq!(bob.error().await.code, Code::StorageDamaged);
    for n in 0..20 {
        zoe.send("bob", &n.to_string()).await.unwrap();
        assert_eq!(bob.next().await, ("zoe".into(), n.to_string()));
    }
    assert!(bob.errors.try_recv().is_err(), "it was said once");
}

#[tokio::test]
async fn many_messages_with_one_nonce_are_refused_at_once_and_hold_up_nobody() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = counted.clone();
    let stores = watched(&Stores::memory(), move |call| {
        counter.fetch_add(usize::from(matches!(call, Call::Mark { .. })), SeqCst);
        std::future::ready(Ok(()))
    });
    let app = open(&relay.url).await;
    let mut bob = Person::join_with(&app, "bob", stores).await;
    let mut carol = Person::join(&app, "carol").await;
    let mut mallory = Stranger::new("mallory", "bob", &relay.keys_of("bob"));
    let text = |text: &str| Content::text(text.to_owned());
    for text_of in ["begins a session", "has the nonce for the first time"] {
        relay.inject("bob", &mallory.write_with_one_nonce(text(text_of)));
        assert_eq!(bob.next().await, ("mallory".into(), text_of.into()));
    }
    let asked = counted.load(SeqCst);
    for _ in 0..500 {
        relay.inject("bob", &mallory.write_with_one_nonce(text("again")));
    }
    bob.send("carol", "in between").await.unwrap();
    carol.send("bob", "in between").await.unwrap();
    assert_eq!(carol.next().await.1, "in between");
    let mut refused = 0;
    while refused < 500 {
        let error = bob.error().await;
        assert_eq!(error.code, Code::ReplayDetected);
        refused += 1;
    }
    assert_eq!(bob.next().await, ("carol".into(), "in between".into()));
    let asked = counted.load(SeqCst) - asked;
    // For each step that had some, and for the step that was taken without them.
    assert!(asked <= 100, "asked {asked} times");
}

/// Knows every nonce that was ever asked about, but fails as often as it is told.
#[derive(Default)]
struct Forever {
    nonces: Mutex<BTreeSet<[u8; 12]>>,
    failures: AtomicUsize,
}

#[async_trait]
impl ReplayCache for Forever {
    async fn check_and_mark(&self, _: &str, _: &str, nonce: [u8; 12]) -> Result<bool, StoreError> {
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StoreError::failed("the cache is away"));
        }
        Ok(!self.nonces.lock().unwrap().insert(nonce))
    }
}

#[tokio::test]
async fn what_only_the_replay_cache_knows_is_refused_and_what_came_with_it_is_received() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (database, cache) = (Arc::new(Database::default()), Arc::new(Forever::default()));
    let others = Stores { replay: cache.clone(), ..Stores::memory() };
    let app = open(&relay.url).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob =
        Person::join_with(&app, "bob", stores_of(&Process::new(&database, false), &others)).await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    bob.client.disconnect().await;
    let before = database.0.lock().unwrap().clone();
    let mut bob =
        Person::join_with(&app, "bob", stores_of(&Process::new(&database, false), &others)).await;
    alice.send("bob", "two").await.unwrap();
    assert_eq!(bob.next().await.1, "two");
    let frame = relay.seen().pop().unwrap();
    bob.client.disconnect().await;
    *database.0.lock().unwrap() = before; // from a backup: only the cache has seen the message
    let mut bob =
        Person::join_with(&app, "bob", stores_of(&Process::new(&database, false), &others)).await;
    cache.failures.store(1, SeqCst); // that it could not be asked makes nothing new
    relay.inject("bob", &frame);
    assert_eq!(bob.error().await.code, Code::StorageFailed);
    let error = bob.error().await;
    assert_eq!((error.code, error.peer_id.as_deref()), (Code::ReplayDetected, Some("alice")));
    let sent = [alice.send("bob", "three"), alice.send("bob", "four")];
    for sent in sent {
        sent.await.unwrap();
    }
    let mut texts = BTreeSet::new();
    while texts.len() < 2 {
        let text = bob.next().await.1;
        if text != "two" {
            texts.insert(text);
        }
    }
    assert_eq!(texts, BTreeSet::from(["three".to_owned(), "four".to_owned()]));
}
