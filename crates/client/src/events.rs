//! What goes out of a client: results of sends, received messages, errors.

use std::time::Duration;

use stvor_protocol::IdentityKey;

use crate::Error;

/// How far a message has come when its send resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentStatus {
    /// The relay handed it to the recipient's connection, or keeps it for their next poll.
    Delivered,
    /// The recipient is absent; the relay keeps it.
    Queued,
    /// The relay has it and says no more (a relay that does not acknowledge).
    Sent,
    /// The recipient's handlers have completed ([`SendOptions::receipt`]).
    Received,
}

impl SentStatus {
    /// The status as programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// A message that the relay has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The id under which it travelled.
    pub id: String,
    /// How far it came.
    pub status: SentStatus,
}

pub use stvor_protocol::{Content, ContentKind};

/// How one message is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct SendOptions {
    /// How long until the relay must have it; the app's timeout when `None`.
    pub timeout: Option<Duration>,
    /// Whether to wait, within the timeout, for a recipient whom the relay does not know yet.
    pub wait_for_recipient: bool,
    /// Whether to wait until the recipient's handlers have completed, rather than the relay.
    pub receipt: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { timeout: None, wait_for_recipient: true, receipt: false }
    }
}

/// A message that was authenticated, decrypted and committed.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The id that its send returned; not authenticated in wire 3.
    pub id: String,
    /// Whose session it was sealed under.
    pub sender_id: String,
    /// What was sent.
    pub content: Content,
    /// Names the message to [`Client::handled`](crate::Client::handled).
    pub ticket: u64,
    /// Milliseconds since the Unix epoch, by the sender's or the relay's clock where one was
    /// named, else the time of arrival; not authenticated in wire 3.
    pub timestamp_ms: u64,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, sender_id: _, content, ticket: _, timestamp_ms } = self;
        f.debug_struct("Received")
            .field("id", id)
            .field("content", content)
            .field("timestamp_ms", timestamp_ms)
            .finish_non_exhaustive()
    }
}

/// A message of ours that its recipient's handlers have completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id that its send returned.
    pub id: String,
    /// Who received it.
    pub recipient_id: String,
}

/// A peer shows another identity key than the accepted one: nothing goes to or comes from them
/// until it is [trusted](crate::App::trust).
#[derive(Debug, Clone)]
pub struct IdentityChange {
    /// Whose it is.
    pub peer_id: String,
    /// The accepted one, where it is known here.
    pub previous: Option<IdentityKey>,
    /// The one that is shown now.
    pub identity: IdentityKey,
}

/// Where a user's messages and errors go. Called from the user's task: must not block.
pub trait Events: Send + Sync + 'static {
    /// Messages in the order in which they are to be handled.
    fn messages(&self, batch: Vec<Received>);
    /// Messages of ours that have been handled by their recipients, in the order of sending.
    fn receipts(&self, batch: Vec<Receipt>);
    /// Whether anybody is told of receipts. Those that come while nobody is are not made.
    fn wants_receipts(&self) -> bool {
        true
    }
    /// Something received could not be used, or the connection needs attention.
    fn error(&self, error: Error);
    /// A peer's identity has changed; [`error`](Self::error) has said so as well.
    fn identity_changed(&self, _change: IdentityChange) {}
}
