//! The relay's state, whole, behind one lock that is held for microseconds and never across I/O.
//!
//! A message goes into its recipient's mailbox first and is written from there, so that a
//! connection that breaks loses nothing: it leaves the mailbox once it is acknowledged, or
//! written to a client that cannot acknowledge, or fetched over HTTP.

mod http;
mod mailbox;
mod prekeys;
mod recent;
mod sockets;
#[cfg(test)]
mod tests;
mod users;
mod websocket;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

pub(crate) use http::HttpError;
pub(crate) use mailbox::{MessageId, Sequence, Stored};
pub(crate) use sockets::SocketKey;
pub(crate) use users::UserKey;
pub(crate) use websocket::{Batch, Connected};

use crate::config::{Config, Limits};
use crate::frames::Refusal;
use mailbox::Mailbox;
use recent::{Namer, Recent};
use sockets::{Pending, Socket};
use users::Users;

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Hub {
    config: Config,
    started: Instant,
    namer: Namer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    users: Users,
    sockets: HashMap<SocketKey, Socket>,
    recent: Recent,
    /// Where the messages are that came over HTTP, by the ids that they were given.
    posted: HashMap<MessageId, (UserKey, Sequence)>,
    next_socket: u64,
    next_sequence: Sequence,
    /// Mailboxes, keys, one-time prekeys, and frames and bodies that have arrived in part.
    stored_bytes: usize,
    total_connections: u64,
    total_messages: u64,
    closing: bool,
}

/// What `GET /health` tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    pub(crate) uptime: f64,
    pub(crate) users: usize,
    pub(crate) messages: u64,
    pub(crate) connected_users: usize,
    pub(crate) connections: u64,
}

impl Hub {
    pub(crate) fn new(config: Config) -> Self {
        let limits = config.limits.clone();
        let state = State {
            recent: Recent::new(limits.max_remembered),
            limits,
            users: Users::default(),
            sockets: HashMap::new(),
            posted: HashMap::new(),
            next_socket: 0,
            next_sequence: 0,
            stored_bytes: 0,
            total_connections: 0,
            total_messages: 0,
            closing: false,
        };
        let (started, namer) = (Instant::now(), Namer::default());
        Self { config, started, namer, state: Mutex::new(state) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn health(&self) -> Health {
        let state = self.state();
        Health {
            uptime: self.started.elapsed().as_secs_f64(),
            users: state.users.projects().values().map(|project| project.users).sum(),
            messages: state.total_messages,
            connected_users: state.users.online,
            connections: state.total_connections,
        }
    }

    /// Adds `bytes` to what is held in all; false, and nothing added, if that is too much.
    fn hold(&self, bytes: usize) -> bool {
        let mut state = self.state();
        let fits = state.stored_bytes + bytes <= state.limits.max_stored_bytes;
        state.stored_bytes += if fits { bytes } else { 0 };
        fits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half-way; were it to, the state is still a relay's.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory for what has arrived in part, counted with what is stored. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    hub: &'a Hub,
    bytes: usize,
}

impl<'a> Reservation<'a> {
    pub(crate) fn new(hub: &'a Hub) -> Self {
        Self { hub, bytes: 0 }
    }

    /// Changes it to that many bytes; false if the relay may not hold as much.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            if !self.hub.hold(bytes - self.bytes) {
                return false;
            }
        } else if bytes < self.bytes {
            self.hub.state().stored_bytes -= self.bytes - bytes;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl State {
    /// Whether there is room for a frame of `len` bytes to `user`, or to a user yet to be made.
    fn room(&self, user: Option<UserKey>, len: usize) -> Result<(), Refusal> {
        let (cost, limits, empty) = (mailbox::cost(len), &self.limits, Mailbox::default());
        let user = user.and_then(|user| self.users.get(user));
        let mailbox = user.map_or(&empty, |user| &user.mailbox);
        if !mailbox.has_room(cost, limits.max_mailbox_messages, limits.max_mailbox_bytes) {
            return Err(Refusal::MAILBOX_FULL);
        }
        if self.stored_bytes + cost > limits.max_stored_bytes {
            return Err(Refusal::STORAGE_FULL);
        }
        Ok(())
    }

    /// Puts a message into the mailbox of `user` and, if it is online, on its way. There is room.
    fn store(&mut self, user: UserKey, frame: Bytes, id: Option<MessageId>) -> Sequence {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.total_messages += 1;
        let message = Stored { sequence, at: now(), id, unlisted: false, frame };
        self.stored_bytes += message.cost();
        let Some(recipient) = self.users.get_mut(user) else { return sequence };
        recipient.mailbox.push(message);
        if let Some(id) = id {
            self.posted.insert(id, (user, sequence));
        }
        if let Some(socket) = recipient.socket.and_then(|key| self.sockets.get_mut(&key)) {
            recipient.outstanding += 1;
            socket.push(Pending::Message { user, claim: recipient.claim, sequence });
        }
        sequence
    }

    /// Takes a message out of its mailbox for good.
    fn remove(&mut self, user: UserKey, sequence: Sequence) -> Option<Stored> {
        let removed = self.users.get_mut(user)?.mailbox.remove(sequence)?;
        self.stored_bytes -= removed.cost();
        if let Some(id) = removed.id {
            self.posted.remove(&id);
        }
        self.drop_if_empty(user);
        Some(removed)
    }

    /// Has the socket drop what it was to deliver to a user who has moved to another or is gone.
    fn forget(&mut self, key: SocketKey, user: UserKey, outstanding: usize) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        socket.users.retain(|other| *other != user);
        let users = &self.users;
        socket.stale(outstanding, |user, claim| users.is_claim(user, claim));
    }

    /// Forgets a user of whom there is nothing left to remember.
    fn drop_if_empty(&mut self, key: UserKey) {
        if self.users.get(key).is_some_and(|user| {
            user.keys.is_none()
                && !user.registered
                && user.socket.is_none()
                && user.mailbox.is_empty()
        }) {
            self.users.remove(key);
        }
    }

    /// Gives the user the keys, if there is room for them.
    fn set_keys(&mut self, user: UserKey, keys: &str) -> Result<(), Refusal> {
        self.check_keys(Some(keys))?;
        self.drop_foreign_prekeys(user, keys);
        let freed = self.users.set_keys(user, keys);
        let held = self.users.get(user).and_then(|user| user.keys.as_ref());
        self.stored_bytes += held.map_or(0, |keys| keys.frame.len());
        self.stored_bytes -= freed;
        Ok(())
    }

    fn check_keys(&self, keys: Option<&str>) -> Result<(), Refusal> {
        let len = keys.map_or(0, str::len);
        if len > self.limits.max_keys_bytes {
            return Err(Refusal::KEYS_TOO_LARGE);
        }
        if len > 0 && self.stored_bytes + len > self.limits.max_stored_bytes {
            return Err(Refusal::STORAGE_FULL);
        }
        Ok(())
    }

    /// Tells the other sockets about the user: those that have users, as the original does, and
    /// those of our clients. One of these connects before it knows its users, and would never hear
    /// of whoever was announced between its handshake and its own first announcement.
    fn broadcast(&mut self, user: UserKey, frame: &Bytes, except: Option<SocketKey>) {
        let Some(id) = self.users.get(user).map(|user| user.id.clone()) else { return };
        for (key, socket) in &mut self.sockets {
            let hears = (socket.speaks_ours || !socket.users.is_empty()) && Some(*key) != except;
            if hears && self.users.resolve(&socket.namespace, &id) == Some(user) {
                socket.send_text(frame.clone(), self.limits.max_queue_bytes);
            }
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
