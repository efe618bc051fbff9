//! Errors on their way to JavaScript: packed as JSON in the reason, unpacked by `lib/errors.js`.

use napi::Error;
use serde::Serialize;

/// What the facade needs to rebuild a `StvorError`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Packed<'a> {
    code: &'a str,
    message: &'a str,
    action: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<&'a str>,
    /// What a store threw, by the facade's number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<u64>,
    /// Why a relay cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl Packed<'_> {
    fn into_text(self) -> String {
        serde_json::to_string(&self).unwrap_or_else(|error| error.to_string())
    }
}

/// The packed form of a client's error.
pub(crate) fn pack(error: &stvor_client::Error) -> String {
    Packed {
        code: error.code.as_str(),
        message: &error.message,
        action: &error.action,
        retryable: error.retryable,
        peer_id: error.peer_id.as_deref(),
        cause: error.cause,
        detail: error.detail.as_deref(),
    }
    .into_text()
}

/// A client's error as what a napi function returns.
pub(crate) fn to_js(error: stvor_client::Error) -> Error {
    Error::from_reason(pack(&error))
}

/// An error of the calls that need no client: `message` and `action` are sentences.
pub(crate) fn failure(code: &str, message: &str, action: &str) -> Error {
    let packed = Packed {
        code,
        message,
        action,
        retryable: false,
        peer_id: None,
        cause: None,
        detail: None,
    };
    Error::from_reason(packed.into_text())
}

/// `argument` is not what it has to be; `why` is a sentence without its stop.
pub(crate) fn invalid_argument(argument: &str, why: impl std::fmt::Display) -> Error {
    let message = format!("{argument} is refused: {why}.");
    failure("INVALID_ARGUMENT", &message, &format!("Correct {argument} and call again."))
}
