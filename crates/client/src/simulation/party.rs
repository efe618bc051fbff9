//! One user of a simulation: a disk that lasts, and a process that does not.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use stvor_protocol::message_id;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tracing::debug;

use super::store::Disk;
use crate::app::own_record;
use crate::clock::Clock;
use crate::config::LegacyPeers;
use crate::events::{Content, Events, Receipt, Received, SendOptions, Sent};
use crate::link::{Attachment, Incoming, Link, LinkState, Request};
use crate::metrics::Counters;
use crate::user::{Command, Stock, UserTask, wire_bundle};
use crate::{Error, Stores};

/// Enough for everything that a schedule brings at once.
const INBOX: usize = 1 << 16;

/// Fewer one-time prekeys than usual: to make a hundred took half the time of a schedule, and these run
/// out within one.
const STOCK: Stock = Stock { full: 6, few: 2 };

/// What the application has seen; it outlives the process, as a log on a disk would.
#[derive(Default)]
pub(super) struct Journal {
    /// Handed over, not completed: `(sender, ticket, id, text)`.
    pub(super) waiting: VecDeque<(String, u64, String, String)>,
    /// Completed, in order.
    pub(super) completed: Vec<Completed>,
    pub(super) receipts: BTreeSet<String>,
    pub(super) errors: Vec<Error>,
}

#[derive(Debug, Clone)]
pub(super) struct Completed {
    pub(super) from: String,
    pub(super) id: String,
    pub(super) text: String,
    /// Which life of the process completed it.
    pub(super) life: u32,
}

struct Ears(Arc<Mutex<Journal>>);

impl Events for Ears {
    fn messages(&self, batch: Vec<Received>) {
        let mut journal = lock(&self.0);
        for message in batch {
            let text = String::from_utf8_lossy(message.content.as_bytes()).into_owned();
            journal.waiting.push_back((message.sender_id, message.ticket, message.id, text));
        }
    }

    fn receipts(&self, batch: Vec<Receipt>) {
        lock(&self.0).receipts.extend(batch.into_iter().map(|receipt| receipt.id));
    }

    fn error(&self, error: Error) {
        debug!(code = error.code.as_str(), "an error is told");
        lock(&self.0).errors.push(error);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that runs.
pub(super) struct Process {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    pub(super) state: Arc<LinkState>,
    task: JoinHandle<()>,
    /// When the handler that runs completes.
    pub(super) handles_at: Option<Instant>,
}

pub(super) struct Party {
    pub(super) id: String,
    pub(super) disk: Arc<Disk>,
    /// Nonces and pins survive a restart.
    rest: Stores,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) process: Option<Process>,
    pub(super) life: u32,
    random: ChaCha20Rng,
    /// Ids that were on the disk, not handled, at the start of some life: these come again.
    pub(super) given_again_ever: BTreeSet<String>,
}

impl Party {
    pub(super) fn new(id: &str, random: &mut ChaCha20Rng) -> Self {
        let mut random = ChaCha20Rng::seed_from_u64(random.next_u64());
        let keys = stvor_protocol::LocalKeys::generate(&mut random);
        Self {
            id: id.to_owned(),
            disk: Disk::new(keys, random.next_u64()),
            rest: Stores::memory(),
            journal: Arc::default(),
            process: None,
            life: 0,
            random,
            given_again_ever: BTreeSet::new(),
        }
    }

    /// Starts the process, as [`App::connect`](crate::App::connect) does.
    pub(super) async fn start(&mut self, clock: Clock, peers: &[String]) -> Result<(), Error> {
        self.life += 1;
        self.disk.heal();
        for peer in peers {
            let Some(record) = self.disk.record(&self.id, peer) else { continue };
            let ids = record.inbox().map(|item| message_id(peer, &self.id, item.seq));
            self.given_again_ever.extend(ids);
        }
        lock(&self.journal).waiting.clear();
        let stores = Stores {
            identity: self.disk.clone(),
            sessions: self.disk.clone(),
            replay: self.rest.replay.clone(),
            tofu: self.rest.tofu.clone(),
        };
        let mut random = Box::new(ChaCha20Rng::seed_from_u64(self.random.next_u64()));
        let identity = stores.identity.identity_key_pair(&self.id).await;
        let identity = identity.map_err(|error| Error::storage(&error))?;
        let (now_ms, counters) = (clock.now_ms(), Arc::new(Counters::default()));
        let own = own_record(&stores, &self.id, &identity, now_ms, &mut *random, &counters).await?;
        let (link, requests, state) = Link::simulated();
        let id: Arc<str> = self.id.as_str().into();
        let (inbox, arrivals) = mpsc::channel::<Incoming>(INBOX);
        let (done, _attached) = oneshot::channel();
        let bundle = wire_bundle(own.prekeys(), &self.id);
        let attachment = Attachment(0);
        link.request(Request::Attach { user: id.clone(), attachment, bundle, inbox, done });
        let (commands, queue) = mpsc::unbounded_channel();
        let (stay, _stays) = watch::channel(());
        let task = UserTask {
            id,
            own,
            stores,
            link,
            events: Arc::new(Ears(self.journal.clone())),
            counters,
            timeout: Duration::from_secs(30),
            legacy_peers: LegacyPeers::Allow,
            clock,
            random,
            stock: STOCK,
            identity_made_ms: None,
            attachment,
            stay,
        };
        let task = tokio::spawn(task.run(queue, arrivals));
        self.process = Some(Process { commands, requests, state, task, handles_at: None });
        Ok(())
    }

    /// Kills the process wherever it is.
    pub(super) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.task.abort();
            let _killed = process.task.await;
            let _its_own = self.disk.take_crash();
        }
    }

    /// Sends; `outcome` holds what became of it.
    pub(super) fn send(&self, to: &str, text: &str, receipt: bool) -> Arc<Outcome> {
        let outcome = Arc::new(Outcome::default());
        let told = outcome.clone();
        let done = Box::new(move |result: Result<Sent, Error>| {
            told.accepted.store(result.is_ok(), Ordering::Relaxed);
        });
        if let Some(process) = &self.process {
            let options = SendOptions { receipt, ..SendOptions::default() };
            let (to, content) = (to.to_owned(), Content::text(text.to_owned()));
            let _dead = process.commands.send(Command::Send { to, content, options, done });
        }
        outcome
    }

    /// Lets the handler that runs complete, and the next one begin.
    pub(super) fn handle(&mut self) {
        let Some(process) = &mut self.process else { return };
        let now = Instant::now();
        let mut journal = lock(&self.journal);
        if process.handles_at.is_some_and(|at| at <= now) {
            process.handles_at = None;
            if let Some((from, ticket, id, text)) = journal.waiting.pop_front() {
                let messages = vec![(from.clone(), ticket)];
                journal.completed.push(Completed { from, id, text, life: self.life });
                let _dead = process.commands.send(Command::Handled { messages });
            }
        }
        if process.handles_at.is_none() && !journal.waiting.is_empty() {
            let takes = [0, 0, 1, 50, 700][self.random.next_u32() as usize % 5];
            process.handles_at = Some(now + Duration::from_millis(takes));
        }
    }
}

/// What became of a send.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) accepted: AtomicBool,
}
