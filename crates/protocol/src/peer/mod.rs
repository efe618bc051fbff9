//! Everything kept about one peer, in one record: what one step changes, and one write saves.
//!
//! The two wires meet here. A peer who has wire 4 has [`Sessions`] and is never again spoken to in
//! wire 3: having them is the pin. A peer who has only wire 3 has a [`Record`]. What is delivered
//! and what waits for delivery belongs to neither: it outlives sessions, and even identities.
//!
//! Spec: docs/PROTOCOL.md, "Peer record".

mod imported;
mod legacy;
mod receiving;
mod saved;
mod user;

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bundle::VerifiedBundle;
use crate::delivery::{Content, Delivery, InboxItem, PayloadError, PushError, message_id};
use crate::keys::{IdentityKey, LocalKeys};
use crate::record::Record;
use crate::session::{EstablishError, Session};
use crate::wire4::{
    Decrypt4Error, OneTimePrekey, Parties, Prekeys, SessionId, Sessions, VerifiedV4, header_field,
};

pub use self::imported::ImportError;
use self::legacy::LegacyInbox;
pub use self::legacy::LegacyItem;
pub use self::saved::StoredError;
pub use self::user::UserRecord;

/// How many former identities of a peer are remembered. Each was replaced by a decision of the
/// user; beyond these, what was recorded of the oldest opens again if it is trusted back, and is
/// then known by its number only.
pub const MAX_FORMER_IDENTITIES: usize = 8;

/// What a peer's bundle says, verified.
#[derive(Debug, Clone)]
pub struct PeerKeys {
    /// The four fields of the original.
    pub bundle: VerifiedBundle,
    /// What is said of wire 4; nothing by those who do not have it.
    pub v4: Option<VerifiedV4>,
}

/// What we keep about one peer. Clones share it, and a step copies only the part that it changes.
#[derive(Clone)]
pub struct PeerRecord {
    /// Wire 3.
    legacy: Option<Arc<Record>>,
    /// A session of the original's, until the peer's keys are shown.
    imported: Option<Arc<Session>>,
    legacy_inbox: LegacyInbox,
    /// Wire 4, once the peer was seen with it.
    sessions: Option<Arc<Sessions>>,
    /// Identities that had wire 4 before another was accepted, without their sessions; the one
    /// replaced last comes last.
    former: Arc<Vec<Sessions>>,
    delivery: Arc<Delivery>,
    /// Until when the newest of the peer's bundles is valid.
    newest_bundle_ms: u64,
}

/// A sealed message: it leaves once the record that sealed it is committed.
pub struct SealedMessage {
    /// The number of the content in it, if there is one.
    pub seq: Option<u64>,
    /// The header field as it travels.
    pub header: String,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The time that it is stamped with.
    pub timestamp_ms: u64,
}

/// What a message of wire 4 has brought to the record that opened it.
pub struct OpenedMessage {
    /// What is the application's turn to handle now, in order.
    pub delivered: Vec<InboxItem>,
    /// The numbers of contents of ours that the peer's application has handled.
    pub handled: Vec<u64>,
    /// The one-time prekey that the peer has begun a session with: to be forgotten in the step
    /// that commits the record.
    pub used_one_time: Option<u32>,
}

/// Why a message of wire 4 was not received. The record is unchanged in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It could not be opened.
    #[error(transparent)]
    Decrypt(#[from] Decrypt4Error),
    /// It is genuine, but no client of ours writes such.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// There is no room for it now: the peer sends it again.
    #[error("too much waits to be handled")]
    Full,
}

impl OpenError {
    /// Whether the peer seems to have another state than we believe, which a new session mends.
    pub fn calls_for_a_new_session(self) -> bool {
        matches!(self, Self::Decrypt(error) if error.calls_for_a_new_session())
    }
}

impl PeerRecord {
    /// Nothing agreed, nothing sent, nothing received.
    pub fn new(now_ms: u64) -> Self {
        Self {
            legacy: None,
            imported: None,
            legacy_inbox: LegacyInbox::default(),
            sessions: None,
            former: Arc::default(),
            delivery: Arc::new(Delivery::new(now_ms)),
            newest_bundle_ms: 0,
        }
    }

    /// The record to go on with when this one comes from a store.
    #[must_use = "the record itself is unchanged"]
    pub fn resumed(&self, now_ms: u64) -> Self {
        self.with_delivery(self.delivery.resume(now_ms))
    }

    /// The identity with which something was agreed.
    pub fn their_identity(&self) -> Option<&IdentityKey> {
        let wire4 = self.sessions.as_deref().map(Sessions::their_identity);
        let wire3 = self.legacy.as_deref().map(Record::their_identity);
        wire4.or(wire3).or(self.imported.as_deref().map(Session::their_identity))
    }

    /// Whether the peer was seen with wire 4.
    pub fn speaks_wire4(&self) -> bool {
        self.sessions.is_some()
    }

    /// Whether this identity was seen with wire 4: the peer's, or one that the peer had before.
    pub fn has_seen_wire4_of(&self, identity: &IdentityKey) -> bool {
        self.sessions
            .as_deref()
            .into_iter()
            .chain(self.former.iter())
            .any(|s| s.their_identity() == identity)
    }

    /// The session that we send on.
    pub fn sending_session(&self) -> Option<SessionId> {
        self.sessions.as_deref().and_then(Sessions::sending)
    }

    /// Whether we send on a session of which the peer may not know, though it knows of us. Whoever
    /// never sent anything that opened is not reminded: anybody can claim a name.
    pub fn is_unanswered(&self) -> bool {
        let unanswered = |s: &Sessions| s.sending().is_some() && !s.is_answered();
        self.delivery.has_received() && self.sessions.as_deref().is_some_and(unanswered)
    }

    /// Until when the newest of the peer's bundles that we have taken is valid: one that ends
    /// earlier is an old one.
    pub fn newest_bundle_ms(&self) -> u64 {
        self.newest_bundle_ms
    }

    /// Whether something here waits for the peer or for the application, so that the record has to
    /// be looked at when the user comes back.
    pub fn is_active(&self) -> bool {
        self.delivery.outbox_len() > 0
            || self.delivery.next_deadline().is_some()
            || self.delivery.inbox().next().is_some()
            || !self.legacy_inbox.is_empty()
            || self.is_unanswered()
    }

    fn with_delivery(&self, delivery: Delivery) -> Self {
        Self { delivery: Arc::new(delivery), ..self.clone() }
    }
}

/// Keys and sessions.
impl PeerRecord {
    /// The record after the peer has shown these keys; `None` if that changes nothing.
    ///
    /// Another identity, which has been accepted, takes the place of the one so far: its sessions
    /// end, and what waits for delivery waits for the new one. `parties` are those of the peer's
    /// messages to us.
    pub fn following(
        &self,
        ours: &LocalKeys,
        theirs: &PeerKeys,
        parties: Parties<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<Self> {
        let identity = theirs.bundle.identity_key();
        let is_other = self.their_identity().is_some_and(|known| known != identity);
        let mut next = self.clone();
        let mut changed = is_other;
        if let Some(legacy) = &self.legacy {
            let followed = match legacy.their_identity() == identity {
                false => legacy.succeeded_by(ours, theirs.bundle.clone(), rng).ok(),
                true if *legacy.bundle() != theirs.bundle => {
                    legacy.with_bundle(ours, theirs.bundle.clone(), rng).ok()
                }
                true => None,
            };
            changed |= followed.is_some();
            next.legacy = followed.map(Arc::new).or(next.legacy);
        }
        if let Some(imported) = next.imported.take() {
            changed = true;
            if !is_other {
                let adopted = Record::adopting(&imported, ours, theirs.bundle.clone(), rng);
                next.legacy = adopted.ok().map(Arc::new);
            }
        }
        if is_other {
            next.succeed(identity);
            next.newest_bundle_ms = 0;
            // Numbers of the one who wrote so far say nothing of this one's.
            let (delivery, unhandled) = next.delivery.succeeded(now_ms);
            let id = |seq| message_id(parties.sender, parties.recipient, seq);
            next.legacy_inbox = next.legacy_inbox.adopting(LegacyInbox::former(unhandled, id));
            next.delivery = Arc::new(delivery);
        }
        if let Some(v4) = &theirs.v4 {
            changed |= next.sessions.is_none() || v4.valid_until_ms() > next.newest_bundle_ms;
            next.newest_bundle_ms = v4.valid_until_ms().max(next.newest_bundle_ms);
            next.sessions.get_or_insert_with(|| Arc::new(Sessions::new(identity.clone())));
        }
        changed.then_some(next)
    }

    /// Ends the sessions with the identity so far; takes up what is known of the next one.
    fn succeed(&mut self, identity: &IdentityKey) {
        let mut former = self.former.to_vec();
        let known = former.iter().position(|sessions| sessions.their_identity() == identity);
        let known = known.map(|at| former.remove(at));
        former.extend(self.sessions.as_deref().map(Sessions::ended));
        if former.len() > MAX_FORMER_IDENTITIES {
            former.remove(0);
        }
        (self.sessions, self.former) = (known.map(Arc::new), Arc::new(former));
    }

    /// Begins a session to a peer who has wire 4, and sends on it from now on. `after_ms` is when
    /// the session [began](crate::Message4::begun_ms) of what could not be opened, if that is why: then
    /// the first message also asks for everything that is missing.
    ///
    /// # Errors
    ///
    /// [`EstablishError`]: the keys are ours, or those of another identity.
    #[expect(clippy::too_many_arguments, reason = "a key agreement is between many things")]
    pub fn begin(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        theirs: &PeerKeys,
        one_time: Option<&OneTimePrekey>,
        now_ms: u64,
        after_ms: Option<u64>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let Some(v4) = &theirs.v4 else { return Err(EstablishError::IdentityChanged) };
        let fresh = || Arc::new(Sessions::new(theirs.bundle.identity_key().clone()));
        let sessions = self.sessions.clone().unwrap_or_else(fresh);
        let begun = sessions.begin(ours, parties, v4, one_time, now_ms, after_ms, rng)?;
        let delivery = match after_ms {
            Some(_) => Arc::new(self.delivery.ask_for_all(now_ms)),
            None => self.delivery.clone(),
        };
        let newest_bundle_ms = self.newest_bundle_ms.max(v4.valid_until_ms());
        let sessions = Some(Arc::new(begun));
        Ok(Self { sessions, delivery, newest_bundle_ms, ..self.clone() })
    }
}

/// Sending in wire 4. Sealing changes the record in place: of what it shares with no other, as the
/// second message of a step does not, nothing is copied.
impl PeerRecord {
    /// Puts a content into the outbox; see [`Delivery::push`].
    ///
    /// # Errors
    ///
    /// Any [`PushError`]; the record is unchanged then.
    pub fn push(&mut self, content: Content, prompt: bool) -> Result<u64, PushError> {
        Arc::make_mut(&mut self.delivery).push_in_place(content, prompt)
    }

    /// Whether there is a content to [`seal`](Self::seal).
    pub fn wants_sealing(&self) -> bool {
        self.delivery.wants_sealing()
    }

    fn can_seal(&self) -> bool {
        self.sessions.as_deref().is_some_and(Sessions::can_encrypt)
    }

    /// Seals the next content, new or again. `None` if there is none, or no session: the record is
    /// unchanged then.
    pub fn seal(
        &mut self,
        parties: Parties<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<SealedMessage> {
        if !self.wants_sealing() || !self.can_seal() {
            return None;
        }
        let (seq, payload) = Arc::make_mut(&mut self.delivery).seal_in_place(now_ms)?;
        self.seal_payload(Some(seq), &payload, parties, now_ms, rng)
    }

    /// Seals what is due by `until_ms` without a content: a receipt, a question. `None` if nothing is due, or
    /// there is no session: the record is unchanged then.
    pub fn seal_control(
        &mut self,
        parties: Parties<'_>,
        until_ms: u64,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<SealedMessage> {
        if !self.can_seal() {
            return None;
        }
        let (delivery, payload) = self.delivery.control(until_ms)?;
        self.delivery = Arc::new(delivery);
        self.seal_payload(None, &payload, parties, now_ms, rng)
    }

    fn seal_payload(
        &mut self,
        seq: Option<u64>,
        payload: &[u8],
        parties: Parties<'_>,
        timestamp_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<SealedMessage> {
        let sessions = Arc::make_mut(self.sessions.as_mut()?);
        let sealed = sessions.encrypt_in_place(parties, timestamp_ms, payload, rng).ok()?;
        Some(SealedMessage {
            seq,
            header: header_field(&sealed.header, &sealed.trailer),
            ciphertext: sealed.ciphertext,
            timestamp_ms,
        })
    }

    /// Takes a content out of the outbox; see [`Delivery::withdraw`].
    #[must_use = "the record itself is unchanged"]
    pub fn withdraw(&self, seq: u64) -> Self {
        self.with_delivery(self.delivery.withdraw(seq))
    }

    /// The relay keeps the last message for a peer who is away; see [`Delivery::queued`].
    #[must_use = "the record itself is unchanged"]
    pub fn queued(&self, now_ms: u64) -> Self {
        self.with_delivery(self.delivery.queued(now_ms))
    }

    /// The peer or the relay is there again; see [`Delivery::reconnected`].
    #[must_use = "the record itself is unchanged"]
    pub fn reconnected(&self, now_ms: u64) -> Self {
        self.with_delivery(self.delivery.reconnected(now_ms))
    }

    /// What is missing is asked for again; see [`Delivery::ask_for_all`].
    #[must_use = "the record itself is unchanged"]
    pub fn ask_for_all(&self, now_ms: u64) -> Self {
        self.with_delivery(self.delivery.ask_for_all(now_ms))
    }

    /// A content in the outbox.
    pub fn outbox_content(&self, seq: u64) -> Option<&Content> {
        self.delivery.outbox_content(seq)
    }

    /// Whether this content is in the outbox.
    pub fn holds(&self, seq: u64) -> bool {
        self.delivery.outbox().any(|held| held == seq)
    }

    /// Whether there is nothing to seal by this time: no content, no receipt, no question.
    pub fn is_at_rest(&self, now_ms: u64) -> bool {
        !self.wants_sealing() && !self.delivery.is_due(now_ms) && !self.is_unanswered()
    }

    /// When to look at the record again, in milliseconds since the Unix epoch; 0 is now.
    pub fn next_deadline(&self) -> Option<u64> {
        self.delivery.next_deadline()
    }

    /// Contents in the outbox, and their bytes.
    pub fn outbox_size(&self) -> (usize, usize) {
        (self.delivery.outbox_len(), self.delivery.outbox_bytes())
    }
}

/// Wire 3.
impl PeerRecord {
    /// The sessions of wire 3.
    pub fn legacy(&self) -> Option<&Record> {
        self.legacy.as_deref()
    }

    /// With these sessions of wire 3.
    #[must_use = "the record itself is unchanged"]
    pub fn with_legacy(&self, legacy: Record) -> Self {
        Self { legacy: Some(Arc::new(legacy)), ..self.clone() }
    }

    /// Takes in a message that was opened in wire 3. `None` if too much waits to be handled.
    pub fn receive_legacy(
        &self,
        id: String,
        plaintext: Zeroizing<Vec<u8>>,
        timestamp_ms: u64,
    ) -> Option<(Self, LegacyItem)> {
        let (legacy_inbox, item) = self.legacy_inbox.with(id, plaintext, timestamp_ms)?;
        Some((Self { legacy_inbox, ..self.clone() }, item))
    }

    /// What came in wire 3 and was not handled, in order of arrival.
    pub fn legacy_inbox(&self) -> impl Iterator<Item = &LegacyItem> {
        self.legacy_inbox.iter()
    }
}

impl fmt::Debug for PeerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { legacy, imported, sessions, former, delivery, .. } = self;
        let Self { legacy_inbox: _, newest_bundle_ms: _, .. } = self;
        f.debug_struct("PeerRecord")
            .field("legacy", legacy)
            .field("imported", imported)
            .field("sessions", sessions)
            .field("former", &former.len())
            .field("delivery", delivery)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedMessage").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, handled, used_one_time } = self;
        f.debug_struct("OpenedMessage")
            .field("delivered", &delivered.len())
            .field("handled", handled)
            .field("used_one_time", &used_one_time.is_some())
            .finish_non_exhaustive()
    }
}
