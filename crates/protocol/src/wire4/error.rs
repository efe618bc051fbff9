//! Why a step was refused, an enum for each.

use crate::codec::Malformed;

/// Why a message was not opened. The sessions are unchanged in every case.
///
/// The variants from [`UnknownSession`](Self::UnknownSession) on say that the two sides no longer
/// hold the same sessions, or that somebody pretends so:
/// [`calls_for_a_new_session`](Self::calls_for_a_new_session).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Decrypt4Error {
    /// Not a message of wire 4: a length, the version, a flag or a public key is wrong. Whoever
    /// sent or carried it has to act.
    #[error("not a message of wire 4")]
    Malformed,
    /// The sender's clock is more than [`MAX_CLOCK_SKEW_MS`](crate::MAX_CLOCK_SKEW_MS) ahead of
    /// ours: one of the two is wrong.
    #[error("the message is dated in the future")]
    FutureTimestamp,
    /// Opened before, or older than what was opened since: nobody has to do anything.
    #[error("the message was received before")]
    Replay,
    /// The handshake is another identity's than the peer's as we know it. The user has to decide.
    #[error("the message comes from another identity")]
    IdentityMismatch,
    /// It belongs to a session that we do not hold, and brings no handshake.
    #[error("the session is not known")]
    UnknownSession,
    /// Its handshake uses a prekey of ours that is used up, has expired, or never was.
    #[error("the prekey is not known")]
    UnknownPrekey,
    /// Altered, or sealed under another key. Says no more on purpose: detail here is an oracle.
    #[error("message authentication failed")]
    Authentication,
    /// It is further ahead in its chain than [`MAX_SKIP_4`](crate::MAX_SKIP_4).
    #[error("too many messages of one chain are missing")]
    TooManySkipped,
    /// Its key was used before, yet it is newer than anything received: the peer may have been
    /// restored from an old backup.
    #[error("no key is left for the message")]
    MissingMessageKey,
}

impl Decrypt4Error {
    /// Whether a new session with the peer may be what is needed.
    pub fn calls_for_a_new_session(self) -> bool {
        match self {
            Self::Malformed | Self::FutureTimestamp | Self::Replay | Self::IdentityMismatch => {
                false
            }
            Self::UnknownSession
            | Self::UnknownPrekey
            | Self::Authentication
            | Self::TooManySkipped
            | Self::MissingMessageKey => true,
        }
    }
}

impl From<Malformed> for Decrypt4Error {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Why the `v4` field of a bundle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum V4Error {
    /// Another version, a wrong length, or bytes left over.
    #[error("the bundle's v4 is malformed")]
    Malformed,
    /// It was signed for another user id.
    #[error("the bundle's v4 is another user's")]
    OtherUser,
    /// It was signed for another signed prekey than the bundle's.
    #[error("the bundle's v4 belongs to another signed prekey")]
    OtherSignedPrekey,
    /// The ML-KEM-768 key is not one.
    #[error("the bundle's v4 has an invalid ML-KEM key")]
    KemKey,
    /// The signature is not the identity key's.
    #[error("the signature of the bundle's v4 is wrong")]
    Signature,
    /// It is not valid yet: one of the two clocks is wrong.
    #[error("the bundle's v4 is not valid yet")]
    NotYetValid,
    /// It is not valid any more: the bundle is an old one.
    #[error("the bundle's v4 has expired")]
    Expired,
}

impl From<Malformed> for V4Error {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}
