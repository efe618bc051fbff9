//! What WebSocket connections do to the state.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use stvor_wire::{FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS};
use tokio::sync::Notify;
use tracing::debug;

use super::mailbox::{Sequence, Stored};
use super::recent::{Name, Taken};
use super::sockets::{Pending, Socket, SocketKey};
use super::users::UserKey;
use super::{Hub, State, now};
use crate::frames::{self, ClientFrame, Message, Refusal};
use crate::token::Namespace;
use crate::websocket::Frame;

/// Bytes that are written at a time.
const BATCH_BYTES: usize = 64 << 10;

/// A connection's place in the hub.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) key: SocketKey,
    /// Notified when there is something to write.
    pub(crate) wake: Arc<Notify>,
}

/// Frames to be written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) frames: Vec<Frame>,
    /// Messages that leave their mailboxes once the frames are written.
    pub(crate) leaving: Vec<(UserKey, Sequence)>,
    /// There is more to be taken.
    pub(crate) more: bool,
    /// The connection is to be dropped.
    pub(crate) doomed: bool,
}

impl Batch {
    /// Adds a message; returns its bytes.
    fn deliver(&mut self, to: &mut Socket, user: UserKey, claim: u64, message: &Stored) -> usize {
        let frame = message.frame.clone();
        let bytes = frame.len();
        self.frames.push(if to.acknowledges {
            Frame::Deliver { delivery: to.deliver(user, claim, message.sequence), message: frame }
        } else {
            self.leaving.push((user, message.sequence));
            Frame::Text(frame)
        });
        bytes
    }
}

impl Hub {
    /// Adds a connection whose token was accepted: the handshake and all known users await it.
    pub(crate) fn connect(&self, namespace: Namespace, wanted: Option<&str>) -> Connected {
        let named =
            |feature: &str| wanted.is_some_and(|w| w.split(',').any(|w| w.trim() == feature));
        let features = [FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS];
        let features: Vec<String> =
            features.into_iter().filter(|f| named(f)).map(Into::into).collect();
        let mut state = self.state();
        let mut socket = Socket::new(namespace, named(FEATURE_ACK), !features.is_empty());
        socket.hands_out_prekeys = named(FEATURE_PREKEYS);
        let key = SocketKey(state.next_socket);
        state.next_socket += 1;
        state.total_connections += 1;
        socket.send_text(frames::welcome(features), usize::MAX);
        socket.push(Pending::Replay { next: 0, end: state.users.announced_end() });
        if state.closing {
            socket.send(GOING_AWAY, usize::MAX);
        }
        let wake = socket.wake.clone();
        state.sockets.insert(key, socket);
        Connected { key, wake }
    }

    /// Takes a connection's users offline, at once, and queues the close frame.
    pub(crate) fn close(&self, key: SocketKey, close: Frame) {
        let mut state = self.state();
        state.leave_all(key);
        state.send(key, close);
    }

    /// Removes a connection; its users are offline.
    pub(crate) fn disconnect(&self, key: SocketKey) {
        let mut state = self.state();
        state.leave_all(key);
        state.sockets.remove(&key);
    }

    /// Takes what one text message says.
    pub(crate) fn frame(&self, from: SocketKey, text: &str) {
        let frame = ClientFrame::parse(text);
        let name = match &frame {
            Some(ClientFrame::Message(message)) => self.name(from, message),
            _ => None,
        };
        let mut state = self.state();
        match frame {
            Some(ClientFrame::Message(message)) => state.message(from, &message, name),
            Some(ClientFrame::Announce { user, keys }) => {
                if let Err(refusal) = state.announce(from, &user, keys) {
                    state.answer(from, frames::error(None, &refusal));
                }
            }
            Some(ClientFrame::Leave { user }) => state.leave(from, &user),
            Some(ClientFrame::Received(deliveries)) => state.received(from, &deliveries),
            Some(ClientFrame::Prekeys { user, prekeys }) => state.upload(from, &user, prekeys),
            Some(ClientFrame::Lookup { user }) => state.look_up(from, &user, Instant::now()),
            None => state.unreadable(from),
        }
    }

    /// The name by which a message is recognised that is sent again. Only ids that are strings,
    /// from clients that send again: others may repeat theirs.
    fn name(&self, from: SocketKey, message: &Message<'_>) -> Option<Name> {
        message.from?;
        message.id.filter(|id| id.starts_with('"'))?;
        let state = self.state();
        let socket = state.sockets.get(&from).filter(|socket| socket.acknowledges)?;
        let namespace = socket.namespace.clone();
        drop(state); // a large message takes its time
        Some(self.namer.name(&namespace, message.text))
    }

    /// Notes a sign of life.
    pub(crate) fn alive(&self, key: SocketKey) {
        if let Some(socket) = self.state().sockets.get_mut(&key) {
            socket.active = true;
        }
    }

    /// Whether the connection is to be dropped.
    pub(crate) fn is_doomed(&self, key: SocketKey) -> bool {
        self.state().sockets.get(&key).is_none_or(|socket| socket.doomed)
    }

    /// Queues a frame for one connection.
    pub(crate) fn send(&self, key: SocketKey, frame: Frame) {
        self.state().send(key, frame);
    }

    /// Moves what is to be written next into `batch`.
    pub(crate) fn take(&self, key: SocketKey, batch: &mut Batch) {
        self.state().take(key, batch);
    }

    /// Notes that the messages were written to a client that cannot acknowledge them.
    pub(crate) fn written(&self, messages: &mut Vec<(UserKey, Sequence)>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state();
        for (user, sequence) in messages.drain(..) {
            state.remove(user, sequence);
        }
    }

    /// Pings sockets that were silent since the last call, drops those silent since the last ping.
    pub(crate) fn sweep(&self) {
        let mut state = self.state();
        let limit = state.limits.max_queue_bytes;
        for socket in state.sockets.values_mut() {
            if std::mem::take(&mut socket.active) {
                socket.pinged = false;
            } else if socket.pinged {
                socket.doomed = true;
                socket.wake.notify_one();
            } else {
                socket.pinged = true;
                socket.send(Frame::Ping, limit);
            }
        }
    }

    /// Says goodbye to every socket.
    pub(crate) fn close_all(&self) {
        let mut state = self.state();
        state.closing = true;
        for socket in state.sockets.values_mut() {
            socket.push_front(Pending::Frame(GOING_AWAY));
            socket.wake.notify_one();
        }
    }
}

const GOING_AWAY: Frame = Frame::Close(Some(1001), "Relay is shutting down");

impl State {
    fn send(&mut self, key: SocketKey, frame: Frame) {
        let limit = self.limits.max_queue_bytes;
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.send(frame, limit);
        }
    }

    pub(super) fn answer(&mut self, key: SocketKey, text: Bytes) {
        self.send(key, Frame::Text(text));
    }

    /// The original ignores what it cannot read, and so do we towards its clients.
    pub(super) fn unreadable(&mut self, from: SocketKey) {
        if self.sockets.get(&from).is_some_and(|socket| socket.speaks_ours) {
            self.answer(from, frames::error(None, &Refusal::INVALID_FRAME));
        }
    }

    /// Registers a user on a socket, tells the others, and gives it its mail.
    fn announce(&mut self, from: SocketKey, id: &str, keys: Option<&str>) -> Result<(), Refusal> {
        if id.len() > self.limits.max_user_id_bytes {
            return Err(Refusal::INVALID_USER_ID);
        }
        self.check_keys(keys)?;
        let Some(namespace) = self.sockets.get(&from).map(|s| s.namespace.clone()) else {
            return Ok(());
        };
        let user = self.user_for(&namespace, id)?;
        self.users.touch(user, now());
        if let Some(keys) = keys {
            self.set_keys(user, keys)?;
        }
        let moved = self.online(user, from);
        debug!(user = id, "announced");
        self.broadcast(user, &frames::announce(id, keys), Some(from));
        self.tell_left(user);
        if moved {
            self.deliver_mailbox(user, from);
        }
        Ok(())
    }

    /// The user whom an announcement means; made if there is none.
    fn user_for(&mut self, namespace: &Namespace, id: &str) -> Result<UserKey, Refusal> {
        match self.users.claim(namespace, id) {
            Some(user) => Ok(user),
            None => self.create(namespace, id),
        }
    }

    pub(super) fn create(&mut self, namespace: &Namespace, id: &str) -> Result<UserKey, Refusal> {
        if self.users.len() >= self.limits.max_users {
            return Err(Refusal::TOO_MANY_USERS);
        }
        Ok(self.users.create(namespace, id, now()))
    }

    /// Makes the socket the one that reads the user's mail. True if it was not before.
    fn online(&mut self, key: UserKey, socket: SocketKey) -> bool {
        let Some(user) = self.users.get_mut(key) else { return false };
        let before = user.socket.replace(socket);
        if before == Some(socket) {
            return false;
        }
        user.claim += 1;
        let outstanding = std::mem::take(&mut user.outstanding);
        match before {
            None => self.users.online += 1,
            Some(old) => self.forget(old, key, outstanding),
        }
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.users.push(key);
        }
        true
    }

    /// Takes a user off the socket; what it has not acknowledged stays in the mailbox.
    fn leave(&mut self, from: SocketKey, id: &str) {
        if let Some(user) = self.users.on_socket(from, id) {
            let outstanding = self.offline(user);
            self.forget(from, user, outstanding);
        }
    }

    /// Takes all users off the socket.
    fn leave_all(&mut self, from: SocketKey) {
        let Some(socket) = self.sockets.get_mut(&from) else { return };
        let users = std::mem::take(&mut socket.users);
        let gone: usize = users.into_iter().map(|user| self.offline(user)).sum();
        let (users, socket) = (&self.users, self.sockets.get_mut(&from));
        if let Some(socket) = socket {
            socket.stale(gone, |user, claim| users.is_claim(user, claim));
        }
    }

    /// Returns how much was outstanding.
    fn offline(&mut self, key: UserKey) -> usize {
        let Some(user) = self.users.get_mut(key) else { return 0 };
        user.socket = None;
        user.claim += 1;
        user.last_activity = now();
        let outstanding = std::mem::take(&mut user.outstanding);
        self.users.online -= 1;
        self.drop_if_empty(key);
        outstanding
    }

    fn deliver_mailbox(&mut self, key: UserKey, socket: SocketKey) {
        let end = self.next_sequence;
        let limit = self.limits.max_queue_bytes;
        let Some(user) = self.users.get_mut(key).filter(|user| !user.mailbox.is_empty()) else {
            return;
        };
        if let Some(socket) = self.sockets.get_mut(&socket) {
            user.outstanding += 1;
            let claim = user.claim;
            socket.push_limited(Pending::Mailbox { user: key, claim, next: 0, end }, limit);
        }
    }

    fn message(&mut self, from: SocketKey, message: &Message<'_>, name: Option<Name>) {
        let Some(socket) = self.sockets.get(&from) else { return };
        let namespace = socket.namespace.clone();
        if let Some(taken) = name.and_then(|name| self.recent.get(name)) {
            return self.taken(from, message, taken);
        }
        match self.accept(&namespace, message) {
            Ok(taken) => {
                if let Some(name) = name {
                    self.recent.insert(name, taken);
                }
                self.users.count_sent(&namespace);
                self.taken(from, message, taken);
            }
            Err(refusal) => self.answer(from, frames::error(message.id, &refusal)),
        }
    }

    fn accept(&mut self, namespace: &Namespace, message: &Message<'_>) -> Result<Taken, Refusal> {
        if message.to.len() > self.limits.max_user_id_bytes {
            return Err(Refusal::INVALID_USER_ID);
        }
        let user = self.users.resolve(namespace, &message.to);
        self.room(user, message.text.len())?;
        let user = match user {
            Some(user) => user,
            None => self.create(namespace, &message.to)?,
        };
        // Copied once, to its own size: the read buffer it lies in is used again.
        let frame = Bytes::copy_from_slice(message.text.as_bytes());
        Ok(Taken { user, sequence: self.store(user, frame, None) })
    }

    /// Tells the sender that a message is accepted: `queued` while it waits for somebody absent.
    fn taken(&mut self, from: SocketKey, message: &Message<'_>, taken: Taken) {
        let recipient = self.users.get(taken.user);
        let waits = recipient.is_some_and(|user| {
            user.socket.is_none() && user.mailbox.get(taken.sequence).is_some()
        });
        if waits {
            debug!(to = message.to.as_ref(), "queued");
            self.answer(from, frames::queued(message.id, &message.to));
        } else if message.from.is_some() {
            debug!(to = message.to.as_ref(), "forwarded");
            self.answer(from, frames::ack(message.id));
        }
    }

    fn received(&mut self, from: SocketKey, deliveries: &[u64]) {
        for delivery in deliveries {
            let Some(socket) = self.sockets.get_mut(&from) else { return };
            let Some((user, claim, sequence)) = socket.received(*delivery) else { continue };
            match self.users.claimed(user, claim) {
                Some(owner) => {
                    owner.outstanding -= 1;
                    self.remove(user, sequence);
                }
                None => socket.passed_over(),
            }
        }
    }

    fn take(&mut self, key: SocketKey, batch: &mut Batch) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            batch.doomed = true;
            return;
        };
        batch.doomed = socket.doomed;
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(pending) = socket.pop() else { break };
            match pending {
                Pending::Frame(frame) => {
                    bytes += frame.len();
                    batch.frames.push(frame);
                }
                Pending::Replay { next, end } => {
                    let Some((order, user)) = self.users.announced_from(next) else { continue };
                    if order >= end {
                        continue;
                    }
                    socket.push_front(Pending::Replay { next: order + 1, end });
                    let Some(user_) = self.users.get(user) else { continue };
                    if self.users.resolve(&socket.namespace, &user_.id) == Some(user)
                        && let Some(keys) = &user_.keys
                    {
                        bytes += keys.frame.len();
                        batch.frames.push(Frame::Text(keys.frame.clone()));
                    }
                }
                Pending::Message { user, claim, sequence } => {
                    let Some(owner) = self.users.claimed(user, claim) else {
                        socket.passed_over();
                        continue;
                    };
                    owner.outstanding -= 1;
                    if let Some(message) = owner.mailbox.get(sequence) {
                        bytes += batch.deliver(socket, user, claim, message);
                        owner.outstanding += usize::from(socket.acknowledges);
                    }
                }
                Pending::Mailbox { user, claim, next, end } => {
                    let Some(owner) = self.users.claimed(user, claim) else {
                        socket.passed_over();
                        continue;
                    };
                    let message = owner.mailbox.get_from(next).filter(|m| m.sequence < end);
                    let Some(message) = message else {
                        owner.outstanding -= 1;
                        continue;
                    };
                    let next = message.sequence + 1;
                    bytes += batch.deliver(socket, user, claim, message);
                    owner.outstanding += usize::from(socket.acknowledges);
                    socket.push_front(Pending::Mailbox { user, claim, next, end });
                }
            }
        }
        batch.more = socket.has_pending();
    }
}
