//! Everything kept about one peer: the session we send on, and others that can still receive.
//!
//! Wire 3 has no session ids and no handshake, and either side may begin at any time. A message
//! whose ratchet key no session knows may therefore be the first of a session that the peer has
//! begun: because it began at the same time as we did, or because it has lost its session. Such
//! a message is tried on a fresh responder; if it proves genuine, its session joins the record.
//!
//! That would open an old first message again, whenever a relay gives it back to us after the
//! session that it began has moved on. So the record remembers every ratchet key that ever began
//! a session with us, and none begins a second one. See [`MAX_INITIATIONS`].
//!
//! Spec: docs/PROTOCOL.md, "Record".

mod adopted;
mod held;
mod initiations;
mod renewal;
mod saved;

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use self::held::{Held, Origin};
use self::initiations::Initiations;
use crate::bundle::VerifiedBundle;
use crate::header::HEADER_LENGTH;
use crate::keys::{IdentityKey, LocalKeys};
use crate::session::{
    Agreement, DecryptError, EncryptError, EstablishError, Message, OpenedBy, Session, SessionState,
};

pub use self::initiations::MAX_INITIATIONS;

/// How many sessions a record keeps besides the one that it sends on. Messages still on their way
/// when a session is replaced need one; each costs an agreement for every forged ratchet key.
pub const MAX_OLDER_SESSIONS: usize = 4;

/// What we keep about one peer. Clones share it and cost some 100 ns.
#[derive(Clone)]
pub struct Record {
    bundle: VerifiedBundle,
    agreement: Arc<Agreement>,
    sending: Held,
    /// Most recently used first.
    older: Arc<Vec<Held>>,
    initiations: Initiations,
}

/// A message sealed by [`Record::encrypt`].
pub struct Sealed {
    /// The record to go on with.
    pub record: Record,
    /// The header, which travels in clear and is authenticated.
    pub header: [u8; HEADER_LENGTH],
    /// The ciphertext: as long as the plaintext, and a tag of 16 bytes.
    pub ciphertext: Vec<u8>,
}

/// A message opened by [`Record::decrypt`].
pub struct Opened {
    /// The record to go on with.
    pub record: Record,
    /// What was sent; wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
}

impl Record {
    /// Agrees on a first session, which costs no message. Draws 32 bytes from `rng` and costs
    /// three agreements and a key generation.
    ///
    /// # Errors
    ///
    /// [`EstablishError::OwnKeys`]: the bundle carries a key of ours.
    pub fn new(
        ours: &LocalKeys,
        theirs: VerifiedBundle,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let agreement = Arc::new(Agreement::new(ours, &theirs)?);
        Ok(Self {
            bundle: theirs,
            sending: Held::ours(Session::pending(agreement.clone(), rng), 0),
            agreement,
            older: Arc::default(),
            initiations: Initiations::default(),
        })
    }

    /// The peer's identity key, which never changes in a record.
    pub fn their_identity(&self) -> &IdentityKey {
        self.bundle.identity_key()
    }

    /// The bundle that sessions begin with.
    pub fn bundle(&self) -> &VerifiedBundle {
        &self.bundle
    }

    /// The session that [`encrypt`](Self::encrypt) uses.
    pub fn sending_session(&self) -> &Session {
        &self.sending.session
    }

    /// How many sessions there are, at most `1 + MAX_OLDER_SESSIONS`.
    pub fn session_count(&self) -> usize {
        1 + self.older.len()
    }

    /// Takes up a new signed prekey of the same peer: from now on we send on a session that
    /// begins with it, and the sessions so far go on receiving. Returns the record as it is when
    /// the signed prekey is not new. Draws 32 bytes from `rng` if it is.
    ///
    /// # Errors
    ///
    /// [`EstablishError::IdentityChanged`], [`EstablishError::OwnKeys`]
    pub fn with_bundle(
        &self,
        ours: &LocalKeys,
        theirs: VerifiedBundle,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        if theirs.identity_key() != self.their_identity() {
            return Err(EstablishError::IdentityChanged);
        }
        if theirs.signed_prekey() == self.bundle.signed_prekey() {
            return Ok(self.clone());
        }
        let agreement = Arc::new(Agreement::new(ours, &theirs)?);
        let generation = self.sending.generation.saturating_add(1);
        let sending = Held::ours(Session::pending(agreement.clone(), rng), generation);
        Ok(Self { bundle: theirs, agreement, ..self.replacing_sending(sending) })
    }

    /// Forces the ratchet of the sending session; see [`Session::force_ratchet`].
    #[must_use = "the record itself is unchanged"]
    pub fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let session = self.sending.session.force_ratchet(rng);
        Self { sending: self.sending.with_session(session), ..self.clone() }
    }

    /// Seals `plaintext`, any bytes, on the sending session. Draws 12 bytes from `rng`.
    ///
    /// # Errors
    ///
    /// Any [`EncryptError`].
    pub fn encrypt(
        &self,
        plaintext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed, EncryptError> {
        let sealed = self.sending.session.encrypt(plaintext, rng)?;
        let sending = self.sending.with_session(sealed.session);
        let record = Self { sending, ..self.clone() };
        Ok(Sealed { record, header: sealed.header, ciphertext: sealed.ciphertext })
    }

    /// Opens a message on whichever session it belongs to. `ours` are the keys that the record
    /// was made with.
    ///
    /// Draws 32 bytes from `rng` if, and only if, the message is genuine and brings a new ratchet
    /// key. A genuine message costs what [`Session::decrypt`] does; a forged ratchet key at most
    /// one agreement for each session, and one more.
    ///
    /// # Errors
    ///
    /// Any [`DecryptError`]; `self` is unchanged then as always.
    pub fn decrypt(
        &self,
        ours: &LocalKeys,
        header: &[u8],
        ciphertext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Opened, DecryptError> {
        let message = Message::parse(header, ciphertext)?;
        if message.header.ratchet_key == *self.bundle.signed_prekey().as_bytes() {
            return Err(DecryptError::SignedPrekey);
        }
        if let Some(at) = self.session_that_knows(&message) {
            return self.open_on(at, &message, rng);
        }
        if self.initiations.contains(&message.header.ratchet_key) {
            // It began a session once, and that session has moved on or is gone.
            return Err(DecryptError::MissingMessageKey { counter: message.header.counter });
        }
        for at in self.sessions().filter(|&at| self.held(at).can_turn()) {
            match self.open_on(at, &message, rng) {
                // The ratchet key may belong to another session.
                Err(DecryptError::Authentication | DecryptError::TooManySkipped) => {}
                outcome => return outcome,
            }
        }
        self.open_as_responder(ours, &message, rng)
    }

    fn open_on(
        &self,
        at: At,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Opened, DecryptError> {
        let held = self.held(at);
        let (session, plaintext, opened_by) = held.session.open(message, rng)?;
        let record = self.received_on(at, held.with_session(session), opened_by);
        Ok(Opened { record, plaintext })
    }

    fn open_as_responder(
        &self,
        ours: &LocalKeys,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Opened, DecryptError> {
        let key = message.header.ratchet_key;
        let agreement = self.agreement_of(ours);
        let (session, plaintext) = Session::respond(&agreement, message, rng)?;
        // After authentication, so that nobody else can fill it, nor learn that it is full. The
        // new session is answered on: it is the one that the peer certainly holds.
        let initiations = self.initiations.with(&key).ok_or(DecryptError::TooManySessions)?;
        let unanswered = self.sessions().any(|at| self.held(at).is_unanswered());
        let origin = Origin::Theirs { collided: unanswered };
        let began = Held::new(session, origin, key, self.sending.generation);
        Ok(Opened { record: Self { initiations, ..self.replacing_sending(began) }, plaintext })
    }

    /// The agreement kept, unless `ours` has another signed prekey by now.
    fn agreement_of(&self, ours: &LocalKeys) -> Arc<Agreement> {
        if ours.signed_prekey().public() == self.agreement.our_signed_prekey.public() {
            return self.agreement.clone();
        }
        Agreement::new(ours, &self.bundle).map_or_else(|_| self.agreement.clone(), Arc::new)
    }
}

/// A session's place in the record.
#[derive(Clone, Copy)]
enum At {
    Sending,
    Older(usize),
}

impl Record {
    fn sessions(&self) -> impl Iterator<Item = At> + use<> {
        std::iter::once(At::Sending).chain((0..self.older.len()).map(At::Older))
    }

    fn held(&self, at: At) -> &Held {
        match at {
            At::Sending => &self.sending,
            At::Older(position) => &self.older[position],
        }
    }

    fn session_that_knows(&self, message: &Message<'_>) -> Option<At> {
        self.sessions().find(|&at| self.held(at).session.knows_chain(&message.header))
    }

    /// The record after a message on `held`, which sits at `at`.
    fn received_on(&self, at: At, held: Held, opened_by: OpenedBy) -> Self {
        let At::Older(position) = at else { return Self { sending: held, ..self.clone() } };
        let mut older = self.older.to_vec();
        older.remove(position);
        if opened_by == OpenedBy::Chain && held.supersedes(&self.sending) {
            return self.replacing(older, held);
        }
        older.insert(0, held);
        Self { older: Arc::new(older), ..self.clone() }
    }

    /// The record with another sending session.
    fn replacing_sending(&self, sending: Held) -> Self {
        self.replacing(self.older.to_vec(), sending)
    }

    /// The record with `sending` and, besides it, `older`. The sending session so far joins these
    /// if it was ever used; the least recently used is dropped when there are too many.
    fn replacing(&self, mut older: Vec<Held>, sending: Held) -> Self {
        if self.sending.session.state() != SessionState::Pending {
            older.insert(0, self.sending.clone());
            older.truncate(MAX_OLDER_SESSIONS);
        }
        Self { sending, older: Arc::new(older), ..self.clone() }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bundle: _, agreement: _, sending, older, initiations } = self;
        f.debug_struct("Record")
            .field("sending", sending)
            .field("older", older)
            .field("initiations", initiations)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, header: _, ciphertext: _ } = self;
        f.debug_struct("Sealed").field("record", record).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, plaintext: _ } = self;
        f.debug_struct("Opened").field("record", record).finish_non_exhaustive()
    }
}
