//! One session of wire 4: a ratchet, its rank, and the handshake until the peer has answered.
//!
//! Spec: docs/PROTOCOL.md, "Sessions of wire 4".

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::ad::associated_data;
use super::message::Message4;
use super::rank::Rank;
use super::trailer::trailer;
use super::{Decrypt4Error, Parties, SessionId};
use crate::header::HEADER_LENGTH;
use crate::session::{
    Change, DecryptError, EncryptError, Established, Initiated, Message, Sending,
};

/// How far ahead in one chain a message of wire 4 may be. Between two receipts, which turn the
/// chain over, there are 50 messages and what is in flight; this allows for 2,000 in flight. Each
/// step costs two HMACs, some 0.7 us, before the message is known to be genuine.
pub const MAX_SKIP_4: u32 = 2000;

/// A session has begun before it is here: there is no pending state.
#[derive(Clone)]
pub(super) enum Ratchet {
    /// We began, the peer has not answered.
    Initiated {
        state: Initiated,
        /// What every message brings. Only the session that we send on keeps it.
        handshake: Option<Arc<[u8]>>,
    },
    Established(Established),
}

#[derive(Clone)]
pub(super) struct RankedSession {
    pub(super) rank: Rank,
    /// Whether it was we who began.
    pub(super) is_ours: bool,
    /// The newest timestamp of the peer on this session that proved genuine; 0 before the first.
    pub(super) newest_ms: u64,
    pub(super) ratchet: Ratchet,
}

/// What a message that has proved genuine changes in its session.
pub(super) struct OpenedOn {
    change: Change,
    newest_ms: u64,
}

/// A sealed message in its parts, and the session that it was sealed on.
pub(crate) struct SealedOn {
    pub(crate) session: SessionId,
    pub(crate) header: [u8; HEADER_LENGTH],
    pub(crate) trailer: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl RankedSession {
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.ratchet, Ratchet::Established(_))
    }

    /// The session without its handshake, once another one is sent on.
    pub(super) fn demoted(mut self) -> Self {
        if let Ratchet::Initiated { handshake, .. } = &mut self.ratchet {
            *handshake = None;
        }
        self
    }

    /// Whether there is room in the chain: for 2^32 - 1 messages.
    pub(super) fn can_seal(&self) -> bool {
        let chain = match &self.ratchet {
            Ratchet::Initiated { state, .. } => state.sending(),
            Ratchet::Established(state) => state.sending(),
        };
        chain.counter < u32::MAX
    }

    /// Unchanged after an error.
    pub(super) fn seal(
        &mut self,
        parties: Parties<'_>,
        now_ms: u64,
        payload: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<SealedOn, EncryptError> {
        let handshake = match &self.ratchet {
            Ratchet::Initiated { handshake, .. } => handshake.as_deref(),
            Ratchet::Established(_) => None,
        };
        let trailer = trailer(now_ms, self.rank, handshake);
        let ad = |header: &_| associated_data(header, parties, &trailer);
        let mut header = [0; HEADER_LENGTH];
        let ciphertext = match &mut self.ratchet {
            Ratchet::Initiated { state, .. } => {
                let (next, ciphertext) = state.seal(payload, &mut header, ad, rng)?;
                state.sent(next);
                ciphertext
            }
            Ratchet::Established(state) => {
                let (next, ciphertext) = state.seal(payload, &mut header, ad, rng)?;
                state.sent(next);
                ciphertext
            }
        };
        Ok(SealedOn { session: self.rank.id, header, trailer, ciphertext })
    }

    /// What is in the message, and what it changes once it is [taken](Self::take).
    pub(super) fn open(
        &self,
        message: &Message4<'_>,
        parties: Parties<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(OpenedOn, Zeroizing<Vec<u8>>), Decrypt4Error> {
        let ad = message.associated_data(parties);
        let ratcheted = message.for_ratchet(&ad);
        let opened = match &self.ratchet {
            Ratchet::Initiated { state, .. } => state
                .open(&ratcheted, rng)
                .map(|(state, payload, _)| (Change::Turn(Box::new(state)), payload)),
            Ratchet::Established(state) => {
                state.open(&ratcheted, rng).map(|(change, payload, _)| (change, payload))
            }
        };
        let (change, payload) = opened.map_err(|error| self.judge(error, message))?;
        let newest_ms = self.newest_ms.max(message.timestamp_ms());
        Ok((OpenedOn { change, newest_ms }, payload))
    }

    /// Goes on after a message that this state has [opened](Self::open).
    pub(super) fn take(&mut self, opened: OpenedOn) {
        let OpenedOn { change, newest_ms } = opened;
        self.newest_ms = newest_ms;
        match (change, &mut self.ratchet) {
            (change, Ratchet::Established(state)) => change.apply(state),
            (Change::Turn(state), ratchet) => *ratchet = Ratchet::Established(*state),
            (Change::Chain { .. }, Ratchet::Initiated { .. }) => {
                debug_assert!(false, "there is no receiving chain before the peer has answered");
            }
        }
    }

    /// What it means that a message of this session did not open.
    ///
    /// Messages arrive twice, on purpose or by a relay that is not sure of its delivery. Their
    /// keys are gone, or their whole chain is; and they are no newer than what was opened since.
    fn judge(&self, error: DecryptError, message: &Message4<'_>) -> Decrypt4Error {
        let is_newer = message.timestamp_ms() > self.newest_ms;
        match refused(error) {
            // Its key was never used.
            refused @ (Decrypt4Error::Authentication | Decrypt4Error::TooManySkipped)
                if is_newer || self.knows_chain(message) =>
            {
                refused
            }
            Decrypt4Error::MissingMessageKey if is_newer => Decrypt4Error::MissingMessageKey,
            Decrypt4Error::Authentication
            | Decrypt4Error::TooManySkipped
            | Decrypt4Error::MissingMessageKey => Decrypt4Error::Replay,
            refused => refused,
        }
    }

    fn knows_chain(&self, message: &Message4<'_>) -> bool {
        match &self.ratchet {
            Ratchet::Initiated { .. } => false,
            Ratchet::Established(state) => state.knows_chain(&message.header.ratchet_key),
        }
    }

    pub(super) fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let ratchet = match &self.ratchet {
            Ratchet::Initiated { state, handshake } => {
                Ratchet::Initiated { state: state.force_ratchet(), handshake: handshake.clone() }
            }
            Ratchet::Established(state) => Ratchet::Established(state.force_ratchet(rng)),
        };
        Self { ratchet, ..*self }
    }
}

/// The ratchet's refusal in the words of wire 4.
pub(super) fn refused(error: DecryptError) -> Decrypt4Error {
    match error {
        DecryptError::Header(_)
        | DecryptError::CiphertextTooShort { .. }
        | DecryptError::InvalidRatchetKey => Decrypt4Error::Malformed,
        DecryptError::TooManySkipped => Decrypt4Error::TooManySkipped,
        DecryptError::MissingMessageKey { .. } => Decrypt4Error::MissingMessageKey,
        DecryptError::SignedPrekey
        | DecryptError::TooManySessions
        | DecryptError::Authentication => Decrypt4Error::Authentication,
    }
}

impl Message4<'_> {
    pub(super) fn associated_data(&self, parties: Parties<'_>) -> [u8; 32] {
        associated_data(self.header_bytes, parties, self.trailer_bytes)
    }

    pub(super) fn for_ratchet<'b>(&'b self, ad: &'b [u8; 32]) -> Message<'b> {
        Message::new(self.header.clone(), ad, self.ciphertext, MAX_SKIP_4)
    }
}

impl fmt::Debug for RankedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, is_ours, newest_ms: _, ratchet: _ } = self;
        f.debug_struct("RankedSession")
            .field("id", &rank.id)
            .field("is_ours", is_ours)
            .field("is_answered", &self.is_answered())
            .finish_non_exhaustive()
    }
}
