//! What the relay says, and whom it concerns.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use stvor_wire::{PublicKeyBundle, RefusalCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tracing::warn;

use super::{BATCH, WebSocketLink};
use crate::Error;
use crate::events::SentStatus;
use crate::link::socket::{self, Frame, Known, Reader};
use crate::link::{Delivery, Incoming};

impl WebSocketLink {
    /// Takes this frame and those that have arrived behind it; tells whether one wants an answer.
    pub(super) fn read(
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

    pub(super) fn frame(&mut self, text: &str) {
        match socket::read(text) {
            Frame::Message { to, mut envelope, delivery } => {
                let connection = self.connection;
                envelope.delivery = delivery.map(|number| Delivery { connection, number });
                if let Some((user, _)) = self.users.get_key_value(to.as_str()) {
                    self.tell(user.clone(), Incoming::Message(envelope));
                }
            }
            Frame::Announce(user, bundle) => {
                self.look_for_another(&user, &bundle);
                self.announced(user, *bundle);
            }
            Frame::Delivered(id) => self.taken(id, SentStatus::Delivered),
            Frame::Queued(id) => self.taken(id, SentStatus::Queued),
            Frame::Refused(id, code, message) => self.refused(id, code, message),
            Frame::Handshake(Ok(dialect)) => self.dialect = dialect,
            Frame::Handshake(Err(error)) => self.tell_all(|| Incoming::Trouble(error.clone())),
            Frame::PrekeysLeft(user, left) => self.prekeys_left(&user, left),
            Frame::LookedUp(peer, found) => self.looked_up(peer, found),
            Frame::Other => {}
        }
    }

    /// Tells a user of ours that another connection has announced them since this one did, and so
    /// is given what arrives for them; once after each announcement of ours.
    ///
    /// Our relay does not echo announcements. The documentation's does, so where it may be that
    /// one, only another identity is no echo.
    fn look_for_another(&mut self, user: &str, bundle: &PublicKeyBundle) {
        let echoes = !self.dialect.understands_leave;
        let Some((user, known)) = self.users.get_key_value(user) else { return };
        if !known.is_here || (echoes && known.bundle.identity_key == bundle.identity_key) {
            return;
        }
        let user = user.clone();
        warn!("user connected elsewhere");
        self.tell(user.clone(), Incoming::Trouble(Error::connected_elsewhere(&user)));
        if let Some(known) = self.users.get_mut(&user) {
            known.is_here = false;
        }
    }

    pub(super) fn all_announced(&mut self, known: Known) {
        for (user, bundle) in known {
            self.announced(user, bundle);
        }
    }

    /// The relay's word on a user. On users of this app ours is better: an echo says nothing new,
    /// and another connection's keys are not the ones that peers in this app should take.
    pub(super) fn announced(&mut self, user: String, bundle: PublicKeyBundle) {
        if !self.users.contains_key(user.as_str()) {
            self.tell_watchers(&user, bundle);
        }
    }

    pub(super) fn tell_watchers(&mut self, user: &str, bundle: PublicKeyBundle) {
        for watcher in self.directory.announce(user, bundle.clone()) {
            let (peer, bundle) = (user.to_owned(), Box::new(bundle.clone()));
            self.tell(watcher, Incoming::Bundle { peer, bundle, announced: true });
        }
    }

    pub(super) fn taken(&mut self, id: String, status: SentStatus) {
        if let Some(message) = self.outbox.take(&id) {
            self.tell(message.from, Incoming::Taken { id, status });
        }
    }

    pub(super) fn refused(&mut self, id: String, code: RefusalCode, message: String) {
        let Some(refused) = self.outbox.take(&id) else { return };
        let error = match code {
            RefusalCode::FrameTooLarge => Error::payload_too_large(crate::MAX_CONTENT),
            _ => Error::delivery_failed(&refused.to),
        };
        let error = if message.is_empty() { error } else { error.with_message(&message) };
        self.tell(refused.from, Incoming::Refused { id, error });
    }

    pub(super) fn tell_all(&mut self, what: impl Fn() -> Incoming) {
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.tell(user, what());
        }
    }

    pub(super) fn unstall(
        &mut self,
        permit: Result<mpsc::Permit<'_, Incoming>, mpsc::error::SendError<()>>,
    ) {
        if let Some((_, incoming)) = self.stalled.pop_front()
            && let Ok(permit) = permit
        {
            permit.send(incoming);
        }
    }

    pub(super) fn tell(&mut self, user: Arc<str>, incoming: Incoming) {
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
    pub(super) fn stalled_inbox(&mut self) -> Option<mpsc::Sender<Incoming>> {
        while let Some((user, _)) = self.stalled.front() {
            match self.users.get(user) {
                Some(user) => return Some(user.inbox.clone()),
                None => drop(self.stalled.pop_front()),
            }
        }
        None
    }
}
