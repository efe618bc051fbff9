//! What users ask of the link.

use std::sync::Arc;

use stvor_wire::{Announce, ClientFrame, PublicKeyBundle};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

use super::outbox::frame;
use super::{Barrier, User, WebSocketLink};
use crate::link::aside::{self, Way};
use crate::link::{Delivery, Incoming, Outgoing, Request};

impl WebSocketLink {
    pub(super) fn handle(&mut self, request: Request) {
        match request {
            Request::Attach { user, attachment, bundle, inbox, done } => {
                let attached = Some(done);
                let known = User {
                    attachment,
                    bundle: bundle.clone(),
                    is_here: false,
                    inbox,
                    attached,
                    unpublished: Vec::new(),
                    prekeys_left: None,
                };
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
            Request::Announce { user, bundle } => self.announce_anew(user, bundle),
            Request::Publish { user, prekeys } => self.publish(&user, prekeys),
            Request::Lookup { user, peer } => self.look_up(user, peer),
            Request::Send(messages) => messages.into_iter().for_each(|m| self.send(m)),
            Request::Wake => {} // taken notice of while there is no connection
            Request::Committed(deliveries) => self.committed(deliveries),
        }
    }

    fn announce_anew(&mut self, user: Arc<str>, bundle: PublicKeyBundle) {
        let Some(attached) = self.users.get_mut(&user) else { return };
        attached.bundle = bundle.clone();
        self.tell_watchers(&user, bundle);
        if self.connected {
            self.write_announce(&user);
        }
    }

    pub(super) fn left(
        &mut self,
        user: Arc<str>,
        bundle: PublicKeyBundle,
        done: oneshot::Sender<()>,
    ) {
        self.directory.unwatch_all(&user);
        self.forget_lookups(&user);
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

    pub(super) fn way(&self) -> Way {
        let (url, config) = (self.url.clone(), self.config.clone());
        Way { url, config, connector: self.connector.clone() }
    }

    /// Looks at who is known to the relay, once our own announcements have reached it.
    pub(super) fn look_aside(&mut self) {
        if std::mem::take(&mut self.deaf) && self.connected {
            self.barrier(Barrier::Alive);
            self.asked_aside = self.last_barrier;
        }
    }

    fn answer_watch(&mut self, user: Arc<str>, peer: String) {
        let incoming = match self.known(&peer) {
            Some(bundle) => Incoming::Bundle { peer, bundle, announced: false },
            None => Incoming::Unknown { peer },
        };
        self.tell(user, incoming);
    }

    /// What was announced of a peer; if nothing was, a look from aside may find it.
    pub(super) fn known(&mut self, peer: &str) -> Option<Box<PublicKeyBundle>> {
        let known = self.directory.get(peer).map(|bundle| Box::new(bundle.clone()));
        if known.is_none() {
            self.look_aside();
        }
        known
    }

    pub(super) fn send(&mut self, message: Outgoing) {
        if self.connected {
            self.writes.push_back(frame(&message));
            self.outbox.unconfirmed.push(message.id.clone());
        }
        self.outbox.push(message);
    }

    /// Where the relay does not acknowledge, a pong proves that it has read the messages.
    pub(super) fn confirm_unacknowledged(&mut self) {
        let ids = std::mem::take(&mut self.outbox.unconfirmed);
        if !ids.is_empty() && !self.dialect.acknowledges && self.connected {
            self.barrier(Barrier::Sent(ids));
        }
    }

    pub(super) fn committed(&mut self, deliveries: Vec<Delivery>) {
        let connection = self.connection;
        let deliveries: Vec<_> =
            deliveries.iter().filter(|d| d.connection == connection).map(|d| d.number).collect();
        if self.connected && !deliveries.is_empty() {
            self.write(&ClientFrame::Received { deliveries });
        }
    }

    pub(super) fn write_announce(&mut self, user: &Arc<str>) {
        let Some(attached) = self.users.get_mut(user) else { return };
        attached.is_here = false;
        let announce = announce(user, &attached.bundle);
        self.write(&announce);
        self.barrier(Barrier::Announced(user.clone()));
    }

    pub(super) fn write(&mut self, frame: &ClientFrame) {
        if let Ok(text) = serde_json::to_string(frame) {
            self.writes.push_back(Message::text(text));
        }
    }
}

fn announce(user: &str, bundle: &PublicKeyBundle) -> ClientFrame {
    let public_keys = serde_json::to_value(bundle).ok();
    ClientFrame::Announce(Announce { user: user.to_owned(), public_keys })
}
