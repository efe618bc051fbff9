//! All wire-4 sessions with one peer, and which of them is sent on.
//!
//! Sessions have a rank that both sides compute alike, and each side sends on the highest that it
//! holds. Whatever led to several (both began at once, one side lost its state, or was restored
//! from a backup), the sides agree as soon as each has seen the other's. A handshake is accepted
//! once: while its session is held it leads there, and what is dropped leaves its rank behind.
//!
//! Spec: docs/PROTOCOL.md, "Sessions of wire 4".

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::message::Message4;
use super::prekeys::Prekeys;
use super::rank::Rank;
use super::respond::Begun;
use super::session::{OpenedOn, RankedSession, SealedOn};
use super::{Decrypt4Error, MAX_CLOCK_SKEW_MS, Parties, SessionId};
use crate::header::HEADER_LENGTH;
use crate::keys::IdentityKey;
use crate::session::EncryptError;

/// How many sessions with one peer are held: the one that is sent on, and four for messages that
/// are still on their way.
pub const MAX_SESSIONS: usize = 5;

/// All sessions with one identity of a peer. There may be none yet. Clones share them and cost
/// some 50 ns.
#[derive(Clone)]
pub struct Sessions {
    pub(super) their_identity: IdentityKey,
    /// The one of highest rank.
    pub(super) sending: Option<RankedSession>,
    /// The others, highest rank first.
    pub(super) older: Arc<[RankedSession]>,
    /// The highest rank of a session of theirs that was dropped.
    pub(super) retired: Option<Rank>,
}

/// A message sealed by [`Sessions::encrypt`].
pub struct Sealed4 {
    /// The sessions to go on with.
    pub sessions: Sessions,
    /// The header, which travels in clear and is authenticated.
    pub header: [u8; HEADER_LENGTH],
    /// The trailer, which travels in clear and is authenticated: 26 bytes, and the handshake.
    pub trailer: Vec<u8>,
    /// The ciphertext: as long as the payload, and a tag of 16 bytes.
    pub ciphertext: Vec<u8>,
    /// The session that it was sealed on.
    pub session: SessionId,
}

/// What a message has brought, and what it changes once it is [taken](Sessions::take).
pub(crate) struct Opening {
    pub(crate) payload: Zeroizing<Vec<u8>>,
    pub(crate) timestamp_ms: u64,
    pub(crate) used_one_time: Option<u32>,
    pub(crate) change: SessionsChange,
}

/// What an opened message changes.
pub(crate) struct SessionsChange(Changed);

enum Changed {
    /// One session that is held.
    Held(Rank, OpenedOn),
    /// The peer has begun another.
    Begun(Box<RankedSession>),
}

/// A message opened by [`Sessions::decrypt`].
pub struct Opened4 {
    /// The sessions to go on with.
    pub sessions: Sessions,
    /// What was sealed; wiped when dropped.
    pub payload: Zeroizing<Vec<u8>>,
    /// When it was sealed, by the sender's clock: milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The one-time prekey that the message has used up, to be deleted in the same write:
    /// [`Prekeys::without_one_time`].
    pub used_one_time: Option<u32>,
    /// The session that it was opened on.
    pub session: SessionId,
}

impl Sessions {
    /// None yet.
    pub fn new(their_identity: IdentityKey) -> Self {
        Self {
            their_identity: their_identity.at_rest(),
            sending: None,
            older: Arc::default(),
            retired: None,
        }
    }

    /// The peer's identity key, which never changes here.
    pub fn their_identity(&self) -> &IdentityKey {
        &self.their_identity
    }

    /// The session that [`encrypt`](Self::encrypt) uses.
    pub fn sending(&self) -> Option<SessionId> {
        self.sending.as_ref().map(|session| session.rank.id)
    }

    /// Whether the peer has shown that it holds the sending session.
    pub fn is_answered(&self) -> bool {
        self.sending.as_ref().is_some_and(RankedSession::is_answered)
    }

    /// How many there are, at most [`MAX_SESSIONS`].
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Seals `payload` on the sending session. Draws 12 bytes from `rng`: the nonce.
    ///
    /// Costs a chain step, SHA-256 of what the message is bound to, and AES-GCM.
    ///
    /// # Errors
    ///
    /// Any [`EncryptError`].
    pub fn encrypt(
        &self,
        parties: Parties<'_>,
        now_ms: u64,
        payload: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed4, EncryptError> {
        let mut sessions = self.clone();
        let SealedOn { session, header, trailer, ciphertext } =
            sessions.encrypt_in_place(parties, now_ms, payload, rng)?;
        Ok(Sealed4 { sessions, header, trailer, ciphertext, session })
    }

    /// [`encrypt`](Self::encrypt) for whoever keeps the sessions so far elsewhere; unchanged after
    /// an error.
    pub(crate) fn encrypt_in_place(
        &mut self,
        parties: Parties<'_>,
        now_ms: u64,
        payload: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<SealedOn, EncryptError> {
        let sending = self.sending.as_mut().ok_or(EncryptError::NoSession)?;
        sending.seal(parties, now_ms, payload, rng)
    }

    /// Whether [`encrypt`](Self::encrypt) seals.
    pub(crate) fn can_encrypt(&self) -> bool {
        self.sending.as_ref().is_some_and(RankedSession::can_seal)
    }

    /// Opens a message on the session that it names, or begins that session with its handshake.
    /// `ours` are our prekeys.
    ///
    /// Draws 32 bytes from `rng` if, and only if, the message is genuine and brings a new ratchet
    /// key. Costs a chain step, SHA-256 and AES-GCM; with a new ratchet key two agreements and a
    /// key generation as well, with a new handshake six agreements, a signature check and a
    /// decapsulation on top of that.
    ///
    /// # Errors
    ///
    /// Any [`Decrypt4Error`]; `self` is unchanged then as always.
    pub fn decrypt(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        message: &Message4<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Opened4, Decrypt4Error> {
        let Opening { payload, timestamp_ms, used_one_time, change } =
            self.open(ours, parties, message, now_ms, rng)?;
        let mut sessions = self.clone();
        sessions.take(change);
        Ok(Opened4 { sessions, payload, timestamp_ms, used_one_time, session: message.session() })
    }

    /// What [`decrypt`](Self::decrypt) opens, and what it changes.
    pub(crate) fn open(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        message: &Message4<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Opening, Decrypt4Error> {
        let timestamp_ms = message.timestamp_ms();
        if timestamp_ms > now_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
            return Err(Decrypt4Error::FutureTimestamp);
        }
        let id = message.session();
        let (change, payload, used_one_time) = match self.iter().find(|held| held.rank.id == id) {
            Some(held) => {
                let (opened, payload) = held.open(message, parties, rng)?;
                (Changed::Held(held.rank, opened), payload, None)
            }
            None => {
                let Begun { session, payload, one_time } =
                    self.respond(ours, parties, message, now_ms, rng)?;
                (Changed::Begun(Box::new(session)), payload, one_time)
            }
        };
        let change = SessionsChange(change);
        Ok(Opening { payload, timestamp_ms, used_one_time, change })
    }

    /// Goes on after a message that these sessions, unchanged since, have [opened](Self::open).
    pub(crate) fn take(&mut self, change: SessionsChange) {
        match change.0 {
            Changed::Begun(session) => *self = self.with(*session),
            Changed::Held(rank, opened) => match &mut self.sending {
                Some(sending) if sending.rank == rank => sending.take(opened),
                _ => {
                    let older = Arc::make_mut(&mut self.older);
                    if let Some(held) = older.iter_mut().find(|held| held.rank == rank) {
                        held.take(opened);
                    }
                }
            },
        }
    }

    /// Replaces our ratchet key at once where nothing was sent on it yet; see
    /// [`Session::force_ratchet`](crate::Session::force_ratchet).
    #[must_use = "the sessions themselves are unchanged"]
    pub fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let sending = self.sending.as_ref().map(|session| session.force_ratchet(rng));
        Self { sending, ..self.clone() }
    }

    /// What is kept of the sessions when another identity takes the peer's place: none of them, but
    /// should this one come back, no handshake of it that we may have answered begins anything.
    pub(crate) fn ended(&self) -> Self {
        let theirs = self.iter().filter(|held| !held.is_ours).map(|held| held.rank);
        let retired = theirs.chain(self.retired).max();
        Self { retired, ..Self::new(self.their_identity.clone()) }
    }

    /// Highest rank first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RankedSession> {
        self.sending.iter().chain(self.older.iter())
    }

    /// The newest timestamp of the peer that proved genuine, on any session.
    pub(super) fn newest_ms(&self) -> u64 {
        self.iter().map(|session| session.newest_ms).max().unwrap_or(0)
    }

    /// With one more session, in its place by rank. Beyond [`MAX_SESSIONS`] one is dropped: the
    /// lowest that we began and the peer never answered, else the lowest. So whoever makes us
    /// begin sessions for nothing does not push out those that work.
    pub(super) fn with(&self, session: RankedSession) -> Self {
        let mut all: Vec<RankedSession> = self.iter().cloned().collect();
        let at = all.partition_point(|held| held.rank > session.rank);
        all.insert(at, session);
        let mut retired = self.retired;
        if all.len() > MAX_SESSIONS {
            let in_vain = |held: &RankedSession| held.is_ours && !held.is_answered();
            let last = all.len() - 1;
            let dropped =
                all.remove(all.iter().rposition(in_vain).filter(|&at| at > 0).unwrap_or(last));
            if !dropped.is_ours {
                retired = retired.max(Some(dropped.rank));
            }
        }
        let mut all = all.into_iter();
        let sending = all.next();
        let older = all.map(RankedSession::demoted).collect();
        let their_identity = self.their_identity.clone();
        Self { their_identity, sending, older, retired }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { their_identity: _, sending, older, retired: _ } = self;
        f.debug_struct("Sessions")
            .field("sending", sending)
            .field("older", older)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealed4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, header: _, trailer: _, ciphertext: _, session: _ } = self;
        f.debug_struct("Sealed4").field("sessions", sessions).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, payload: _, timestamp_ms, used_one_time, session: _ } = self;
        f.debug_struct("Opened4")
            .field("sessions", sessions)
            .field("timestamp_ms", timestamp_ms)
            .field("used_one_time", used_one_time)
            .finish_non_exhaustive()
    }
}
