//! Sessions of wire 4: asking the relay for the keys to begin one, and beginning it; healing.

use std::time::Duration;

use stvor_protocol::{OneTimePrekey, Parties, PeerRecord};
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;

use super::User;
use super::peer::Seeking;
use super::step::{Begun, Step};
use crate::link::Request;

/// At most one new session to a peer in this time because of messages that do not open: whoever
/// can write in the peer's name, such as the relay, could otherwise have us make one for each.
const HEAL_INTERVAL: Duration = Duration::from_secs(10);

/// How long the relay may take to show the keys of somebody unknown who seems to know us, and how
/// many of them are waited for at a time.
const INTRODUCTION: Duration = Duration::from_secs(30);
const MAX_STRANGERS: usize = 1024;

impl User {
    /// Asks for the keys with which a first session begins.
    pub(super) fn seek_first(&mut self, peer_id: &str) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        if peer.seeking.is_none()
            && peer.record().is_none_or(|record| record.sending_session().is_none())
        {
            peer.seeking = Some(Seeking::First { answered: false });
            self.look_up(peer_id);
        }
    }

    /// The peer sends what we cannot open: begins a new session to it, once in a while.
    ///
    /// Without a one-time prekey: the relay may still hand out such as the peer has lost, and
    /// whoever makes us heal must not use up the peer's.
    pub(super) fn heal(&mut self, peer_id: &str, after_ms: u64, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let recently = peer.healed_at.is_some_and(|at| at.elapsed() < HEAL_INTERVAL);
        if recently || matches!(peer.seeking, Some(Seeking::Heal { .. })) {
            return;
        }
        // Anybody can write in names that nobody has: those are not waited for without end.
        let is_stranger = !peer.is_known();
        if is_stranger && self.strangers >= MAX_STRANGERS {
            return;
        }
        if is_stranger {
            peer.stranger_until = Some(Instant::now() + INTRODUCTION);
            self.strangers += 1;
        }
        peer.healed_at = Some(Instant::now());
        peer.seeking = Some(Seeking::Heal { after_ms });
        let is_shown = peer.announced.is_some();
        self.attention.insert(peer_id.to_owned());
        let (user, peer) = (self.id.clone(), peer_id.to_owned());
        if self.link.fetches_bundles() {
            self.link.request(Request::Refresh { user, peer });
        } else if is_shown {
            self.begin_sought(peer_id, step);
        } else {
            self.link.request(Request::Watch { user, peer });
        }
    }

    /// Ends the wait for a stranger: the keys were shown, or the time is over.
    pub(super) fn introduced(&mut self, peer_id: &str) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        if peer.stranger_until.take().is_some() {
            self.strangers = self.strangers.saturating_sub(1);
            if !peer.is_known() {
                peer.seeking = None;
            }
        }
    }

    fn look_up(&mut self, peer_id: &str) {
        self.attention.insert(peer_id.to_owned());
        let (user, peer) = (self.id.clone(), peer_id.to_owned());
        self.link.request(Request::Lookup { user, peer });
    }

    /// The relay answers a look-up.
    pub(super) async fn found(
        &mut self,
        peer_id: String,
        raw: PublicKeyBundle,
        one_time: Option<OneTimePrekey>,
        step: &mut Step,
    ) {
        self.looked_up(&peer_id, one_time);
        self.bundle(peer_id.clone(), raw, false, step).await;
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.one_time = None; // it belongs to this answer
        }
    }

    /// A look-up is answered: the first session need not wait any longer.
    pub(super) fn looked_up(&mut self, peer_id: &str, one_time: Option<OneTimePrekey>) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        peer.one_time = one_time;
        if let Some(Seeking::First { answered }) = &mut peer.seeking {
            *answered = true;
        }
    }

    /// So much was lost on its way to a peer that it may not be able to skip it: the messages that
    /// follow go over a new session.
    pub(super) fn begin_anew(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        peer.heard();
        if peer.seeking.is_some() {
            return;
        }
        peer.seeking = Some(Seeking::Anew);
        if peer.announced.is_some() {
            self.begin_sought(peer_id, step);
        } else {
            self.watch(peer_id);
        }
    }

    /// Begins the session that is sought, if the peer's keys are there.
    pub(super) fn begin_sought(&mut self, peer_id: &str, step: &mut Step) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(peer_id).filter(|peer| peer.blocked.is_none()) else {
            return;
        };
        let Some(seeking) = peer.seeking else { return };
        let Some(shown) = peer.announced.as_ref().filter(|shown| shown.verified.v4.is_some())
        else {
            peer.seeking = None; // nobody to begin with
            return;
        };
        let record = peer.record().cloned().unwrap_or_else(|| PeerRecord::new(now_ms));
        let after_ms = match seeking {
            Seeking::First { .. } if record.sending_session().is_some() => {
                peer.seeking = None; // the peer has begun meanwhile
                return;
            }
            Seeking::First { answered: false } => return,
            Seeking::First { answered: true } | Seeking::Anew => None,
            Seeking::Heal { after_ms } => Some(after_ms),
        };
        let is_first = matches!(seeking, Seeking::First { .. });
        let one_time = peer.one_time.take().filter(|_| is_first);
        let parties = Parties { sender: &self.id, recipient: peer_id };
        let begun = record.begin(
            self.own.prekeys(),
            parties,
            &shown.verified,
            one_time.as_ref(),
            now_ms,
            after_ms,
            &mut self.random,
        );
        peer.seeking = None;
        let Ok(begun) = begun else { return };
        peer.working = Some(begun);
        step.begin(
            peer_id,
            match seeking {
                Seeking::First { .. } => Begun::First,
                Seeking::Anew => Begun::Anew,
                Seeking::Heal { .. } => Begun::Healed,
            },
        );
        step.change(peer_id);
        self.deliver(peer_id, step);
    }
}
