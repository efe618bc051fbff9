//! One-time prekeys: each is handed out to a single look-up, and not too many at once.
//!
//! To the relay they are numbered texts. A client whose peer has none left agrees on keys without
//! one, so a limit here costs a little secrecy ahead of time, and no message.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde::Deserialize;
use stvor_wire::OneTimePrekey;
use tracing::debug;

use super::State;
use super::sockets::SocketKey;
use super::users::UserKey;
use crate::frames::{self, Refusal};

/// Prekeys kept for one user, about 30 KiB: our clients keep 100 there, and the rest is for what
/// is uploaded before an answer has come. Those beyond are not taken.
const MAX_PREKEYS: usize = 200;

/// Longest prekey in bytes. A P-256 key in base64 takes 88.
const MAX_PREKEY_BYTES: usize = 128;

/// What a prekey takes beside its text.
const OVERHEAD: usize = 64;

/// With fewer than these the owner is told. There must be time to make more.
const LOW: usize = 25;

/// How fast one connection is given prekeys. A client that begins more conversations at once than
/// this is a service that starts, and can do without for some of them.
pub(super) const PER_SOCKET: Rate = Rate { burst: 100, every: Duration::from_secs(1) };

/// How fast one user's prekeys go, over all connections: a flood needs more than half an hour for
/// a hundred of them, in which an owner who is there has long uploaded more.
const PER_USER: Rate = Rate { burst: 20, every: Duration::from_secs(30) };

/// So many at once, and then one in each period.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    burst: u32,
    every: Duration,
}

/// A bucket of tokens, kept as the instant at which it is full again.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    full_at: Option<Instant>,
}

impl Allowance {
    /// Takes a token; false if there is none.
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + rate.every;
        let fits = full_at - now <= rate.every * rate.burst;
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }
}

/// The one-time prekeys of one user.
#[derive(Debug, Default)]
pub(super) struct Prekeys {
    waiting: VecDeque<OneTimePrekey>,
    /// Hashes of those handed out last, under keys that nobody else knows. A client that does not
    /// know whether its upload came through uploads again: what went out meanwhile must not go
    /// out twice.
    given: VecDeque<u64>,
    hash: RandomState,
    allowance: Allowance,
    /// The owner knows that few are left.
    told_low: bool,
}

impl Prekeys {
    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What they take of the relay's memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(cost).sum()
    }

    fn name(&self, prekey: &OneTimePrekey) -> u64 {
        self.hash.hash_one((prekey.id, &prekey.key))
    }

    /// Whether it is neither here nor was here lately. An id stands for one prekey.
    fn is_new(&self, prekey: &OneTimePrekey) -> bool {
        self.waiting.iter().all(|known| known.id != prekey.id)
            && !self.given.contains(&self.name(prekey))
    }

    fn hand_out(&mut self) -> Option<OneTimePrekey> {
        let prekey = self.waiting.pop_front()?;
        if self.given.len() == MAX_PREKEYS {
            self.given.pop_front();
        }
        self.given.push_back(self.name(&prekey));
        Some(prekey)
    }
}

fn cost(prekey: &OneTimePrekey) -> usize {
    OVERHEAD + prekey.key.len()
}

/// Whose keys these are, `keys` being JSON text: the identity key of a bundle, or else all of it.
fn identity(keys: &[u8]) -> Cow<'_, [u8]> {
    #[derive(Deserialize)]
    struct Bundle<'a> {
        #[serde(borrow, rename = "identityKey")]
        identity_key: Cow<'a, str>,
    }
    match serde_json::from_slice::<Bundle<'_>>(keys) {
        Ok(Bundle { identity_key: Cow::Borrowed(key) }) => key.as_bytes().into(),
        Ok(Bundle { identity_key: Cow::Owned(key) }) => key.into_bytes().into(),
        Err(_) => keys.into(),
    }
}

impl State {
    fn hands_out_prekeys_to(&self, socket: SocketKey) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| socket.hands_out_prekeys)
    }

    /// A client uploads prekeys of a user whom it has announced.
    pub(super) fn upload(&mut self, from: SocketKey, id: &str, prekeys: Vec<OneTimePrekey>) {
        if !self.hands_out_prekeys_to(from) {
            return self.unreadable(from);
        }
        match self.keep_prekeys(from, id, prekeys) {
            Ok(user) => self.tell_left(user),
            Err(refusal) => self.answer(from, frames::error(None, &refusal)),
        }
    }

    fn keep_prekeys(
        &mut self,
        from: SocketKey,
        id: &str,
        prekeys: Vec<OneTimePrekey>,
    ) -> Result<UserKey, Refusal> {
        let fits = |prekey: &OneTimePrekey| (1..=MAX_PREKEY_BYTES).contains(&prekey.key.len());
        if prekeys.len() > MAX_PREKEYS || !prekeys.iter().all(fits) {
            return Err(Refusal::INVALID_FRAME);
        }
        let key = self.users.on_socket(from, id).ok_or(Refusal::NOT_ANNOUNCED)?;
        let Some(user) = self.users.get_mut(key).filter(|user| user.keys.is_some()) else {
            return Err(Refusal::NOT_ANNOUNCED);
        };
        if self.stored_bytes + prekeys.iter().map(cost).sum::<usize>()
            > self.limits.max_stored_bytes
        {
            return Err(Refusal::STORAGE_FULL);
        }
        let kept = user.prekeys.get_or_insert_default();
        for prekey in prekeys {
            if kept.len() < MAX_PREKEYS && kept.is_new(&prekey) {
                self.stored_bytes += cost(&prekey);
                kept.waiting.push_back(prekey);
            }
        }
        debug!(user = id, "prekeys uploaded");
        Ok(key)
    }

    /// Tells a user's connection how many of its prekeys are left, if it uploads any.
    pub(super) fn tell_left(&mut self, key: UserKey) {
        let Some(user) = self.users.get_mut(key) else { return };
        let Some(socket) = user.socket.and_then(|socket| self.sockets.get_mut(&socket)) else {
            return;
        };
        if !socket.hands_out_prekeys {
            return;
        }
        let left = user.prekeys.as_ref().map_or(0, |prekeys| prekeys.len());
        if let Some(prekeys) = &mut user.prekeys {
            prekeys.told_low = left < LOW;
        }
        socket.send_text(frames::prekeys_left(&user.id, left), self.limits.max_queue_bytes);
    }

    /// A client asks for a user's keys and a prekey of theirs.
    pub(super) fn look_up(&mut self, from: SocketKey, id: &str, now: Instant) {
        if !self.hands_out_prekeys_to(from) {
            return self.unreadable(from);
        }
        let Some(socket) = self.sockets.get_mut(&from) else { return };
        let key = self.users.resolve(&socket.namespace, id);
        let user = key.and_then(|key| self.users.get_mut(key));
        let Some((user, keys)) = user.and_then(|user| {
            let keys = user.keys.as_ref()?.json();
            Some((user, keys))
        }) else {
            return self.answer(from, frames::unknown(id));
        };
        let waiting = user.prekeys.as_mut().filter(|prekeys| !prekeys.waiting.is_empty());
        let prekey = waiting.and_then(|prekeys| {
            let allowed =
                socket.lookups.take(PER_SOCKET, now) && prekeys.allowance.take(PER_USER, now);
            if allowed { prekeys.hand_out() } else { None }
        });
        self.stored_bytes -= prekey.as_ref().map_or(0, cost);
        let low = user.prekeys.as_ref().is_some_and(|p| p.len() < LOW && !p.told_low);
        self.answer(from, frames::found(id, &keys, prekey.as_ref()));
        if let Some(key) = key.filter(|_| low) {
            self.tell_left(key);
        }
    }

    /// Drops a user's prekeys if they belong to another identity than `keys`.
    pub(super) fn drop_foreign_prekeys(&mut self, key: UserKey, keys: &str) {
        let Some(user) = self.users.get_mut(key).filter(|user| user.prekeys.is_some()) else {
            return;
        };
        let same = user
            .keys
            .as_ref()
            .is_some_and(|known| identity(&known.json()) == identity(keys.as_bytes()));
        if !same && let Some(dropped) = user.prekeys.take() {
            self.stored_bytes -= dropped.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_gives_a_burst_and_then_one_in_each_period() {
        let rate = Rate { burst: 3, every: Duration::from_secs(10) };
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let mut taken = |at: u64, tries: u32| {
            let now = start + Duration::from_secs(at);
            (0..tries).filter(|_| allowance.take(rate, now)).count()
        };
        assert_eq!(taken(0, 5), 3);
        assert_eq!((taken(9, 5), taken(10, 5), taken(29, 5)), (0, 1, 1));
        assert_eq!(taken(1000, 5), 3, "it holds no more than the burst");
    }

    #[test]
    fn keys_are_told_apart_by_their_identity_where_they_have_one() {
        let bundle = |rest: &str| format!(r#"{{"identityKey":"me"{rest}}}"#);
        let (one, other) = (bundle(""), bundle(r#","signedPreKey":"new""#));
        assert_eq!(identity(one.as_bytes()), identity(other.as_bytes()));
        assert_eq!(identity(br#"{"identityKey":"m\u0065"}"#), identity(one.as_bytes()));
        assert_ne!(identity(br#"{"identityKey":"you"}"#), identity(one.as_bytes()));
        assert_ne!(identity(b"\"text\""), identity(b"\"other text\""));
    }
}
