//! One-time prekeys: ours on their way to the relay, and look-ups that bring those of peers.
//!
//! On relays that hand out none, look-ups are answered by what was announced.

use std::sync::Arc;

use stvor_wire::{ClientFrame, OneTimePrekey, PublicKeyBundle};

use super::{Barrier, WebSocketLink};
use crate::link::{Attachment, Incoming};

impl WebSocketLink {
    /// Uploads a user's prekeys. They are kept until a pong proves that the relay has read them,
    /// and uploaded again on the next connection otherwise; the relay recognises what it had.
    pub(super) fn publish(&mut self, user: &Arc<str>, prekeys: Vec<(u32, String)>) {
        let Some(attached) = self.users.get_mut(user) else { return };
        let prekeys: Vec<_> =
            prekeys.into_iter().map(|(id, key)| OneTimePrekey { id, key }).collect();
        if !self.connected {
            attached.unpublished.extend(prekeys); // for whatever relay comes
        } else if self.dialect.hands_out_prekeys {
            attached.unpublished.extend(prekeys.iter().cloned());
            self.upload(user, prekeys);
        }
    }

    /// A new connection: what the last one may not have carried.
    pub(super) fn publish_again(&mut self, user: &Arc<str>) {
        let Some(attached) = self.users.get_mut(user) else { return };
        if !self.dialect.hands_out_prekeys {
            attached.unpublished.clear();
        } else if !attached.unpublished.is_empty() {
            let prekeys = attached.unpublished.clone();
            self.upload(user, prekeys);
        }
    }

    fn upload(&mut self, user: &Arc<str>, prekeys: Vec<OneTimePrekey>) {
        let Some(attachment) = self.users.get(user).map(|user| user.attachment) else { return };
        let count = prekeys.len();
        self.write(&ClientFrame::Prekeys { user: user.to_string(), prekeys });
        self.barrier(Barrier::Published(user.clone(), attachment, count));
    }

    /// The relay has read an upload, and has said how many it has.
    pub(super) fn published(&mut self, user: Arc<str>, attachment: Attachment, count: usize) {
        let attached = self.users.get_mut(&user).filter(|u| u.attachment == attachment);
        let Some(attached) = attached else { return };
        attached.unpublished.drain(..count.min(attached.unpublished.len()));
        if attached.unpublished.is_empty()
            && let Some(left) = attached.prekeys_left.take()
        {
            self.tell(user, Incoming::PrekeysLeft { left });
        }
    }

    /// While prekeys are on their way the number is soon another: a user who heard that few are
    /// left would make more of them.
    pub(super) fn prekeys_left(&mut self, user: &str, left: usize) {
        let Some((user, _)) = self.users.get_key_value(user) else { return };
        let user = user.clone();
        match self.users.get_mut(&user).filter(|user| !user.unpublished.is_empty()) {
            Some(publishing) => publishing.prekeys_left = Some(left),
            None => self.tell(user, Incoming::PrekeysLeft { left }),
        }
    }

    /// Asks for a peer, unless the user has asked and waits still.
    pub(super) fn look_up(&mut self, user: Arc<str>, peer: String) {
        if self.connected && !self.dialect.hands_out_prekeys {
            return self.answer_from_directory(user, peer);
        }
        let waiting = self.lookups.entry(peer.clone()).or_default();
        if !waiting.contains(&user) {
            waiting.push_back(user);
            if self.connected {
                self.write(&ClientFrame::Lookup { user: peer });
            }
        }
    }

    /// A new connection: asks again for whomever the last one did not answer.
    pub(super) fn look_up_again(&mut self) {
        for (peer, waiting) in std::mem::take(&mut self.lookups) {
            for user in waiting {
                self.look_up(user, peer.clone());
            }
        }
    }

    /// Each answer is for the one who has waited longest: it holds a prekey for one.
    pub(super) fn looked_up(
        &mut self,
        peer: String,
        found: Option<(Box<PublicKeyBundle>, Option<OneTimePrekey>)>,
    ) {
        let Some(waiting) = self.lookups.get_mut(&peer) else { return };
        let user = waiting.pop_front();
        if waiting.is_empty() {
            self.lookups.remove(&peer);
        }
        let Some(user) = user else { return };
        let incoming = match found {
            Some((bundle, prekey)) => {
                let prekey = prekey.map(|OneTimePrekey { id, key }| (id, key));
                Incoming::Found { peer, bundle, prekey }
            }
            None => Incoming::Unknown { peer },
        };
        self.tell(user, incoming);
    }

    /// A user who has left waits for nothing.
    pub(super) fn forget_lookups(&mut self, user: &str) {
        self.lookups.retain(|_, waiting| {
            waiting.retain(|waits| **waits != *user);
            !waiting.is_empty()
        });
    }

    fn answer_from_directory(&mut self, user: Arc<str>, peer: String) {
        let incoming = match self.known(&peer) {
            Some(bundle) => Incoming::Found { peer, bundle, prekey: None },
            None => Incoming::Unknown { peer },
        };
        self.tell(user, incoming);
    }
}
