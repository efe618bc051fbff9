//! Wire 4: what two of our clients speak. Wire 3's ratchet and header under a handshake of its own.
//!
//! What it adds: each session begins with a handshake that names the keys it uses, one of them
//! post-quantum; names, time, session and handshake are associated data of every message; and two
//! peers that hold several sessions agree, without a word, on which one to send. Time is an
//! argument, milliseconds since the Unix epoch.
//!
//! From the keys up: [`Prekeys`] are ours, a [`VerifiedV4`] is a peer's; a [`Handshake`] and the
//! key [`schedule`] make a [`RankedSession`] of them; [`Sessions`] are all with one peer.
//!
//! Spec: docs/PROTOCOL.md, "Wire 4".
//!
//! [`Handshake`]: handshake::Handshake
//! [`RankedSession`]: session::RankedSession

mod ad;
mod begin;
mod blob;
mod error;
mod handshake;
mod message;
mod one_time;
mod prekeys;
mod rank;
mod respond;
mod saved;
mod schedule;
mod session;
mod sessions;
mod trailer;

pub use blob::VerifiedV4;
pub use error::{Decrypt4Error, V4Error};
pub use message::Message4;
pub use one_time::{MAX_ONE_TIME_PREKEYS, OneTimePrekey};
pub use prekeys::Prekeys;
pub use rank::SessionId;
pub use session::MAX_SKIP_4;
pub(crate) use sessions::Opening;
pub use sessions::{MAX_SESSIONS, Opened4, Sealed4, Sessions};
pub use trailer::{HeaderField, header_field, parse_header_field};

/// The version that trailers and blobs begin with.
const VERSION: u8 = 4;

/// How far ahead of ours a peer's clock may be: 5 minutes, the documentation's figure. More is
/// refused, less is not noticed.
pub const MAX_CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The user ids that a message is bound to, in its own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties<'a> {
    /// Who sends the message.
    pub sender: &'a str,
    /// Whom it is for.
    pub recipient: &'a str,
}
