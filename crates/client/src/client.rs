//! A handle on one connected user.

use std::sync::Arc;
use std::time::Duration;

use stvor_protocol::{IdentityKey, SafetyNumber};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::check_user_id;
use crate::events::{Content, SendOptions, Sent, SentStatus};
use crate::metrics::Counters;
use crate::user::{Command, Waiter};
use crate::{Error, MAX_CONTENT};

/// A connected user. Clones are the same user; the user leaves when told to, or when the last
/// clone and its app are dropped.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) user_id: Arc<str>,
    pub(crate) fingerprint: String,
    pub(crate) identity: IdentityKey,
    /// The app's.
    pub(crate) timeout: Duration,
    pub(crate) counters: Arc<Counters>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// Closes when the user is gone.
    pub(crate) stay: watch::Receiver<()>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// The user's id.
    pub fn user_id(&self) -> &str {
        &self.inner.user_id
    }

    /// SHA-256 of the user's identity key, 64 lower-case hexadecimal characters.
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// Sends `content` (at most [`MAX_CONTENT`] bytes) to `to`, in the order of these calls.
    ///
    /// `done` is called exactly once, on any thread: when the relay has the message, or with
    /// `INVALID_ARGUMENT`, `PAYLOAD_TOO_LARGE`, `CLIENT_NOT_READY`, `RECIPIENT_NOT_FOUND`,
    /// `RECIPIENT_TIMEOUT`, `IDENTITY_CHANGED`, `DELIVERY_FAILED`, `RELAY_UNAVAILABLE`,
    /// `QUOTA_EXCEEDED`, `RATE_LIMITED`, `AUTH_FAILED` or `STORAGE_FAILED`.
    pub fn send(
        &self,
        to: String,
        content: Content,
        options: SendOptions,
        done: impl FnOnce(Result<Sent, Error>) + Send + 'static,
    ) {
        if let Err(error) = self.check(&to, content.as_bytes(), &options) {
            return done(Err(error));
        }
        let (began, counters) = (Instant::now(), self.inner.counters.clone());
        let done = move |outcome: Result<Sent, Error>| {
            match outcome.as_ref().map(|sent| sent.status) {
                Ok(SentStatus::Received) => counters.receipt.observe(began.elapsed()),
                Ok(_) => counters.send.observe(began.elapsed()),
                Err(_) => {}
            }
            done(outcome);
        };
        let command = Command::Send { to, content, options, done: Box::new(done) };
        if let Err(mpsc::error::SendError(Command::Send { done, .. })) =
            self.inner.commands.send(command)
        {
            done(Err(Error::client_not_ready()));
        }
    }

    fn check(&self, to: &str, content: &[u8], options: &SendOptions) -> Result<(), Error> {
        check_user_id("to", to)?;
        if *to == *self.inner.user_id {
            return Err(Error::invalid_argument("to", "must be another user than the sender"));
        }
        if content.len() > MAX_CONTENT {
            return Err(Error::payload_too_large(MAX_CONTENT));
        }
        match options.timeout {
            Some(timeout) if timeout.is_zero() => {
                Err(Error::invalid_argument("timeout", "must be more than 0"))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the relay shows the keys of `user_id`: `true`, or `false` after `timeout`.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`; `CLIENT_NOT_READY` after the user has left.
    pub async fn wait_for_user(&self, user_id: &str, timeout: Duration) -> Result<bool, Error> {
        check_user_id("userId", user_id)?;
        let (done, outcome) = oneshot::channel();
        let (peer, waiter) = (user_id.to_owned(), Waiter::Known(done));
        self.command(Command::WaitForUser { peer, timeout, waiter })?;
        outcome.await.map_err(|_| Error::client_not_ready())
    }

    /// The number that this user and `peer_id` compare, and the identity key of the peer that it
    /// is of: the accepted one. A peer who is not known yet is waited for, for the app's timeout;
    /// their identity is pinned as at the first message. Costs some 4 ms, on another thread.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, `RECIPIENT_TIMEOUT`, `STORAGE_FAILED`; `IDENTITY_CHANGED` if the accepted
    /// identity is not known here, but only that another one is shown; `CLIENT_NOT_READY` after
    /// the user has left.
    pub async fn safety_number(&self, peer_id: &str) -> Result<(SafetyNumber, IdentityKey), Error> {
        check_user_id("peerId", peer_id)?;
        if *peer_id == *self.inner.user_id {
            return Err(Error::invalid_argument("peerId", "must be another user"));
        }
        let (done, outcome) = oneshot::channel();
        let timeout = self.inner.timeout;
        let (peer, waiter) = (peer_id.to_owned(), Waiter::Identity(done, timeout));
        self.command(Command::WaitForUser { peer, timeout, waiter })?;
        let theirs = outcome.await.map_err(|_| Error::client_not_ready())??;
        let (client, peer, identity) = (self.clone(), peer_id.to_owned(), theirs.clone());
        let number = move || client.safety_number_with(&peer, &identity);
        let number = tokio::task::spawn_blocking(number).await;
        number.map(|number| (number, theirs)).map_err(|_| Error::client_not_ready())
    }

    /// The number of this user and a peer with that identity key. Costs some 4 ms.
    pub fn safety_number_with(&self, peer_id: &str, identity: &IdentityKey) -> SafetyNumber {
        let Inner { user_id, identity: ours, .. } = &*self.inner;
        SafetyNumber::new((user_id, ours), (peer_id, identity))
    }

    /// Accepts `fingerprint` as that of `peer_id`'s identity key, for this user.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, `STORAGE_FAILED`; `CLIENT_NOT_READY` after the user has left.
    pub async fn trust(&self, peer_id: &str, fingerprint: &str) -> Result<(), Error> {
        check_user_id("peerId", peer_id)?;
        let (done, outcome) = oneshot::channel();
        let (peer, fingerprint) = (peer_id.to_owned(), fingerprint.to_owned());
        self.command(Command::Trust { peer, fingerprint, done })?;
        outcome.await.map_err(|_| Error::client_not_ready())?
    }

    /// Says that the handlers of these messages have completed: sender and
    /// [`ticket`](crate::Received::ticket) of each, those of one sender in the order in which they
    /// were given. Until then a message is given again when the user connects anew.
    pub fn handled(&self, messages: Vec<(String, u64)>) {
        let _gone_and_given_again = self.command(Command::Handled { messages });
    }

    /// Leaves the relay. What was sent gets a moment to be taken; further calls do nothing.
    pub async fn disconnect(&self) {
        let (done, closed) = oneshot::channel();
        if self.command(Command::Close { done }).is_ok() {
            let _closed_or_gone = closed.await;
        }
        self.gone().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.commands.is_closed()
    }

    /// Waits until the user is gone.
    pub(crate) async fn gone(&self) {
        let mut stay = self.inner.stay.clone();
        while stay.changed().await.is_ok() {}
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        self.inner.commands.send(command).map_err(|_| Error::client_not_ready())
    }
}
