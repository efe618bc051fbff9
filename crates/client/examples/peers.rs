//! What open peers cost in memory: `peers [COUNT]`, 100,000 without a number.
//!
//! A user connects to a relay and looks at so many peers, each of whom has an idle session of wire 4
//! in the store. Nobody of them is there. Prints `{"peers":…,"bytes":…,"mib":…}`: what this process
//! has grown by for each, and what it takes altogether.
#![expect(clippy::expect_used, reason = "a tool for benchmarks: an error ends it")]
#![expect(clippy::print_stdout, reason = "the figure is what it is asked for")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stvor_client::{
    App, Changes, Client, Config, Content, Error, Events, LegacyPeers, Receipt, Received,
    SendOptions, SessionStore, StoreError, Stores,
};
use stvor_protocol::{IdentityKeyPair, PeerRecord, UserRecord};
use tokio::sync::{mpsc, oneshot};

/// Peers that warm the process up and are not counted.
const WARM_UP: usize = 1_000;

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).map_or(100_000, |count| count.parse().expect("a number"));
    let relays = stvor_relay::bind(&["127.0.0.1".parse().expect("an address")], 0).await;
    let relays = relays.expect("to listen");
    let url = format!("ws://{}", relays[0].local_addr().expect("an address"));
    tokio::spawn(stvor_relay::run(relays, stvor_relay::Config::default(), std::future::pending()));

    let config = Config {
        app_token: "stvor_dev_peers".to_owned(),
        relay_url: url,
        timeout: Duration::from_secs(10),
        poll_interval: Duration::from_secs(1),
        ca: None,
        legacy_peers: LegacyPeers::Refuse,
    };
    let app = App::open(config).await.expect("an app");
    let memory = Stores::memory();
    let sessions = Arc::new(Idle::after_a_conversation(&app, &memory).await);
    let stores = Stores { sessions, ..memory };
    let alice = app.connect("alice", stores, Arc::new(Deaf)).await.expect("a client");
    let open = async |from: usize, to: usize| {
        for i in from..to {
            let known = alice.wait_for_user(&format!("peer {i}"), Duration::from_secs(1)).await;
            assert!(known.expect("an answer"), "a peer with a session is known");
        }
    };
    open(0, WARM_UP).await;
    let before = resident();
    open(WARM_UP, WARM_UP + count).await;
    let after = resident();
    let mib = after as f64 / f64::from(1 << 20);
    println!(r#"{{"peers":{count},"bytes":{},"mib":{mib:.1}}}"#, (after - before) / count);
}

/// A store that has the same idle record for every peer, as bytes: each look reads it anew.
struct Idle {
    ours: IdentityKeyPair,
    record: Vec<u8>,
}

impl Idle {
    /// Alice's record of Bob, after each has heard the other and nothing is under way.
    async fn after_a_conversation(app: &App, memory: &Stores) -> Self {
        let ours = memory.identity.identity_key_pair("alice").await.expect("keys");
        let alice = app.connect("alice", memory.clone(), Arc::new(Deaf)).await.expect("a client");
        let (arrived, mut messages) = mpsc::unbounded_channel();
        let ears = Arc::new(Ears(arrived));
        let bob = app.connect("bob", Stores::memory(), ears).await.expect("a client");
        let sending = tokio::spawn(send(alice.clone()));
        for received in messages.recv().await.expect("a message") {
            bob.handled(vec![(received.sender_id, received.ticket)]);
        }
        sending.await.expect("a receipt");
        bob.disconnect().await;
        alice.disconnect().await;
        let record = memory.sessions.load("alice", "bob").await.expect("a store");
        let record = record.expect("a record");
        assert!(record.speaks_wire4() && !record.is_active(), "idle, in wire 4");
        Self { ours, record: record.to_bytes().to_vec() }
    }
}

async fn send(alice: Client) {
    let (done, sent) = oneshot::channel();
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    alice.send("bob".to_owned(), Content::text("hello".to_owned()), options, |outcome| {
        done.send(outcome).expect("somebody who waits");
    });
    sent.await.expect("an answer").expect("a receipt");
}

#[async_trait]
impl SessionStore for Idle {
    async fn load(&self, _: &str, _: &str) -> Result<Option<PeerRecord>, StoreError> {
        let record = PeerRecord::from_bytes(&self.ours, &self.record);
        Ok(Some(record.expect("a record")))
    }

    async fn load_user(&self, _: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: &Changes) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Deaf;

impl Events for Deaf {
    fn messages(&self, _: Vec<Received>) {}
    fn receipts(&self, _: Vec<Receipt>) {}
    fn error(&self, _: Error) {}
}

struct Ears(mpsc::UnboundedSender<Vec<Received>>);

impl Events for Ears {
    fn messages(&self, batch: Vec<Received>) {
        self.0.send(batch).expect("somebody who listens");
    }
    fn receipts(&self, _: Vec<Receipt>) {}
    fn error(&self, _: Error) {}
}

/// Bytes of memory in use by this process.
fn resident() -> usize {
    let kib = match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.expect("a resident set").trim_end_matches("kB").to_owned()
        }
        Err(_) => {
            let pid = std::process::id().to_string();
            let ps = std::process::Command::new("ps").args(["-o", "rss=", "-p", &pid]).output();
            String::from_utf8(ps.expect("ps").stdout).expect("text")
        }
    };
    kib.trim().parse::<usize>().expect("a number") * 1024
}
