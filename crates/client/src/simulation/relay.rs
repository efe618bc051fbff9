//! The relay and the network of a simulation: everything that may happen to a message.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use stvor_wire::PublicKeyBundle;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tracing::debug;

use crate::events::SentStatus;
use crate::link::{Envelope, Incoming, LinkState, Outgoing, Request};

/// How the relay treats messages: chances in 256.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) drop: u8,
    pub(super) duplicate: u8,
    pub(super) corrupt: u8,
    pub(super) replay: u8,
    /// Says that it has a message, and has not.
    pub(super) lie: u8,
    /// Takes a message and does not say so.
    pub(super) mute: u8,
    /// Longest delay of a message.
    pub(super) delay: Duration,
    /// Whether it keeps messages for users who are away.
    pub(super) keeps: bool,
}

impl Manners {
    pub(super) fn honest(keeps: bool) -> Self {
        let delay = Duration::from_millis(5);
        Self { drop: 0, duplicate: 0, corrupt: 0, replay: 0, lie: 0, mute: 0, delay, keeps }
    }

    pub(super) fn drawn(random: &mut ChaCha20Rng) -> Self {
        // Most schedules have some of the ills, few have all of them at once.
        let mut chance = |most: u32| {
            let ill = random.next_u32().is_multiple_of(2);
            if ill { (random.next_u32() % most) as u8 } else { 0 }
        };
        let (drop, duplicate, corrupt) = (chance(100), chance(100), chance(60));
        let (replay, lie, mute) = (chance(60), chance(60), chance(60));
        let delay = Duration::from_millis([1, 20, 800, 6000][random.next_u32() as usize % 4]);
        let keeps = random.next_u32().is_multiple_of(2);
        Self { drop, duplicate, corrupt, replay, lie, mute, delay, keeps }
    }
}

/// A user who is there.
struct Present {
    inbox: mpsc::Sender<Incoming>,
    watches: BTreeSet<String>,
    /// Asked for while the connection was broken: the link asks again when it stands.
    lookups: Vec<String>,
    state: Arc<LinkState>,
}

/// A message on its way.
struct Flying {
    to: String,
    envelope: Envelope,
}

pub(super) struct Relay {
    pub(super) manners: Manners,
    random: ChaCha20Rng,
    bundles: BTreeMap<String, PublicKeyBundle>,
    prekeys: BTreeMap<String, Vec<(u32, String)>>,
    present: BTreeMap<String, Present>,
    /// Whose connection is broken.
    away: BTreeMap<String, Present>,
    mailboxes: BTreeMap<String, Vec<Envelope>>,
    flying: BTreeMap<(Instant, u64), Flying>,
    recorded: Vec<(String, Envelope)>,
    count: u64,
    /// What was sent so far.
    trace: DefaultHasher,
}

fn copy(envelope: &Envelope) -> Envelope {
    Envelope {
        id: envelope.id.clone(),
        from: envelope.from.clone(),
        header: envelope.header.clone(),
        ciphertext: envelope.ciphertext.clone(),
        timestamp_ms: envelope.timestamp_ms,
        delivery: None,
    }
}

/// Messages that the relay remembers for replays.
const RECORDED: usize = 64;

impl Relay {
    pub(super) fn new(manners: Manners, random: ChaCha20Rng) -> Self {
        Self {
            manners,
            random,
            bundles: BTreeMap::new(),
            prekeys: BTreeMap::new(),
            present: BTreeMap::new(),
            away: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            flying: BTreeMap::new(),
            recorded: Vec::new(),
            count: 0,
            trace: DefaultHasher::new(),
        }
    }

    fn chance(&mut self, of_256: u8) -> bool {
        self.random.next_u32() as u8 <= of_256 && of_256 > 0
    }

    fn tell(&self, user: &str, incoming: Incoming) {
        if let Some(present) = self.present.get(user) {
            // Sized for everything that one schedule sends.
            let _gone = present.inbox.try_send(incoming);
        }
    }

    /// A user's task asks for something.
    pub(super) fn request(&mut self, state: &Arc<LinkState>, request: Request) {
        match &request {
            Request::Attach { user, .. } => debug!(user = &**user, "attaches"),
            Request::Watch { user, peer } => debug!(user = &**user, peer, "watches"),
            Request::Refresh { user, peer } => debug!(user = &**user, peer, "asks who it is"),
            Request::Lookup { user, peer } => debug!(user = &**user, peer, "looks up"),
            Request::Announce { user, .. } => debug!(user = &**user, "announces"),
            _ => {}
        }
        match request {
            Request::Attach { user, bundle, inbox, done, .. } => {
                let (watches, lookups) = (BTreeSet::new(), Vec::new());
                let present = Present { inbox, watches, lookups, state: state.clone() };
                state.connected.store(true, Ordering::Relaxed);
                self.present.insert(user.to_string(), present);
                self.announce(&user, bundle);
                let left = self.prekeys.get(&*user).map_or(0, Vec::len);
                self.tell(&user, Incoming::PrekeysLeft { left });
                for envelope in self.mailboxes.remove(&*user).unwrap_or_default() {
                    self.fly(&user, envelope);
                }
                let _gone = done.send(Ok(()));
            }
            Request::Announce { user, bundle } => self.announce(&user, bundle),
            Request::Detach { user, done, .. } => {
                self.absent(&user);
                let _gone = done.send(());
            }
            Request::Watch { user, peer } | Request::Refresh { user, peer } => {
                if let Some(present) = self.present.get_mut(&*user) {
                    present.watches.insert(peer.clone());
                }
                match self.bundles.get(&peer).cloned() {
                    Some(bundle) => {
                        let bundle = Box::new(bundle);
                        self.tell(&user, Incoming::Bundle { peer, bundle, announced: false });
                    }
                    None => self.tell(&user, Incoming::Unknown { peer }),
                }
            }
            Request::Unwatch { user, peer } => {
                if let Some(present) = self.present.get_mut(&*user) {
                    present.watches.remove(&peer);
                }
            }
            Request::Publish { user, prekeys } => {
                let kept = self.prekeys.entry(user.to_string()).or_default();
                kept.extend(prekeys);
            }
            Request::Lookup { user, peer } => match self.away.get_mut(&*user) {
                Some(away) => away.lookups.push(peer),
                None => self.look_up(&user, peer),
            },
            Request::Send(messages) => {
                for message in messages {
                    self.sent(message);
                }
            }
            Request::Quiet { .. } | Request::Wake | Request::Committed(_) => {}
        }
    }

    fn look_up(&mut self, user: &str, peer: String) {
        let found = match self.bundles.get(&peer).cloned() {
            Some(bundle) => {
                let prekey = self.prekeys.get_mut(&peer).and_then(Vec::pop);
                Incoming::Found { peer, bundle: Box::new(bundle), prekey }
            }
            None => Incoming::Unknown { peer },
        };
        self.tell(user, found);
    }

    fn announce(&mut self, user: &str, bundle: PublicKeyBundle) {
        self.bundles.insert(user.to_owned(), bundle.clone());
        let watching: Vec<String> = self
            .present
            .iter()
            .filter(|(_, present)| present.watches.contains(user))
            .map(|(id, _)| id.clone())
            .collect();
        for id in watching {
            let (peer, bundle) = (user.to_owned(), Box::new(bundle.clone()));
            self.tell(&id, Incoming::Bundle { peer, bundle, announced: true });
        }
    }

    /// The user's process or connection is gone.
    pub(super) fn absent(&mut self, user: &str) {
        self.away.remove(user);
        if let Some(present) = self.present.remove(user) {
            present.state.connected.store(false, Ordering::Relaxed);
        }
    }

    /// The user's connection breaks: nothing reaches the user until it stands again.
    pub(super) fn disconnected(&mut self, user: &str) {
        if let Some(present) = self.present.remove(user) {
            self.away.insert(user.to_owned(), present);
        }
    }

    /// A broken connection stands again.
    pub(super) fn reconnected(&mut self, user: &str) {
        let Some(mut present) = self.away.remove(user) else { return };
        present.state.connected.store(true, Ordering::Relaxed);
        let lookups = std::mem::take(&mut present.lookups);
        self.present.insert(user.to_owned(), present);
        self.tell(user, Incoming::Connected);
        lookups.into_iter().for_each(|peer| self.look_up(user, peer));
        if let Some(bundle) = self.bundles.get(user).cloned() {
            self.announce(user, bundle);
        }
        for envelope in self.mailboxes.remove(user).unwrap_or_default() {
            self.fly(user, envelope);
        }
    }

    /// The relay restarts: it forgets everything but who is connected.
    pub(super) fn forget(&mut self) {
        self.mailboxes.clear();
        self.prekeys.clear();
        self.flying.clear();
        let present: Vec<String> = self.present.keys().cloned().collect();
        for user in present {
            self.tell(&user, Incoming::PrekeysLeft { left: 0 });
            self.tell(&user, Incoming::Connected);
        }
    }

    fn sent(&mut self, message: Outgoing) {
        let envelope = Envelope {
            id: message.id.clone(),
            from: message.from.to_string(),
            header: message.header,
            ciphertext: message.ciphertext,
            timestamp_ms: Some(message.timestamp_ms),
            delivery: None,
        };
        let to = message.to;
        (&envelope.id, &to, &envelope.header, &envelope.ciphertext).hash(&mut self.trace);
        let (lies, drops) = (self.chance(self.manners.lie), self.chance(self.manners.drop));
        let (mute, is_there) = (self.chance(self.manners.mute), self.present.contains_key(&to));
        debug!(from = envelope.from, to, id = envelope.id, lies, drops, mute, "a message is sent");
        if !mute && (lies || !drops) {
            let status = match (self.manners.keeps, is_there) {
                (true, true) => SentStatus::Delivered,
                (true, false) => SentStatus::Queued,
                (false, _) => SentStatus::Sent,
            };
            self.tell(&message.from, Incoming::Taken { id: message.id, status });
        }
        if lies || drops {
            return;
        }
        if self.recorded.len() < RECORDED {
            self.recorded.push((to.clone(), copy(&envelope)));
        }
        if self.chance(self.manners.duplicate) {
            self.fly(&to, copy(&envelope));
        }
        if self.chance(self.manners.corrupt) {
            let corrupted = self.corrupted(copy(&envelope));
            self.fly(&to, corrupted);
        }
        if self.chance(self.manners.replay) && !self.recorded.is_empty() {
            let at = self.random.next_u32() as usize % self.recorded.len();
            let (to, old) = (self.recorded[at].0.clone(), copy(&self.recorded[at].1));
            self.fly(&to, old);
        }
        self.fly(&to, envelope);
    }

    /// With one character changed somewhere, or another sender.
    fn corrupted(&mut self, mut envelope: Envelope) -> Envelope {
        let field = match self.random.next_u32() % 3 {
            0 => &mut envelope.header,
            1 => &mut envelope.ciphertext,
            _ => {
                let users: Vec<&String> = self.bundles.keys().collect();
                let at = self.random.next_u32() as usize % users.len();
                envelope.from = users[at].clone();
                return envelope;
            }
        };
        let at = self.random.next_u32() as usize % field.len().max(1);
        let replaced = if field.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
        field.replace_range(at..at + 1, replaced);
        envelope
    }

    fn fly(&mut self, to: &str, envelope: Envelope) {
        let most = self.manners.delay.as_millis() as u64 + 1;
        let delay = Duration::from_millis(self.random.next_u64() % most);
        self.count += 1;
        let flying = Flying { to: to.to_owned(), envelope };
        self.flying.insert((Instant::now() + delay, self.count), flying);
    }

    /// A fingerprint of every sealed message that was sent.
    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// When the next message lands.
    pub(super) fn next_landing(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// Lands what is due.
    pub(super) fn land(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= now
        {
            let Flying { to, envelope } = entry.remove();
            let is_there = self.present.contains_key(&to);
            debug!(from = envelope.from, to, id = envelope.id, is_there, "a message lands");
            if self.present.contains_key(&to) {
                self.tell(&to, Incoming::Message(envelope));
            } else if self.manners.keeps {
                self.mailboxes.entry(to).or_default().push(envelope);
            }
        }
    }
}
