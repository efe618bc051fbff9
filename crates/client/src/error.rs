//! The one error that a user of the SDK sees: a code, a sentence, what to do, whether to retry.
//!
//! Codes and messages of the first nine are the original's, so that programs written against it
//! keep working. Source: docs/PROTOCOL.md has none of this; README, "Errors", lists all.

use std::error::Error as StdError;
use std::fmt;

use url::Url;

use crate::printable::printable;
use crate::{StoreError, StoreErrorKind};

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The token is empty or holds characters that cannot travel in an HTTP header.
    InvalidAppToken,
    /// The relay refuses the token.
    AuthFailed,
    /// The relay cannot be reached, or does not answer.
    RelayUnavailable,
    /// Nobody of that id is known to the relay.
    RecipientNotFound,
    /// Nobody of that id became known within the time allowed.
    RecipientTimeout,
    /// The client or its app was disconnected.
    ClientNotReady,
    /// The relay did not take the message.
    DeliveryFailed,
    /// The token's quota is used up.
    QuotaExceeded,
    /// Too many messages.
    RateLimited,
    /// An argument is unusable.
    InvalidArgument,
    /// A peer shows another identity key than the pinned one.
    IdentityChanged,
    /// A peer's bundle is malformed or not signed by its identity key.
    InvalidBundle,
    /// A received message could not be authenticated.
    DecryptionFailed,
    /// A received message had been received before.
    ReplayDetected,
    /// A store failed; the step was not taken.
    StorageFailed,
    /// The content is larger than a relay carries.
    PayloadTooLarge,
    /// Too much waits for this recipient already.
    OutboxFull,
    /// The peer does not speak the wire that it must.
    ProtocolMismatch,
    /// The recipient's handlers have not completed in time; the message is still on its way.
    ReceiptTimeout,
    /// The backend for metrics cannot be reached, or does not answer.
    BackendUnavailable,
    /// The backend for metrics does not accept an attestation.
    MetricsRejected,
    /// Another process wrote the same records meanwhile, time and again.
    StorageConflict,
    /// A store cannot be read any more.
    StorageDamaged,
    /// The identity that a store gives is not the one that was used before, or is another user's.
    IdentityConflict,
    /// Another client has connected as the same user, and is given what arrives.
    ConnectedElsewhere,
}

impl Code {
    /// The code as programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidAppToken => "INVALID_APP_TOKEN",
            Self::AuthFailed => "AUTH_FAILED",
            Self::RelayUnavailable => "RELAY_UNAVAILABLE",
            Self::RecipientNotFound => "RECIPIENT_NOT_FOUND",
            Self::RecipientTimeout => "RECIPIENT_TIMEOUT",
            Self::ClientNotReady => "CLIENT_NOT_READY",
            Self::DeliveryFailed => "DELIVERY_FAILED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::IdentityChanged => "IDENTITY_CHANGED",
            Self::InvalidBundle => "INVALID_BUNDLE",
            Self::DecryptionFailed => "DECRYPTION_FAILED",
            Self::ReplayDetected => "REPLAY_DETECTED",
            Self::StorageFailed => "STORAGE_FAILED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::OutboxFull => "OUTBOX_FULL",
            Self::ProtocolMismatch => "PROTOCOL_MISMATCH",
            Self::ReceiptTimeout => "RECEIPT_TIMEOUT",
            Self::BackendUnavailable => "BACKEND_UNAVAILABLE",
            Self::MetricsRejected => "METRICS_REJECTED",
            Self::StorageConflict => "STORAGE_CONFLICT",
            Self::StorageDamaged => "STORAGE_DAMAGED",
            Self::IdentityConflict => "IDENTITY_CONFLICT",
            Self::ConnectedElsewhere => "CONNECTED_ELSEWHERE",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error with what its reader needs: which, why, what to do, whether trying again can help.
///
/// Carries no key material and no content; user ids only where the caller named them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// One sentence: what happened.
    pub message: String,
    /// One sentence, or a word of the original's: what to do.
    pub action: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The peer it concerns, where there is one.
    pub peer_id: Option<String>,
    /// What a store threw, by [`StoreError::cause`](crate::StoreError::cause).
    pub cause: Option<u64>,
    /// Which relay could not be reached and what the network said of it, where it said anything. Of
    /// the address there are scheme, host and port.
    pub detail: Option<String>,
}

/// What to do where a relay does not answer as one.
const CHECK_RELAY: &str = "Check relayUrl, that a relay runs there, and the network; for a local one: npx @stvor/sdk mock-relay";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl StdError for Error {}

impl Error {
    fn new(code: Code, message: impl Into<String>, action: impl Into<String>) -> Self {
        let (message, action) = (message.into(), action.into());
        Self { code, message, action, retryable: false, peer_id: None, cause: None, detail: None }
    }

    fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    fn about(mut self, peer_id: &str) -> Self {
        self.peer_id = Some(peer_id.to_owned());
        self
    }

    pub(crate) fn invalid_app_token() -> Self {
        Self::new(
            Code::InvalidAppToken,
            "Invalid AppToken format. AppToken must be a non-empty string of printable characters.",
            "Pass the AppToken that your relay's operator gave you; the mock relay takes any that begins with stvor_.",
        )
    }

    pub(crate) fn auth_failed() -> Self {
        Self::new(
            Code::AuthFailed,
            "The AppToken is invalid or has been revoked.",
            "Ask your relay's operator for a new AppToken; the mock relay takes any that begins with stvor_.",
        )
    }

    pub(crate) fn relay_unavailable() -> Self {
        Self::new(Code::RelayUnavailable, "Cannot connect to STVOR relay server.", CHECK_RELAY)
            .retryable()
    }

    /// [`relay_unavailable`](Self::relay_unavailable), and why: text that whoever answers there may
    /// have chosen, as a certificate's names are.
    pub(crate) fn unreachable(relay: &Url, why: impl fmt::Display) -> Self {
        let why = printable(&why.to_string());
        let detail = Some(format!("{}: {why}", relay.origin().ascii_serialization()));
        Self { detail, ..Self::relay_unavailable() }
    }

    /// [`unreachable`](Self::unreachable) because of `error`, of which the innermost cause says most.
    pub(crate) fn unreachable_by(relay: &Url, error: &(dyn StdError + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self::unreachable(relay, innermost)
    }

    pub(crate) fn handshake_timeout(relay: &Url) -> Self {
        let message = "Relay handshake timeout".to_owned();
        Self { message, ..Self::unreachable(relay, "no answer within the timeout") }
    }

    pub(crate) fn recipient_not_found(id: &str) -> Self {
        Self::new(
            Code::RecipientNotFound,
            format!("User {id:?} not found. They may not have registered with STVOR."),
            "Ask the recipient to initialize STVOR first, or verify the userId is correct.",
        )
        .about(id)
    }

    pub(crate) fn recipient_timeout(id: &str, millis: u128) -> Self {
        Self::new(
            Code::RecipientTimeout,
            format!(
                "Timed out waiting for user {id:?} after {millis}ms. The user may not have registered with STVOR yet."
            ),
            "Ensure the recipient has called connect() and is online, or increase the timeout.",
        )
        .retryable()
        .about(id)
    }

    pub(crate) fn client_not_ready() -> Self {
        Self::new(
            Code::ClientNotReady,
            "Client is not ready. Call connect() first and await it.",
            "Await app.connect() before sending messages; after client.disconnect(), connect again, after app.disconnect() with a new app.",
        )
    }

    pub(crate) fn connected_elsewhere(user: &str) -> Self {
        Self::new(
            Code::ConnectedElsewhere,
            format!(
                "Another client has connected as {user:?}: the relay delivers to that one, and nothing more arrives here."
            ),
            "If that is not meant, disconnect both, then connect the one that is to stay: whoever connects last is delivered to.",
        )
    }

    pub(crate) fn delivery_failed(id: &str) -> Self {
        Self::new(
            Code::DeliveryFailed,
            format!("Failed to deliver message to {id}."),
            "Check that the recipient exists and try again.",
        )
        .retryable()
        .about(id)
    }

    pub(crate) fn quota_exceeded() -> Self {
        Self::new(Code::QuotaExceeded, "Message quota exceeded for this AppToken.", "UPGRADE_PLAN")
    }

    pub(crate) fn rate_limited() -> Self {
        Self::new(Code::RateLimited, "Rate limit exceeded. Please try again later.", "WAIT")
            .retryable()
    }

    /// `argument` is what the caller passed, by its JavaScript name; `problem` completes
    /// "`argument` …".
    pub fn invalid_argument(argument: &str, problem: &str) -> Self {
        Self::new(
            Code::InvalidArgument,
            format!("{argument} {problem}."),
            format!("Correct {argument} and call again."),
        )
    }

    pub(crate) fn identity_changed(id: &str, fingerprint: &str) -> Self {
        Self::new(
            Code::IdentityChanged,
            format!(
                "The identity key of {id:?} has changed. Nothing is sent to or delivered from them until the new key is accepted."
            ),
            format!(
                "Compare the fingerprint with them over another channel, then call app.trust({id:?}, '{fingerprint}')."
            ),
        )
        .about(id)
    }

    pub(crate) fn invalid_bundle(id: &str) -> Self {
        Self::new(
            Code::InvalidBundle,
            format!("The public keys announced for {id:?} are malformed or not signed by their identity key."),
            "The relay or the peer is at fault: their keys are ignored until valid ones arrive.",
        )
        .about(id)
    }

    pub(crate) fn decryption_failed(id: &str) -> Self {
        Self::new(
            Code::DecryptionFailed,
            format!("A message from {id:?} could not be authenticated and was dropped."),
            "Nothing: the conversation goes on, and what is genuine is sent again. A peer that speaks wire 3 \
             only has to be asked, if something is missing.",
        )
        .about(id)
    }

    pub(crate) fn replay_detected(id: &str) -> Self {
        Self::new(
            Code::ReplayDetected,
            format!("A message from {id:?} had been received before and was dropped."),
            "Nothing to do: each message is delivered once.",
        )
        .about(id)
    }

    /// What a store's error is to the user.
    pub(crate) fn storage(error: &StoreError) -> Self {
        let StoreError { kind, message, cause, saved: _ } = error;
        let mut error = match kind {
            StoreErrorKind::Failed => Self::new(
                Code::StorageFailed,
                format!("A store failed and the step was not taken: {message}."),
                "Check the storage adapter; the next attempt starts from the last saved state.",
            )
            .retryable(),
            StoreErrorKind::Conflict => Self::new(
                Code::StorageConflict,
                "Another process has written this user's records meanwhile; the step was not taken.",
                "Try again. If it happens often, let one process at a time serve a user.",
            )
            .retryable(),
            StoreErrorKind::Damaged => Self::new(
                Code::StorageDamaged,
                format!("What a store keeps cannot be read: {message}."),
                "Restore the store from a backup; do not start over with an empty one.",
            ),
            StoreErrorKind::OtherIdentity => Self::identity_conflict(message),
        };
        error.cause = *cause;
        error
    }

    /// A step was undone for a reason that has nothing to do with what is refused here.
    pub(crate) fn storage_busy() -> Self {
        Self::new(
            Code::StorageConflict,
            "The step that this belonged to was taken back; nothing has changed.",
            "Try again.",
        )
        .retryable()
    }

    pub(crate) fn identity_conflict(why: &str) -> Self {
        Self::new(
            Code::IdentityConflict,
            format!("The identity store gives another identity than it should: {why}."),
            "Make getIdentityKeyPair() return, for each user, the one pair that it first returned.",
        )
    }

    pub(crate) fn payload_too_large(limit: usize) -> Self {
        Self::new(
            Code::PayloadTooLarge,
            format!("The content is larger than {limit} bytes."),
            "Send it in parts, or send a reference to it.",
        )
    }

    pub(crate) fn outbox_full(id: &str) -> Self {
        Self::new(
            Code::OutboxFull,
            format!("Too many messages wait for {id:?}, who has not handled them yet."),
            "Send again when receipts have come in; nothing of what was accepted is lost.",
        )
        .retryable()
        .about(id)
    }

    pub(crate) fn inbox_full(id: &str) -> Self {
        Self::new(
            Code::OutboxFull,
            format!("{id:?} sends faster than the handlers here complete."),
            "Nothing is lost: the message is received when the handlers have caught up.",
        )
        .retryable()
        .about(id)
    }

    pub(crate) fn pending_full(id: &str) -> Self {
        Self::new(
            Code::OutboxFull,
            format!("Too many messages wait for earlier ones; one of {id:?} is not kept."),
            "Nothing is lost: the message is sent again when what is missing has come.",
        )
        .retryable()
        .about(id)
    }

    pub(crate) fn receipt_timeout(id: &str) -> Self {
        Self::new(
            Code::ReceiptTimeout,
            format!("{id:?} has not handled the message in time."),
            "Do not send it again: it is on its way, and client.onReceipt() will tell.",
        )
        .about(id)
    }

    pub(crate) fn legacy_refused(id: &str) -> Self {
        Self::new(
            Code::ProtocolMismatch,
            format!("{id:?} speaks wire 3 only, which this app refuses."),
            "Have them update @stvor/sdk, or allow it with legacyPeers: 'allow'.",
        )
        .about(id)
    }

    pub(crate) fn legacy_carries_no_values(id: &str) -> Self {
        Self::new(
            Code::ProtocolMismatch,
            format!("{id:?} speaks wire 3, which carries strings and bytes only."),
            "Send a string or a Buffer, for example JSON, or have them update @stvor/sdk.",
        )
        .about(id)
    }

    pub(crate) fn downgraded(id: &str) -> Self {
        Self::new(
            Code::ProtocolMismatch,
            format!("The relay presents {id:?} as speaking wire 3, but they speak wire 4."),
            format!(
                "It was ignored and the conversation goes on. If {id:?} has really gone back to an \
                 old version, have them update @stvor/sdk."
            ),
        )
        .about(id)
    }

    pub(crate) fn outdated_bundle(id: &str) -> Self {
        Self::new(
            Code::InvalidBundle,
            format!("The public keys announced for {id:?} are out of date."),
            format!("They are ignored until current ones arrive: {id:?} shows them by connecting."),
        )
        .about(id)
    }

    pub(crate) fn backend_unavailable() -> Self {
        Self::new(
            Code::BackendUnavailable,
            "The backend for metrics cannot be reached, or did not answer in time.",
            "Check backendUrl and the backend; the next attestation carries the same counters.",
        )
        .retryable()
    }

    /// `reason` is the backend's own, fit to be printed.
    pub(crate) fn metrics_rejected(status: u16, reason: Option<&str>) -> Self {
        let why = reason.map(|reason| format!(", \"{reason}\"")).unwrap_or_default();
        Self::new(
            Code::MetricsRejected,
            format!("The backend does not accept the metrics: HTTP status {status}{why}."),
            "Check the AppToken and the backend's audit log, which says why.",
        )
    }

    /// The relay said why in words; kept as the sentence, since it knows best.
    pub(crate) fn with_message(mut self, message: &str) -> Self {
        self.message = printable(message);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_said_is_a_line_with_nothing_secret_of_the_address() {
        let relay = Url::parse("wss://user:pass@relay.example:8443/path?token=secret").unwrap();
        let said = format!("not valid for x\u{1b}[2J\n{}", "A".repeat(150_000));
        let detail = Error::unreachable(&relay, &said).detail.unwrap();
        let shown = r"wss://relay.example:8443: not valid for x\u{1b}[2J\nAAA";
        assert!(detail.starts_with(shown) && detail.ends_with("AAA…"), "{detail}");
        assert!(detail.chars().count() < 250);
        let refusal = Error::delivery_failed("bob").with_message(&said);
        assert!(refusal.message.chars().count() < 250 && !refusal.message.contains('\n'));
    }

    #[test]
    fn what_concerns_a_peer_names_them_wherever_it_says_so() {
        let errors = [
            Error::recipient_not_found("bob"),
            Error::recipient_timeout("bob", 1_000),
            Error::delivery_failed("bob"),
            Error::identity_changed("bob", "00"),
            Error::invalid_bundle("bob"),
            Error::decryption_failed("bob"),
            Error::replay_detected("bob"),
            Error::outbox_full("bob"),
            Error::inbox_full("bob"),
            Error::pending_full("bob"),
            Error::receipt_timeout("bob"),
            Error::legacy_refused("bob"),
            Error::legacy_carries_no_values("bob"),
            Error::downgraded("bob"),
            Error::outdated_bundle("bob"),
        ];
        for error in errors {
            assert_eq!(error.peer_id.as_deref(), Some("bob"), "{error}");
            assert!(error.message.contains("bob"), "{error}");
            assert!(!format!("{}{}", error.message, error.action).contains(['{', '}']), "{error}");
        }
    }
}
