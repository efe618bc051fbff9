//! What can be read of a session, none of it secret.

use std::fmt;

use super::{Session, State};
use crate::header::Header;
use crate::keys::{IdentityKey, RatchetPublicKey};

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing sent, nothing received: either side may begin.
    Pending,
    /// We began and have received nothing yet.
    Initiated,
    /// A message of the peer has been opened.
    Established,
}

impl SessionState {
    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Initiated => "initiated",
            Self::Established => "established",
        }
    }
}

impl Session {
    /// How far the session has come.
    pub fn state(&self) -> SessionState {
        match &self.state {
            State::Pending(_) => SessionState::Pending,
            State::Initiated(_) => SessionState::Initiated,
            State::Established(_) => SessionState::Established,
        }
    }

    /// Our identity key.
    pub fn our_identity(&self) -> &IdentityKey {
        &self.identities.ours
    }

    /// The peer's identity key.
    pub fn their_identity(&self) -> &IdentityKey {
        &self.identities.theirs
    }

    /// Our current ratchet key.
    pub fn our_ratchet_key(&self) -> &RatchetPublicKey {
        match &self.state {
            State::Pending(pending) => pending.ratchet_key.public(),
            State::Initiated(initiated) => initiated.ratchet_key.public(),
            State::Established(established) => established.ratchet_key.public(),
        }
    }

    /// The peer's ratchet key, 65 bytes: before its first message the signed prekey that we
    /// began with, and nothing in a session that has not begun.
    pub fn their_ratchet_key(&self) -> Option<&[u8; 65]> {
        match &self.state {
            State::Pending(_) => None,
            State::Initiated(initiated) => Some(initiated.their_signed_prekey.as_bytes()),
            State::Established(established) => Some(established.their_ratchet_key.as_bytes()),
        }
    }

    /// Messages sent on the current sending chain.
    pub fn send_count(&self) -> u32 {
        match &self.state {
            State::Pending(_) => 0,
            State::Initiated(initiated) => initiated.sending.counter,
            State::Established(established) => established.sending.counter,
        }
    }

    /// Messages received on the current receiving chain, those skipped included.
    pub fn receive_count(&self) -> u32 {
        match &self.state {
            State::Pending(_) | State::Initiated(_) => 0,
            State::Established(established) => established.receiving.counter,
        }
    }

    /// Messages sent on the previous sending chain.
    pub fn previous_send_count(&self) -> u32 {
        match &self.state {
            State::Pending(_) | State::Initiated(_) => 0,
            State::Established(established) => established.previous_chain_length,
        }
    }

    /// Keys kept for messages that have not arrived.
    pub fn skipped_count(&self) -> usize {
        match &self.state {
            State::Pending(_) | State::Initiated(_) => 0,
            State::Established(established) => established.skipped.len(),
        }
    }

    /// Whether a [forced ratchet](Self::force_ratchet) waits for the peer's next ratchet key.
    pub fn is_ratchet_forced(&self) -> bool {
        match &self.state {
            State::Pending(pending) => pending.post_compromise,
            State::Initiated(initiated) => initiated.post_compromise,
            State::Established(established) => established.post_compromise,
        }
    }

    /// Whether a message with this header could be opened without a Diffie-Hellman step.
    pub(crate) fn knows_chain(&self, header: &Header) -> bool {
        match &self.state {
            State::Pending(_) | State::Initiated(_) => false,
            State::Established(established) => established.knows_chain(&header.ratchet_key),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identities: _, state: _ } = self;
        f.debug_struct("Session")
            .field("state", &self.state())
            .field("send_count", &self.send_count())
            .field("receive_count", &self.receive_count())
            .field("previous_send_count", &self.previous_send_count())
            .field("skipped_count", &self.skipped_count())
            .field("is_ratchet_forced", &self.is_ratchet_forced())
            .finish_non_exhaustive()
    }
}
