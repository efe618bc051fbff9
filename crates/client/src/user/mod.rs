//! One user: a task that owns the user's records and does everything that touches them.
//!
//! The task takes what waits for it, in order, works out new records from the committed ones, and
//! then commits once: one step, one write. Only after that do envelopes leave and messages reach
//! the application. A store that fails costs the step, never the state.

mod delivery;
mod identity;
mod in_flight;
mod incoming;
mod legacy;
mod outgoing;
mod pace;
mod peer;
mod prekeys;
mod reread;
mod seeking;
mod setback;
mod step;
mod timers;
mod trust;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use stvor_protocol::UserRecord;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::info;

use crate::clock::Clock;
use crate::config::LegacyPeers;
use crate::events::{Content, Events, SendOptions, Sent};
use crate::link::{Attachment, Incoming, Link, Request};
use crate::metrics::Counters;
use crate::random::Random;
use crate::{Error, Stores};

pub(crate) use identity::Waiter;
use in_flight::InFlight;
use pace::Pace;
use peer::Peer;
use prekeys::Allowance;
pub(crate) use prekeys::{Stock, wire_bundle};
use step::Step;
use timers::Timers;

/// Commands and arrivals handled in one step at most, and so in one write.
const BATCH: usize = 64;

/// How long a client that is told to disconnect waits for the relay to take what was sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// Called once with the outcome of a send.
pub(crate) type Done = Box<dyn FnOnce(Result<Sent, Error>) + Send>;

/// What the application asks of its user.
pub(crate) enum Command {
    Send { to: String, content: Content, options: SendOptions, done: Done },
    Handled { messages: Vec<(String, u64)> },
    Trust { peer: String, fingerprint: String, done: oneshot::Sender<Result<(), Error>> },
    WaitForUser { peer: String, timeout: Duration, waiter: Waiter },
    Close { done: oneshot::Sender<()> },
}

/// What a user's task is made of.
pub(crate) struct UserTask {
    pub(crate) id: Arc<str>,
    /// As committed.
    pub(crate) own: UserRecord,
    /// When the identity was made, if that was for this stay: nobody has had a session with it before.
    pub(crate) identity_made_ms: Option<u64>,
    pub(crate) stores: Stores,
    pub(crate) link: Link,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) timeout: Duration,
    pub(crate) legacy_peers: LegacyPeers,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    /// Of one-time prekeys.
    pub(crate) stock: Stock,
    pub(crate) attachment: Attachment,
    /// Dropped when the user is gone.
    pub(crate) stay: watch::Sender<()>,
}

struct User {
    id: Arc<str>,
    own: UserRecord,
    identity_made_ms: Option<u64>,
    stores: Stores,
    link: Link,
    events: Arc<dyn Events>,
    counters: Arc<Counters>,
    timeout: Duration,
    legacy_peers: LegacyPeers,
    clock: Clock,
    random: Random,
    peers: HashMap<String, Peer>,
    /// Peers for whom something waits, in an order that does not depend on chance.
    attention: BTreeSet<String>,
    timers: Timers,
    in_flight: InFlight,
    pace: Pace,
    /// Peers of whom nothing is known and with whom a session is sought.
    strangers: usize,
    /// How long the list of active peers gets before it is gone through.
    prune_at: usize,
    /// Said to be handled in a step that failed.
    handled_again: Vec<(String, u64)>,
    /// Nonces marked for messages whose commit then failed: they are new once more.
    marked: BTreeSet<(String, [u8; 12])>,
    /// Nonces that the replay cache had seen before: their messages are refused when they are
    /// opened again.
    replayed: BTreeSet<(String, [u8; 12])>,
    /// Whether nothing is received, because the last commit failed: until `retry_at`.
    paused: bool,
    /// While a step is taken again without the replays that were in it: new messages wait.
    redoing: bool,
    /// Until when nothing is received, because the replay cache could not be asked.
    receive_at: Option<Instant>,
    /// Withdrawn in a step that was not taken.
    withdraw_again: Vec<(String, u64)>,
    /// Peers whose records a failed store may have replaced: they are written once more.
    unsure: BTreeSet<String>,
    /// The same of the user's own record.
    own_is_unsure: bool,
    /// Peers of whom another process of the user has messages.
    others: BTreeMap<String, reread::Others>,
    /// Peers whose records another process has written, to be read again.
    reloading: BTreeSet<String>,
    /// Peers whose records could not be read, which the application was told.
    unreadable: BTreeSet<String>,
    /// Whether the user's own record is to be read again.
    own_is_stale: bool,
    /// Steps in a row that another process's writes have undone.
    conflicts: u32,
    /// When peers whose step failed are tried again.
    retry_at: Option<Instant>,
    held: peer::HeldTotal,
    /// What waits in the records of all peers for an earlier message of the same peer.
    pending: peer::PendingTotal,
    allowance: Allowance,
}

impl UserTask {
    /// Runs until the application closes the user or drops every handle.
    pub(crate) async fn run(
        self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut arrivals: mpsc::Receiver<Incoming>,
    ) {
        let Self { id, own, stores, link, events, counters, timeout, .. } = self;
        let Self { legacy_peers, clock, mut random, stock, attachment, stay, .. } = self;
        let identity_made_ms = self.identity_made_ms;
        let mut user = User {
            identity_made_ms,
            in_flight: InFlight::new(&mut random),
            pace: Pace::default(),
            peers: HashMap::new(),
            attention: own.active().map(str::to_owned).collect(),
            timers: Timers::default(),
            marked: BTreeSet::new(),
            replayed: BTreeSet::new(),
            paused: false,
            redoing: false,
            receive_at: None,
            withdraw_again: Vec::new(),
            unsure: BTreeSet::new(),
            own_is_unsure: false,
            others: BTreeMap::new(),
            reloading: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            own_is_stale: false,
            conflicts: 0,
            strangers: 0,
            prune_at: step::PRUNE_AT,
            handled_again: Vec::new(),
            retry_at: Some(Instant::now()), // what an earlier stay has left is taken up at once
            held: peer::HeldTotal::default(),
            pending: peer::PendingTotal::default(),
            allowance: Allowance::new(stock, Instant::now()),
            id,
            own,
            stores,
            link,
            events,
            counters,
            timeout,
            legacy_peers,
            clock,
            random,
        };
        let closed = user.serve(&mut commands, &mut arrivals).await;
        user.link.request(Request::Quiet { user: user.id.clone(), attachment });
        user.farewell(&mut commands, &mut arrivals).await;
        let (done, left) = oneshot::channel();
        user.link.request(Request::Detach { user: user.id.clone(), attachment, done });
        let _best_effort = timeout_at(Instant::now() + FAREWELL, left).await;
        info!("user left");
        drop(stay);
        if let Some(done) = closed {
            let _nobody_waits = done.send(());
        }
    }
}

impl User {
    /// Handles commands and arrivals until told to close; returns whom to tell when closed.
    async fn serve(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        arrivals: &mut mpsc::Receiver<Incoming>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut asked, mut arrived) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        loop {
            let wake_at = self.next_deadline();
            tokio::select! {
                biased;
                taken = commands.recv_many(&mut asked, BATCH) => if taken == 0 { return None },
                taken = arrivals.recv_many(&mut arrived, BATCH) => if taken == 0 { return None },
                () = until(wake_at) => {}
            }
            self.read_own_again().await;
            let (mut step, begun) = (Step::default(), Instant::now());
            let (mut close, mut taken) = (None, 0);
            loop {
                // Neither side starves the other, and both share the step's one write.
                while arrived.len() < BATCH
                    && let Ok(incoming) = arrivals.try_recv()
                {
                    arrived.push(incoming);
                }
                let messages = arrived.iter().filter(|one| matches!(one, Incoming::Message(_)));
                taken += asked.len() + messages.count();
                for command in asked.drain(..) {
                    match command {
                        Command::Close { done } => close = close.or(Some(done)),
                        _ if close.is_some() => refuse(command),
                        _ => self.command(command, &mut step).await,
                    }
                }
                for incoming in arrived.drain(..) {
                    self.incoming(incoming, &mut step).await;
                }
                let patience = self.pace.waits_until(taken, begun);
                let Some(deadline) = patience.filter(|_| taken > 0 && close.is_none()) else {
                    break;
                };
                // Those who are answered meanwhile may send again.
                let more = tokio::select! {
                    biased;
                    more = commands.recv_many(&mut asked, BATCH) => more,
                    more = arrivals.recv_many(&mut arrived, BATCH) => more,
                    () = sleep_until(deadline) => 0,
                };
                if more == 0 {
                    break; // it is time, or the user is closed: seen with the next step
                }
            }
            self.overdue(&mut step).await;
            if close.is_some() {
                self.last_receipts(&mut step);
            }
            let (writes, started) = (!step.changed.is_empty(), Instant::now());
            self.commit(step).await;
            if writes {
                self.pace.committed(taken.max(self.in_flight.len()), started.elapsed());
            }
            if close.is_some() {
                return close;
            }
        }
    }

    async fn command(&mut self, command: Command, step: &mut Step) {
        match command {
            Command::Send { to, content, options, done } => {
                self.send(to, content, options, done, step).await;
            }
            Command::Trust { peer, fingerprint, done } => {
                match self.trust(peer, fingerprint, step).await {
                    Ok(()) => step.trusted.push(done), // answered once it is committed
                    Err(error) => drop(done.send(Err(error))),
                }
            }
            Command::WaitForUser { peer, timeout, waiter } => {
                self.wait_for(peer, timeout, waiter, step).await;
            }
            Command::Handled { messages } => self.handled(messages, step).await,
            Command::Close { .. } => {}
        }
    }

    async fn incoming(&mut self, incoming: Incoming, step: &mut Step) {
        match incoming {
            Incoming::Message(envelope) => self.message(envelope, step).await,
            Incoming::Bundle { peer, bundle, announced } => {
                self.bundle(peer, *bundle, announced, step).await;
            }
            Incoming::Unknown { peer } => self.unknown(&peer, step).await,
            Incoming::Found { peer, bundle, prekey } => {
                let prekey = prekey.and_then(|(id, key)| prekeys::parse_one_time(id, &key));
                self.found(peer, *bundle, prekey, step).await;
            }
            Incoming::PrekeysLeft { left } => self.prekeys_left(left, step),
            Incoming::Taken { id, status } => self.taken(&id, status, step),
            Incoming::Refused { id, error } => self.refused(&id, error, step),
            Incoming::Connected => self.connected(step),
            Incoming::Trouble(error) => self.events.error(error),
        }
    }

    /// Waits a moment for the relay to take what was sent; everything else ends now. What its
    /// sender is told was not sent does not stay in an outbox, to be sent by the next stay.
    async fn farewell(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        arrivals: &mut mpsc::Receiver<Incoming>,
    ) {
        commands.close();
        while let Ok(command) = commands.try_recv() {
            refuse(command);
        }
        let mut step = Step::default();
        let mut peers: Vec<String> = self.peers.keys().cloned().collect();
        peers.sort_unstable(); // the order of a map must decide nothing
        for id in peers {
            let unsent = self.peers.get_mut(&id).map(Peer::abandon).unwrap_or_default();
            unsent.into_iter().for_each(|seq| self.withdraw(&id, seq, &mut step));
        }
        let end = Instant::now() + FAREWELL.min(self.timeout);
        while !self.in_flight.is_empty() {
            tokio::select! {
                arrived = arrivals.recv() => match arrived {
                    Some(Incoming::Taken { id, status }) => {
                        if let Some(landed) = self.in_flight.take(&id) {
                            landed.flight.answer(&id, Ok(status));
                        }
                    }
                    Some(Incoming::Refused { id, error }) => {
                        if let Some(landed) = self.in_flight.take(&id) {
                            self.unsent(&id, landed, error, &mut step);
                        }
                    }
                    Some(_) => {} // not acknowledged: the relay keeps it where it can
                    None => break,
                },
                () = sleep_until(end) => break,
            }
        }
        let left: Vec<_> = self.in_flight.take_all().collect();
        for (id, landed) in left {
            let error = Error::delivery_failed(&landed.to);
            self.unsent(&id, landed, error, &mut step);
        }
        self.commit(step).await;
        self.make_good().await;
    }

    /// What steps that were not taken have left is done before the user is gone, if it can be.
    async fn make_good(&mut self) {
        for _ in 0..2 {
            let is_done = self.withdraw_again.is_empty() && self.handled_again.is_empty();
            if is_done && self.unsure.is_empty() && !self.own_is_unsure {
                return;
            }
            self.read_own_again().await;
            let mut step = Step::default();
            let peers: Vec<String> = self.reloading.iter().cloned().collect();
            for id in peers {
                let _tried = self.load(&id, &mut step).await;
            }
            for (id, seq) in std::mem::take(&mut self.withdraw_again) {
                self.withdraw(&id, seq, &mut step);
            }
            self.write_again(&mut step);
            let handled = std::mem::take(&mut self.handled_again);
            self.handled(handled, &mut step).await;
            self.commit(step).await;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        // While a store has just failed, what needs it waits.
        let others = match self.retry_at {
            Some(at) => Some(at),
            None => self.timers.earliest().into_iter().chain([self.next_renewal()]).min(),
        };
        let others = others.into_iter().chain(self.receive_at);
        self.in_flight.next_deadline().into_iter().chain(others).min()
    }

    /// Does what is due, and tries again what a failed store held up.
    async fn overdue(&mut self, step: &mut Step) {
        let now = Instant::now();
        self.expire_in_flight(now, step);
        if self.receive_at.is_some_and(|at| at <= now) {
            self.receive_at = None;
            self.retry_at.get_or_insert(now);
        }
        match self.retry_at {
            Some(at) if at > now => return,
            Some(_) => {
                (self.retry_at, self.paused) = (None, false);
                self.retry_held(step).await;
            }
            None => {}
        }
        self.alarms(now, step);
        self.renew_prekeys(step);
    }
}

/// A closed user does nothing more.
fn refuse(command: Command) {
    match command {
        Command::Send { done, .. } => done(Err(Error::client_not_ready())),
        Command::Trust { done, .. } => drop(done.send(Err(Error::client_not_ready()))),
        Command::WaitForUser { waiter, .. } => waiter.closed(),
        Command::Handled { .. } => {}
        Command::Close { done } => drop(done.send(())),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
