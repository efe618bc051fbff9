//! Why a step was refused, an enum for each.

use crate::codec::Malformed;
use crate::header::HeaderError;
use crate::skipped::{MAX_SKIP, MAX_SKIPPED_KEYS};

/// Why no session was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EstablishError {
    /// The peer's identity key or signed prekey is our own. Messages to such a peer could be
    /// given back to us as its own.
    #[error("the peer's keys are our own")]
    OwnKeys,
    /// The identity key is another one than before.
    #[error("the peer's identity key has changed")]
    IdentityChanged,
    /// The bundle was valid when it was verified and is not any more.
    #[error("the peer's bundle has expired")]
    BundleExpired,
}

/// Why a message was not sealed. The session is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// 2^32 - 1 messages were sent without an answer; the header cannot count further.
    #[error("the sending chain is exhausted until the peer answers")]
    ChainExhausted,
    /// AES-GCM ends at 64 GiB.
    #[error("the plaintext is longer than AES-GCM can seal")]
    PlaintextTooLong,
    /// There is no session to send on yet: [`Sessions::begin`](crate::Sessions::begin) makes one.
    #[error("there is no session to send on")]
    NoSession,
}

/// Why a message was not opened. The session is unchanged in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The header is malformed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The ciphertext is shorter than its tag.
    #[error("a ciphertext has at least 16 bytes, not {length}")]
    CiphertextTooShort {
        /// How many there are.
        length: usize,
    },
    /// The ratchet key in the header is not a point on the curve.
    #[error("the ratchet key is not a point on P-256")]
    InvalidRatchetKey,
    /// The ratchet key in the header is the peer's signed prekey, which no peer sends with: the
    /// original can be made to accept forgeries under it.
    #[error("the ratchet key is the peer's signed prekey")]
    SignedPrekey,
    /// The message is further ahead than [`MAX_SKIP`].
    #[error("more than {MAX_SKIP} messages of one chain are missing")]
    TooManySkipped,
    /// Opened before, or its key was dropped to stay within the limits ([`MAX_SKIPPED_KEYS`]).
    #[error(
        "no key is left for message {counter}: read before, or one of more than {MAX_SKIPPED_KEYS} that were late"
    )]
    MissingMessageKey {
        /// The message's number in its chain.
        counter: u32,
    },
    /// The peer has begun too many sessions with us; see
    /// [`MAX_INITIATIONS`](crate::MAX_INITIATIONS).
    #[error("the peer has begun too many sessions")]
    TooManySessions,
    /// Altered, or sealed under another key. Says no more on purpose: detail here is an oracle.
    #[error("message authentication failed")]
    Authentication,
}

/// Why a saved session is not read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedSessionError {
    /// Not the JSON of a session: wrong syntax, fields, types or lengths.
    #[error("not a saved session")]
    Malformed,
    /// A public or private key is invalid, or a pair does not belong together.
    #[error("the saved session's {field} is not a valid key")]
    Key {
        /// The field's name in the JSON.
        field: &'static str,
    },
    /// The fields are well-formed but no session has them together, such as a peer's ratchet key
    /// without chains, which a forged message leaves behind in the original.
    #[error("the saved session is in an impossible state")]
    State,
    /// More skipped keys than [`MAX_SKIPPED_KEYS`].
    #[error("the saved session holds more than {MAX_SKIPPED_KEYS} skipped keys")]
    TooManySkippedKeys,
}

/// Why a saved record is not read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedRecordError {
    /// Not the bytes of a record: they end too soon or too late, or count more than is ever kept.
    #[error("not a saved record")]
    Malformed,
    /// Saved by a later version, which may have kept what this one does not know.
    #[error("the record was saved by a later version, in form {version}")]
    Version {
        /// The form that it has.
        version: u8,
    },
    /// Saved under another identity key of ours than the one that is in use.
    #[error("the record was saved under another identity key")]
    Identity,
    /// A public or private key is invalid, or a signature is not that of its key.
    #[error("the saved record's {field} is not a valid key")]
    Key {
        /// Which one, by the specification's name where it has one.
        field: &'static str,
    },
    /// The parts are well-formed but no record has them together.
    #[error("the saved record is in an impossible state")]
    State,
}

impl From<Malformed> for SavedRecordError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}
