//! A session in a record, and when it is the one to send on.

use std::fmt;

use crate::curve::POINT_LENGTH;
use crate::session::{Session, SessionState};

#[derive(Clone)]
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) origin: Origin,
    /// The first ratchet key of the side that began: names the session on both sides.
    pub(super) initiator_key: [u8; POINT_LENGTH],
    /// Which of the peer's signed prekeys it began with, counted from 0.
    pub(super) generation: u32,
}

/// Who began the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Ours,
    Theirs {
        /// While one of ours was unanswered: both sides may have begun at once.
        collided: bool,
    },
}

impl Held {
    pub(super) fn new(
        session: Session,
        origin: Origin,
        initiator_key: [u8; POINT_LENGTH],
        generation: u32,
    ) -> Self {
        Self { session, origin, initiator_key, generation }
    }

    /// A pending session: if it is used, then because we begin it.
    pub(super) fn ours(session: Session, generation: u32) -> Self {
        let initiator_key = *session.our_ratchet_key().as_bytes();
        Self::new(session, Origin::Ours, initiator_key, generation)
    }

    /// The same session after a step. While it is pending its first ratchet key may still change.
    pub(super) fn with_session(&self, session: Session) -> Self {
        if self.session.state() == SessionState::Pending {
            return Self::ours(session, self.generation);
        }
        Self { session, ..self.clone() }
    }

    /// Whether the session can take up a new ratchet key of the peer. One that is pending leaves
    /// that to the record, which remembers who began.
    pub(super) fn can_turn(&self) -> bool {
        self.session.state() != SessionState::Pending
    }

    /// Whether we began and the peer has not answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.session.state() == SessionState::Initiated
    }

    /// Whether to send on this session from now on, in place of `sending`. Asked when the peer
    /// has just gone ahead on this one, so it holds this one; what it holds of the other is the
    /// question.
    ///
    /// Where both sides began at once, both settle on the session whose initiator's first ratchet
    /// key is bytewise lower: each can compute that as soon as it has seen both. Where the peer
    /// began anew after it had answered ours, it has lost ours, and what it speaks on counts;
    /// unless it then speaks on ours again: then the message that looked like a new beginning was
    /// merely late.
    pub(super) fn supersedes(&self, sending: &Self) -> bool {
        if self.generation != sending.generation {
            return false; // sessions of an older signed prekey only receive
        }
        match (self.origin, sending.origin) {
            (Origin::Theirs { .. }, Origin::Theirs { .. })
            | (Origin::Theirs { collided: false }, Origin::Ours) => true,
            (Origin::Theirs { collided: true }, Origin::Ours)
            | (Origin::Ours, Origin::Theirs { .. }) => self.initiator_key < sending.initiator_key,
            (Origin::Ours, Origin::Ours) => false,
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, origin, initiator_key: _, generation } = self;
        f.debug_struct("Held")
            .field("session", session)
            .field("origin", origin)
            .field("generation", generation)
            .finish_non_exhaustive()
    }
}
