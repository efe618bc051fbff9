//! Two processes that serve one user from one store, and replays that only the cache knows.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};
use async_trait::async_trait;
use stvor_client::{
    Code, ReplayCache, SealedSessions, SealedStore, StoreError, StoreErrorKind, Stores,
};

type Rows = HashMap<String, (u64, Vec<u8>)>;

/// Rows with versions, which every process reads and writes.
#[derive(Default)]
struct Database(Mutex<Rows>);

/// One process's view: it writes only over what it has read.
struct Process {
    database: Arc<Database>,
    known: Mutex<HashMap<String, u64>>,
    conflicts: Mutex<usize>,
}

impl Process {
    fn new(database: &Arc<Database>) -> Arc<Self> {
        let (known, conflicts) = (Mutex::default(), Mutex::default());
        Arc::new(Self { database: database.clone(), known, conflicts })
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
        if new.iter().any(|(peer, _)| is_old(peer)) {
            *self.conflicts.lock().unwrap() += 1;
            return Err(StoreError::of(StoreErrorKind::Conflict, "the row has another version"));
        }
        for (peer, bytes) in new {
            let version = known.get(&peer).copied().unwrap_or(0) + 1;
            known.insert(peer.clone(), version);
            rows.insert(peer, (version, bytes));
        }
        Ok(())
    }
}

fn stores_of(process: &Arc<Process>, others: &Stores) -> Stores {
    Stores { sessions: Arc::new(SealedSessions::new(process.clone())), ..others.clone() }
}

#[tokio::test]
async fn two_processes_that_serve_one_user_lose_none_of_each_others_steps() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (database, others) = (Arc::new(Database::default()), Stores::memory());
    let (first, second) = (Process::new(&database), Process::new(&database));
    let (first_app, second_app) = (open(&relay.url).await, open(&relay.url).await);
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    let here = Person::join_with(&first_app, "alice", stores_of(&first, &others)).await;
    let there = Person::join_with(&second_app, "alice", stores_of(&second, &others)).await;
    let mut sends = Vec::new();
    for n in 0..40 {
        sends.push(here.send("bob", &format!("here {n}")));
        sends.push(there.send("bob", &format!("there {n}")));
        if n % 4 == 3 {
            for sent in sends.drain(..) {
                sent.await.unwrap();
            }
        }
    }
    let mut got = BTreeSet::new();
    for _ in 0..80 {
        let (_, text) = bob.next().await;
        assert!(got.insert(text.clone()), "{text} came twice");
    }
    let all = (0..40).flat_map(|n| [format!("here {n}"), format!("there {n}")]);
    assert_eq!(got, all.collect());
    let met = *first.conflicts.lock().unwrap() + *second.conflicts.lock().unwrap();
    assert!(met > 0, "the two never met, so this has shown nothing");
}

/// Knows every nonce that was ever asked about.
#[derive(Default)]
struct Forever(Mutex<BTreeSet<[u8; 12]>>);

#[async_trait]
impl ReplayCache for Forever {
    async fn check_and_mark(&self, _: &str, _: &str, nonce: [u8; 12]) -> Result<bool, StoreError> {
        Ok(!self.0.lock().unwrap().insert(nonce))
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
        Person::join_with(&app, "bob", stores_of(&Process::new(&database), &others)).await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    bob.client.disconnect().await;
    let before = database.0.lock().unwrap().clone();
    let mut bob =
        Person::join_with(&app, "bob", stores_of(&Process::new(&database), &others)).await;
    alice.send("bob", "two").await.unwrap();
    assert_eq!(bob.next().await.1, "two");
    let frame = relay.seen().pop().unwrap();
    bob.client.disconnect().await;
    *database.0.lock().unwrap() = before; // from a backup: only the cache has seen the message
    let mut bob =
        Person::join_with(&app, "bob", stores_of(&Process::new(&database), &others)).await;
    relay.inject("bob", &frame);
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
