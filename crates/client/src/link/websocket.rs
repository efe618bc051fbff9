//! The link over WebSocket: our relay, the original's mock relay, the documentation's relay.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use stvor_wire::{Announce, ClientFrame, OutgoingMessage, Payload, PublicKeyBundle, RefusalCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::aside::{self, Way};
use super::backoff::Backoff;
use super::directory::Directory;
use super::socket::{self, Dialect, Established, Frame, Known, Reader, Writer};
use super::{Attachment, Delivery, Incoming, Outgoing, Request, State};
use crate::Error;
use crate::config::Checked;
use crate::events::SentStatus;
use crate::metrics::Counters;

/// A connection that was silent for this long is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Frames read, or requests taken, before the other side gets its turn.
const BATCH: usize = 128;

/// Connects, then keeps the connection in a task of its own until every handle is dropped.
pub(super) async fn spawn(
    url: Url,
    config: Arc<Checked>,
    requests: mpsc::UnboundedReceiver<Request>,
    state: Arc<State>,
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
    Ok(tokio::spawn(link.run(established, requests, seen)))
}

struct WebSocketLink {
    url: Url,
    config: Arc<Checked>,
    connector: Connector,
    state: Arc<State>,
    counters: Arc<Counters>,
    users: HashMap<Arc<str>, User>,
    directory: Directory,
    outbox: Outbox,
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
    inbox: mpsc::Sender<Incoming>,
    /// Who waits for the announcement to have reached the relay.
    attached: Option<oneshot::Sender<Result<(), Error>>>,
}

/// What is known once the pong to a ping has come: the relay has read all that went before it.
enum Barrier {
    Announced(Arc<str>),
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
            let next = Instant::now() + backoff.next();
            let mut attempt = std::pin::pin!(async {
                sleep_until(next).await;
                socket::establish(&url, &config, &connector).await
            });
            self.outbox.forget_overdue(Instant::now());
            let outcome = loop {
                let stalled = self.stalled_inbox();
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    permit = reserve(stalled.as_ref()), if stalled.is_some() => {
                        self.unstall(permit);
                    }
                    request = requests.recv() => match request {
                        Some(request) => self.handle(request),
                        None => return ControlFlow::Break(()),
                    },
                }
            };
            match outcome {
                Ok(established) => return ControlFlow::Continue(established),
                Err(error) if error.code == crate::Code::AuthFailed && !refused => {
                    refused = true;
                    self.counters.auth_failure();
                    self.tell_all(|| Incoming::Trouble(error.clone()));
                }
                Err(_) => {}
            }
        }
    }

    /// A connection stands: announce everybody, send again what was not acknowledged.
    fn connected(&mut self, dialect: Dialect, known: Known) {
        self.connection += 1;
        self.deaf = !dialect.understands_leave;
        self.heard_at = Instant::now();
        self.dialect = dialect;
        self.connected = true;
        self.state.connected.store(true, Ordering::Relaxed);
        self.all_announced(known);
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.write_announce(&user);
        }
        self.outbox.forget_overdue(Instant::now());
        let frames: Vec<_> = self.outbox.messages.values().map(frame).collect();
        self.writes.extend(frames);
        self.outbox.unconfirmed = self.outbox.messages.values().map(|m| m.id.clone()).collect();
        self.confirm_unacknowledged();
        self.tell_all(|| Incoming::Connected);
    }

    fn disconnected(&mut self) {
        self.connected = false;
        self.state.connected.store(false, Ordering::Relaxed);
        self.writes.clear();
        self.barriers.clear();
        self.asked_aside = 0;
        self.outbox.unconfirmed.clear();
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Attach { user, attachment, bundle, inbox, done } => {
                let attached = Some(done);
                let known = User { attachment, bundle: bundle.clone(), inbox, attached };
                self.users.insert(user.clone(), known);
                // The relay does not tell a socket of its own users.
                self.tell_watchers(&user, bundle);
                if self.connected {
                    self.write_announce(&user);
                }
            }
            Request::Quiet { .. } => {} // what is not acknowledged stays in the relay
            Request::Detach { user, attachment, done } => {
                if self.users.get(&user).is_some_and(|u| u.attachment == attachment)
                    && let Some(left) = self.users.remove(&user)
                {
                    self.left(user, left.bundle, done);
                }
            }
            Request::Watch { user, peer } => {
                self.directory.watch(user.clone(), &peer);
                self.answer_watch(user, peer);
            }
            Request::Refresh { user, peer } => self.answer_watch(user, peer),
            Request::Unwatch { user, peer } => self.directory.unwatch(&user, &peer),
            Request::Send(messages) => messages.into_iter().for_each(|m| self.send(m)),
            Request::Committed(deliveries) => self.committed(deliveries),
        }
    }

    fn left(&mut self, user: Arc<str>, bundle: PublicKeyBundle, done: oneshot::Sender<()>) {
        self.directory.unwatch_all(&user);
        self.outbox.forget_from(&user);
        if !self.connected {
            let _nobody_waits = done.send(());
        } else if self.dialect.understands_leave {
            self.write(&ClientFrame::Leave { user: user.to_string() });
            self.barrier(Barrier::Left(done));
        } else {
            aside::leave(self.way(), announce(&user, &bundle), done);
        }
    }

    fn way(&self) -> Way {
        let (url, config) = (self.url.clone(), self.config.clone());
        Way { url, config, connector: self.connector.clone() }
    }

    /// Looks at who is known to the relay, once our own announcements have reached it.
    fn look_aside(&mut self) {
        if std::mem::take(&mut self.deaf) && self.connected {
            self.barrier(Barrier::Alive);
            self.asked_aside = self.last_barrier;
        }
    }

    fn answer_watch(&mut self, user: Arc<str>, peer: String) {
        let incoming = match self.directory.get(&peer) {
            Some(bundle) => Incoming::Bundle { peer, bundle: Box::new(bundle.clone()) },
            None => {
                self.look_aside();
                Incoming::Unknown { peer }
            }
        };
        self.tell(user, incoming);
    }

    fn send(&mut self, message: Outgoing) {
        if self.connected {
            self.writes.push_back(frame(&message));
            self.outbox.unconfirmed.push(message.id.clone());
        }
        self.outbox.push(message);
    }

    /// Where the relay does not acknowledge, a pong proves that it has read the messages.
    fn confirm_unacknowledged(&mut self) {
        let ids = std::mem::take(&mut self.outbox.unconfirmed);
        if !ids.is_empty() && !self.dialect.acknowledges && self.connected {
            self.barrier(Barrier::Sent(ids));
        }
    }

    fn committed(&mut self, deliveries: Vec<Delivery>) {
        let connection = self.connection;
        let deliveries: Vec<_> =
            deliveries.iter().filter(|d| d.connection == connection).map(|d| d.number).collect();
        if self.connected && !deliveries.is_empty() {
            self.write(&ClientFrame::Received { deliveries });
        }
    }

    fn write_announce(&mut self, user: &Arc<str>) {
        let Some(attached) = self.users.get(user) else { return };
        let announce = announce(user, &attached.bundle);
        self.write(&announce);
        self.barrier(Barrier::Announced(user.clone()));
    }

    fn write(&mut self, frame: &ClientFrame) {
        if let Ok(text) = serde_json::to_string(frame) {
            self.writes.push_back(Message::text(text));
        }
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
                    if let Some(done) = self.users.get_mut(&user).and_then(|u| u.attached.take()) {
                        let _nobody_waits = done.send(Ok(()));
                    }
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

    /// Takes this frame and those that have arrived behind it; tells whether one wants an answer.
    fn read(
        &mut self,
        first: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
        reader: &mut Reader,
    ) -> ControlFlow<(), bool> {
        let mut next = Some(first);
        let mut answer = false;
        let mut left = BATCH;
        self.heard_at = Instant::now();
        loop {
            match next {
                Some(Some(Ok(Message::Text(text)))) => self.frame(&text),
                Some(Some(Ok(Message::Binary(bytes)))) => {
                    if let Ok(text) = std::str::from_utf8(&bytes) {
                        self.frame(text);
                    }
                }
                Some(Some(Ok(Message::Pong(payload)))) => {
                    if let Ok(number) = payload.as_ref().try_into().map(u64::from_be_bytes) {
                        self.passed(number);
                    }
                }
                Some(Some(Ok(Message::Ping(_) | Message::Frame(_)))) => answer = true,
                Some(Some(Ok(Message::Close(_)) | Err(_)) | None) => return ControlFlow::Break(()),
                None => break,
            }
            left -= 1;
            if left == 0 || !self.stalled.is_empty() {
                break; // what is not taken here stays in the socket
            }
            next = reader.next().now_or_never();
        }
        ControlFlow::Continue(answer)
    }

    fn frame(&mut self, text: &str) {
        match socket::read(text) {
            Frame::Message { to, mut envelope, delivery } => {
                let connection = self.connection;
                envelope.delivery = delivery.map(|number| Delivery { connection, number });
                if let Some((user, _)) = self.users.get_key_value(to.as_str()) {
                    self.tell(user.clone(), Incoming::Message(envelope));
                }
            }
            Frame::Announce(user, bundle) => self.announced(user, *bundle),
            Frame::Delivered(id) => self.taken(id, SentStatus::Delivered),
            Frame::Queued(id) => self.taken(id, SentStatus::Queued),
            Frame::Refused(id, code, message) => self.refused(id, code, message),
            Frame::Handshake(Ok(dialect)) => self.dialect = dialect,
            Frame::Handshake(Err(error)) => self.tell_all(|| Incoming::Trouble(error.clone())),
            Frame::Other => {}
        }
    }

    fn all_announced(&mut self, known: Known) {
        for (user, bundle) in known {
            self.announced(user, bundle);
        }
    }

    /// The relay's word on a user. On users of this app ours is better: an echo says nothing new,
    /// and another socket's claim to be one of them is the relay's affair.
    fn announced(&mut self, user: String, bundle: PublicKeyBundle) {
        if !self.users.contains_key(user.as_str()) {
            self.tell_watchers(&user, bundle);
        }
    }

    fn tell_watchers(&mut self, user: &str, bundle: PublicKeyBundle) {
        for watcher in self.directory.announce(user, bundle.clone()) {
            let bundle = Box::new(bundle.clone());
            self.tell(watcher, Incoming::Bundle { peer: user.to_owned(), bundle });
        }
    }

    fn taken(&mut self, id: String, status: SentStatus) {
        if let Some(message) = self.outbox.take(&id) {
            self.tell(message.from, Incoming::Taken { id, status });
        }
    }

    fn refused(&mut self, id: String, code: RefusalCode, message: String) {
        let Some(refused) = self.outbox.take(&id) else { return };
        let error = match code {
            RefusalCode::FrameTooLarge => Error::payload_too_large(crate::MAX_CONTENT),
            _ => Error::delivery_failed(&refused.to),
        };
        let error = if message.is_empty() { error } else { error.with_message(message) };
        self.tell(refused.from, Incoming::Refused { id, error });
    }

    fn tell_all(&mut self, what: impl Fn() -> Incoming) {
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.tell(user, what());
        }
    }

    fn unstall(&mut self, permit: Result<mpsc::Permit<'_, Incoming>, mpsc::error::SendError<()>>) {
        if let Some((_, incoming)) = self.stalled.pop_front()
            && let Ok(permit) = permit
        {
            permit.send(incoming);
        }
    }

    fn tell(&mut self, user: Arc<str>, incoming: Incoming) {
        let Some(known) = self.users.get(&user) else { return };
        if !self.stalled.is_empty() {
            self.stalled.push_back((user, incoming)); // behind what waits already
        } else if let Err(mpsc::error::TrySendError::Full(incoming)) =
            known.inbox.try_send(incoming)
        {
            self.stalled.push_back((user, incoming));
        }
    }

    /// The inbox that what is stalled waits for; users who have left are skipped.
    fn stalled_inbox(&mut self) -> Option<mpsc::Sender<Incoming>> {
        while let Some((user, _)) = self.stalled.front() {
            match self.users.get(user) {
                Some(user) => return Some(user.inbox.clone()),
                None => drop(self.stalled.pop_front()),
            }
        }
        None
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

fn announce(user: &str, bundle: &PublicKeyBundle) -> ClientFrame {
    let public_keys = serde_json::to_value(bundle).ok();
    ClientFrame::Announce(Announce { user: user.to_owned(), public_keys })
}

fn frame(message: &Outgoing) -> Message {
    let frame = OutgoingMessage {
        id: &message.id,
        to: &message.to,
        from: &message.from,
        payload: Payload {
            ciphertext: message.ciphertext.as_str().into(),
            header: message.header.as_str().into(),
        },
        timestamp: message.timestamp_ms,
    };
    // Strings and a number: there is nothing in it that JSON could refuse.
    Message::text(serde_json::to_string(&frame).unwrap_or_default())
}

/// Messages that the relay has not acknowledged, in order of sending.
#[derive(Default)]
struct Outbox {
    messages: BTreeMap<u64, Outgoing>,
    numbers: HashMap<String, u64>,
    next: u64,
    /// Written since the last barrier.
    unconfirmed: Vec<String>,
}

impl Outbox {
    fn push(&mut self, message: Outgoing) {
        self.numbers.insert(message.id.clone(), self.next);
        self.messages.insert(self.next, message);
        self.next += 1;
    }

    fn take(&mut self, id: &str) -> Option<Outgoing> {
        self.messages.remove(&self.numbers.remove(id)?)
    }

    fn forget_overdue(&mut self, now: Instant) {
        self.retain(|message| message.deadline > now);
    }

    fn forget_from(&mut self, user: &str) {
        self.retain(|message| &*message.from != user);
    }

    fn retain(&mut self, keep: impl Fn(&Outgoing) -> bool) {
        let Self { messages, numbers, .. } = self;
        messages.retain(|_, message| {
            let kept = keep(message);
            if !kept {
                numbers.remove(&message.id);
            }
            kept
        });
    }
}
