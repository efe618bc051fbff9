//! The link over WebSocket: our relay, the original's mock relay, the documentation's relay.

mod arrivals;
mod outbox;
mod prekeys;
mod requests;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use stvor_wire::{OneTimePrekey, PublicKeyBundle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Message;
use tracing::{Instrument, info, warn};
use url::Url;

use super::aside;
use super::backoff::Backoff;
use super::directory::Directory;
use super::socket::{self, Dialect, Established, Known, Reader, Writer};
use super::{Attachment, Incoming, LinkState, Request};
use crate::Error;
use crate::config::Checked;
use crate::events::SentStatus;
use crate::metrics::Counters;
use outbox::{Outbox, frame};

/// A connection that was silent for this long is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Pause before an attempt to connect for which somebody waits.
const WOKEN: Duration = Duration::from_secs(1);

/// Frames read, or requests taken, before the other side gets its turn.
const BATCH: usize = 128;

/// Connects, then keeps the connection in a task of its own until every handle is dropped.
pub(super) async fn spawn(
    url: Url,
    config: Arc<Checked>,
    requests: mpsc::UnboundedReceiver<Request>,
    state: Arc<LinkState>,
    counters: Arc<Counters>,
) -> Result<JoinHandle<()>, Error> {
    let connector = socket::connector(&url, &config)?;
    let (aside, seen) = mpsc::unbounded_channel();
    let established = socket::establish(&url, &config, &connector).await?;
    let link = WebSocketLink {
        url,
        config,
        connector,
        state,
        counters,
        users: HashMap::new(),
        directory: Directory::default(),
        outbox: Outbox::default(),
        lookups: HashMap::new(),
        stalled: VecDeque::new(),
        writes: VecDeque::new(),
        barriers: VecDeque::new(),
        last_barrier: 0,
        connection: 0,
        dialect: Dialect::default(),
        connected: false,
        deaf: false,
        heard_at: Instant::now(),
        unwritten: 0,
        aside,
        asked_aside: 0,
    };
    Ok(tokio::spawn(link.run(established, requests, seen).in_current_span()))
}

struct WebSocketLink {
    url: Url,
    config: Arc<Checked>,
    connector: Connector,
    state: Arc<LinkState>,
    counters: Arc<Counters>,
    users: HashMap<Arc<str>, User>,
    directory: Directory,
    outbox: Outbox,
    /// Who waits for a look-up to be answered, in order of asking. The relay answers in order.
    lookups: HashMap<String, VecDeque<Arc<str>>>,
    /// What a user's full inbox could not take; while there is any, the socket is not read.
    stalled: VecDeque<(Arc<str>, Incoming)>,
    writes: VecDeque<Message>,
    barriers: VecDeque<(u64, Instant, Barrier)>,
    last_barrier: u64,
    connection: u64,
    dialect: Dialect,
    connected: bool,
    /// A relay tells a connection of nobody before somebody is announced on it: who was announced
    /// meanwhile was missed, and a look from aside finds them.
    deaf: bool,
    /// When the relay last gave a sign of life.
    heard_at: Instant,
    /// Frames that waited to be written at the last look.
    unwritten: usize,
    aside: mpsc::UnboundedSender<Known>,
    /// Announcements that must have reached the relay before a look from aside is worth it.
    asked_aside: u64,
}

struct User {
    attachment: Attachment,
    bundle: PublicKeyBundle,
    /// The relay has read our last announcement, and told of none by another connection since.
    is_here: bool,
    inbox: mpsc::Sender<Incoming>,
    /// Who waits for the announcement to have reached the relay.
    attached: Option<oneshot::Sender<Result<(), Error>>>,
    /// One-time prekeys that the relay may not have read yet.
    unpublished: Vec<OneTimePrekey>,
    /// How many the relay had before it read those.
    prekeys_left: Option<usize>,
}

/// What is known once the pong to a ping has come: the relay has read all that went before it.
enum Barrier {
    Announced(Arc<str>),
    /// So many of the user's one-time prekeys.
    Published(Arc<str>, Attachment, usize),
    Left(oneshot::Sender<()>),
    Sent(Vec<String>),
    Alive,
}

/// Why a connection ended.
enum Ended {
    /// Every handle was dropped.
    Closed,
    Lost,
}

impl WebSocketLink {
    async fn run(
        mut self,
        first: Established,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut seen: mpsc::UnboundedReceiver<Known>,
    ) {
        let mut established = first;
        loop {
            if let Ended::Closed = self.serve(established, &mut requests, &mut seen).await {
                return;
            }
            self.disconnected();
            established = match self.reconnect(&mut requests).await {
                ControlFlow::Continue(established) => established,
                ControlFlow::Break(()) => return,
            };
        }
    }

    /// Serves one connection until it ends.
    async fn serve(
        &mut self,
        established: Established,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        seen: &mut mpsc::UnboundedReceiver<Known>,
    ) -> Ended {
        let Established { mut writer, mut reader, dialect, known } = established;
        self.connected(dialect, known);
        let mut keepalive = interval(KEEPALIVE);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keepalive.reset();
        let mut batch = Vec::with_capacity(BATCH);
        let mut flushed = true;
        loop {
            flushed &= self.writes.is_empty();
            let stalled = self.stalled_inbox();
            self.unwritten = self.unwritten.max(self.writes.len());
            tokio::select! {
                result = socket::drain(&mut writer, &mut self.writes), if !flushed => {
                    if result.is_err() {
                        return Ended::Lost;
                    }
                    flushed = true;
                }
                taken = requests.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        self.goodbye(&mut writer, &mut reader).await;
                        return Ended::Closed;
                    }
                    batch.drain(..).for_each(|request| self.handle(request));
                    self.confirm_unacknowledged();
                }
                permit = reserve(stalled.as_ref()), if stalled.is_some() => self.unstall(permit),
                Some(known) = seen.recv() => self.all_announced(known),
                frame = reader.next(), if stalled.is_none() => {
                    match self.read(frame, &mut reader) {
                        ControlFlow::Continue(answered) => flushed &= !answered,
                        ControlFlow::Break(()) => return Ended::Lost,
                    }
                }
                _ = keepalive.tick() => {
                    if self.is_dead(stalled.is_some()) {
                        return Ended::Lost;
                    }
                    self.outbox.forget_overdue(Instant::now());
                    self.barrier(Barrier::Alive);
                }
            }
        }
    }

    async fn goodbye(&mut self, writer: &mut Writer, reader: &mut Reader) {
        let left = std::mem::take(&mut self.writes);
        socket::close(writer, reader, left, |text| self.frame(text)).await;
    }

    /// Waits for a new connection, taking requests meanwhile; what is to be written waits too.
    async fn reconnect(
        &mut self,
        requests: &mut mpsc::UnboundedReceiver<Request>,
    ) -> ControlFlow<(), Established> {
        let mut backoff = Backoff::default();
        let (url, config) = (self.url.clone(), self.config.clone());
        let connector = self.connector.clone();
        let mut refused = false;
        loop {
            let began = Instant::now();
            let delay = backoff.next();
            info!(pause_ms = delay.as_millis() as u64, "relay retry");
            let mut pause = std::pin::pin!(sleep_until(began + delay));
            let mut attempt = std::pin::pin!(socket::establish(&url, &config, &connector));
            self.outbox.forget_overdue(Instant::now());
            let outcome = loop {
                let stalled = self.stalled_inbox();
                tokio::select! {
                    () = &mut pause, if !pause.is_elapsed() => {}
                    outcome = &mut attempt, if pause.is_elapsed() => break outcome,
                    permit = reserve(stalled.as_ref()), if stalled.is_some() => {
                        self.unstall(permit);
                    }
                    request = requests.recv() => match request {
                        Some(request) => {
                            if matches!(request, Request::Wake | Request::Attach { .. }) {
                                // Somebody waits who may give up before the pause is over.
                                let soon = began + WOKEN;
                                let next = pause.deadline().min(soon);
                                pause.as_mut().reset(next);
                            }
                            self.handle(request);
                        }
                        None => return ControlFlow::Break(()),
                    },
                }
            };
            match outcome {
                Ok(established) => return ControlFlow::Continue(established),
                Err(error) if error.code == crate::Code::AuthFailed && !refused => {
                    refused = true;
                    self.counters.auth_failures.one();
                    warn!(code = error.code.as_str(), "relay refuses the app token");
                    self.tell_all(|| Incoming::Trouble(error.clone()));
                }
                Err(error) => self.state.failed(&error),
            }
        }
    }

    /// A connection stands: announce everybody, send again what was not acknowledged.
    fn connected(&mut self, dialect: Dialect, known: Known) {
        self.connection += 1;
        if self.connection > 1 {
            self.counters.reconnections.one();
        }
        info!(transport = "websocket", "relay connected");
        self.deaf = !dialect.understands_leave;
        self.heard_at = Instant::now();
        self.dialect = dialect;
        self.connected = true;
        self.state.connected.store(true, Ordering::Relaxed);
        self.all_announced(known);
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.write_announce(&user);
            self.publish_again(&user);
        }
        self.look_up_again();
        self.outbox.forget_overdue(Instant::now());
        let frames: Vec<_> = self.outbox.messages.values().map(frame).collect();
        self.writes.extend(frames);
        self.outbox.unconfirmed = self.outbox.messages.values().map(|m| m.id.clone()).collect();
        self.confirm_unacknowledged();
        self.tell_all(|| Incoming::Connected);
    }

    fn disconnected(&mut self) {
        warn!("relay lost");
        self.connected = false;
        self.state.connected.store(false, Ordering::Relaxed);
        self.writes.clear();
        self.barriers.clear();
        self.asked_aside = 0;
        self.outbox.unconfirmed.clear();
    }

    fn barrier(&mut self, barrier: Barrier) {
        self.last_barrier += 1;
        let payload = self.last_barrier.to_be_bytes().to_vec();
        self.writes.push_back(Message::Ping(payload.into()));
        self.barriers.push_back((self.last_barrier, Instant::now(), barrier));
    }

    /// The relay has read everything up to barrier `number`.
    fn passed(&mut self, number: u64) {
        if self.asked_aside != 0 && self.asked_aside <= number {
            self.asked_aside = 0;
            aside::look(self.way(), self.aside.clone());
        }
        while let Some((first, ..)) = self.barriers.front()
            && *first <= number
        {
            match self.barriers.pop_front() {
                Some((.., Barrier::Announced(user))) => {
                    if let Some(user) = self.users.get_mut(&user) {
                        user.is_here = true;
                        if let Some(done) = user.attached.take() {
                            let _nobody_waits = done.send(Ok(()));
                        }
                    }
                }
                Some((.., Barrier::Published(user, attachment, count))) => {
                    self.published(user, attachment, count);
                }
                Some((.., Barrier::Sent(ids))) => {
                    for id in ids {
                        self.taken(id, SentStatus::Sent);
                    }
                }
                Some((.., Barrier::Left(done))) => drop(done.send(())),
                Some((.., Barrier::Alive)) | None => {}
            }
        }
    }

    /// Whether a ping has gone unanswered for too long, and nothing else has moved either. Called
    /// once in [`KEEPALIVE`].
    fn is_dead(&mut self, stalled: bool) -> bool {
        let patience = self.config.timeout.max(KEEPALIVE);
        let writes = self.writes.len() < std::mem::take(&mut self.unwritten);
        !stalled
            && !writes
            && self.heard_at.elapsed() > patience
            && self.barriers.front().is_some_and(|(_, since, _)| since.elapsed() > patience)
    }
}

async fn reserve(
    inbox: Option<&mpsc::Sender<Incoming>>,
) -> Result<mpsc::Permit<'_, Incoming>, mpsc::error::SendError<()>> {
    match inbox {
        Some(inbox) => inbox.reserve().await,
        None => std::future::pending().await,
    }
}
