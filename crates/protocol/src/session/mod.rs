//! One Double Ratchet session, as wire 3 has it.
//!
//! A [`Session`] is one of three states, and each has only what exists in it: a chain that was
//! never derived cannot be used, because the state has no field for it.
//!
//! | state | came from | sending chain | receiving chain |
//! |---|---|---|---|
//! | [`Pending`] | key agreement | none | none |
//! | [`Initiated`] | our first message | yes | none |
//! | [`Established`] | their message | yes | yes |
//!
//! Steps take `&self` and return the next session; an error returns nothing, so a message that is
//! refused has changed nothing. Spec: Double Ratchet, section 3; docs/PROTOCOL.md, "Session".

mod agreement;
mod error;
mod established;
mod initiated;
mod message;
mod pending;
mod saved;
mod view;

pub(crate) use agreement::Agreement;
pub use error::{DecryptError, EncryptError, EstablishError, SavedRecordError, SavedSessionError};
pub(crate) use established::{Change, Established, Turn};
pub(crate) use initiated::Initiated;
pub(crate) use message::Message;
pub use view::SessionState;

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bundle::VerifiedBundle;
use crate::chain::SendingChain;
use crate::header::{HEADER_LENGTH, Header};
use crate::keys::{
    IdentityKey, IdentityKeyPair, LocalKeys, RatchetKeyPair, SignedPrekey, SignedPrekeyPair,
};
use pending::Pending;

/// A session with one peer. Clones share the keys and cost some 100 ns.
#[derive(Clone)]
pub struct Session {
    identities: Arc<Identities>,
    state: State,
}

/// Between whom a session is. Wire 3 authenticates it through the key agreement alone.
pub(crate) struct Identities {
    pub(crate) ours: IdentityKey,
    pub(crate) theirs: IdentityKey,
}

#[derive(Clone)]
enum State {
    Pending(Pending),
    Initiated(Initiated),
    Established(Established),
}

/// A message sealed by [`Session::encrypt`].
pub struct Encrypted {
    /// The session to go on with.
    pub session: Session,
    /// The header, which travels in clear and is authenticated.
    pub header: [u8; HEADER_LENGTH],
    /// The ciphertext: as long as the plaintext, and a tag of 16 bytes.
    pub ciphertext: Vec<u8>,
}

/// A message opened by [`Session::decrypt`].
pub struct Decrypted {
    /// The session to go on with.
    pub session: Session,
    /// What was sent; wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, header: _, ciphertext: _ } = self;
        f.debug_struct("Encrypted").field("session", session).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, plaintext: _ } = self;
        f.debug_struct("Decrypted").field("session", session).finish_non_exhaustive()
    }
}

/// Which key opened a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenedBy {
    /// One that had been kept: the message is late.
    SkippedKey,
    /// One derived now: the peer has nothing newer in this session that we know of.
    Chain,
}

impl Session {
    /// Agrees on a session; costs no message, and the peer does the same on its own.
    ///
    /// Draws 32 bytes from `rng`: the first ratchet key. Costs three agreements and a key
    /// generation.
    ///
    /// # Errors
    ///
    /// [`EstablishError::OwnKeys`] when the bundle carries a key of ours.
    pub fn establish(
        ours: &LocalKeys,
        theirs: &VerifiedBundle,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        Ok(Self::pending(Arc::new(Agreement::new(ours, theirs)?), rng))
    }

    /// The same from bare keys, for `/ratchet`. **The caller has verified that their signed
    /// prekey was signed by their identity key**, by
    /// [`IdentityKey::verify`](crate::IdentityKey::verify); otherwise whoever supplied it can
    /// read everything.
    ///
    /// # Errors
    ///
    /// [`EstablishError::OwnKeys`] when one of their keys is ours.
    pub fn establish_unverified(
        our_identity: &IdentityKeyPair,
        our_signed_prekey: &SignedPrekeyPair,
        their_identity: &IdentityKey,
        their_signed_prekey: &SignedPrekey,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let agreement = Agreement::unverified(
            our_identity,
            our_signed_prekey,
            their_identity,
            their_signed_prekey,
        )?;
        Ok(Self::pending(Arc::new(agreement), rng))
    }

    /// A session that may begin either way.
    pub(crate) fn pending(agreement: Arc<Agreement>, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let identities = agreement.identities.clone();
        let ratchet_key = RatchetKeyPair::generate(rng);
        let pending = Pending { agreement, ratchet_key, post_compromise: false };
        Self { identities, state: State::Pending(pending) }
    }

    /// A session that the peer has begun with `message`. Draws 32 bytes from `rng` if genuine.
    pub(crate) fn respond(
        agreement: &Agreement,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Self, Zeroizing<Vec<u8>>), DecryptError> {
        let (established, plaintext, _) = agreement.respond(message, rng)?;
        let identities = agreement.identities.clone();
        Ok((Self { identities, state: State::Established(established) }, plaintext))
    }

    /// Seals `plaintext`, any bytes. Draws 12 bytes from `rng`: the nonce.
    ///
    /// Costs a chain step and AES-GCM, some 1 us for a short message; the first message of a
    /// session also an agreement.
    ///
    /// # Errors
    ///
    /// Any [`EncryptError`]; `self` is unchanged then as always.
    pub fn encrypt(
        &self,
        plaintext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Encrypted, EncryptError> {
        match &self.state {
            State::Pending(pending) => self.encrypt_in(&pending.initiate(), plaintext, rng),
            State::Initiated(initiated) => self.encrypt_in(initiated, plaintext, rng),
            State::Established(established) => self.encrypt_in(established, plaintext, rng),
        }
    }

    fn encrypt_in(
        &self,
        state: &(impl Sending + Into<State>),
        plaintext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Encrypted, EncryptError> {
        let mut header = [0; _];
        let (next, ciphertext) = state.seal(plaintext, &mut header, |header| *header, rng)?;
        let mut state = state.clone();
        state.sent(next);
        Ok(Encrypted { session: self.with(state.into()), header, ciphertext })
    }

    /// Opens a message. `header` is also the associated data; `ciphertext` ends in the tag.
    ///
    /// Draws 32 bytes from `rng` if, and only if, the message is genuine and brings a new ratchet
    /// key: our next one. Costs a chain step and AES-GCM, some 1 us for a short message; with a
    /// new ratchet key two agreements and a key generation as well.
    ///
    /// # Errors
    ///
    /// Any [`DecryptError`]; `self` is unchanged then as always.
    pub fn decrypt(
        &self,
        header: &[u8],
        ciphertext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Decrypted, DecryptError> {
        let message = Message::parse(header, ciphertext)?;
        let (session, plaintext, _) = self.open(&message, rng)?;
        Ok(Decrypted { session, plaintext })
    }

    pub(crate) fn open(
        &self,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Self, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        let (established, plaintext, opened_by) = match &self.state {
            State::Pending(pending) => pending.agreement.respond(message, rng)?,
            State::Initiated(initiated) => initiated.open(message, rng)?,
            State::Established(established) => {
                let (change, plaintext, opened_by) = established.open(message, rng)?;
                (change.applied_to(established), plaintext, opened_by)
            }
        };
        Ok((self.with(State::Established(established)), plaintext, opened_by))
    }

    /// Heals after a possible compromise without waiting for the peer, as far as it can read on.
    ///
    /// When nothing has been sent on the current sending chain yet, the own ratchet key is
    /// replaced at once. Otherwise the peer relies on it, and the session is marked
    /// ([`is_ratchet_forced`](Self::is_ratchet_forced)): the next message with a new ratchet key
    /// of the peer, which replaces ours in any case, clears the mark. The peer can always go on
    /// reading. Draws 32 bytes from `rng` when it replaces the key, else none.
    #[must_use = "the session itself is unchanged"]
    pub fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        self.with(match &self.state {
            State::Pending(pending) => State::Pending(pending.force_ratchet(rng)),
            State::Initiated(initiated) => State::Initiated(initiated.force_ratchet()),
            State::Established(established) => State::Established(established.force_ratchet(rng)),
        })
    }

    fn with(&self, state: State) -> Self {
        Self { identities: self.identities.clone(), state }
    }
}

/// A state that has a sending chain.
pub(crate) trait Sending: Clone {
    fn sending(&self) -> &SendingChain;
    fn ratchet_key(&self) -> &RatchetKeyPair;
    fn previous_chain_length(&self) -> u32;
    /// A message has been sent.
    fn sent(&mut self, next: SendingChain);

    /// The chain to go on with, and the ciphertext; writes the header. `ad` makes the associated
    /// data of it. Draws 12 bytes from `rng`.
    #[inline]
    fn seal<A: AsRef<[u8]>>(
        &self,
        plaintext: &[u8],
        header: &mut [u8; HEADER_LENGTH],
        ad: impl FnOnce(&[u8; HEADER_LENGTH]) -> A,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(SendingChain, Vec<u8>), EncryptError> {
        let chain = self.sending();
        let (next, message_key) = chain.step().ok_or(EncryptError::ChainExhausted)?;
        let mut nonce = [0; _];
        rng.fill_bytes(&mut nonce);
        *header = Header {
            ratchet_key: *self.ratchet_key().public().as_bytes(),
            previous_chain_length: self.previous_chain_length(),
            counter: chain.counter,
            nonce,
        }
        .to_bytes();
        let ciphertext = message_key
            .seal(&nonce, ad(header).as_ref(), plaintext)
            .ok_or(EncryptError::PlaintextTooLong)?;
        Ok((next, ciphertext))
    }
}

impl From<Initiated> for State {
    fn from(initiated: Initiated) -> Self {
        Self::Initiated(initiated)
    }
}

impl From<Established> for State {
    fn from(established: Established) -> Self {
        Self::Established(established)
    }
}
