//! Bodies of the HTTP relay's requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `"ok"`.
    pub status: String,
    /// What a relay of ours can do besides the original's HTTP; `"websocket"` among them means
    /// that the same port speaks WebSocket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// `POST /register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterBody {
    /// User id.
    pub user_id: String,
    /// A [`PublicKeyBundle`](crate::PublicKeyBundle).
    #[serde(rename = "publicKeys")]
    pub public_keys: Value,
}

/// `GET /public-key/<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicKeyAnswer {
    /// Absent when the user registered without keys.
    #[serde(rename = "publicKeys", default, skip_serializing_if = "Option::is_none")]
    pub public_keys: Option<Value>,
}

/// `POST /message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBody {
    /// Recipient's user id.
    pub to: String,
    /// Sender's user id.
    pub from: String,
    /// base64url.
    pub ciphertext: String,
    /// base64url of the 85-byte header.
    pub header: String,
}

/// One message of [`MessagesAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedMessage {
    /// Chosen by the relay.
    #[serde(default)]
    pub id: String,
    /// Sender's user id.
    pub from: String,
    /// base64url.
    pub ciphertext: String,
    /// base64url of the 85-byte header.
    pub header: String,
    /// The relay's clock, ISO 8601 in UTC with milliseconds.
    #[serde(default)]
    pub timestamp: String,
}

/// `GET /messages/<id>`. Entries are parsed one by one: a bad one must not cost the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessagesAnswer {
    /// Each a [`FetchedMessage`].
    #[serde(default)]
    pub messages: Vec<Box<RawValue>>,
    /// Their number.
    #[serde(default)]
    pub count: u64,
}

/// `GET /usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageAnswer {
    /// Messages sent under this token.
    #[serde(default)]
    pub used: i64,
    /// -1 for no limit.
    #[serde(default = "no_limit")]
    pub limit: i64,
}

fn no_limit() -> i64 {
    -1
}

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A sentence for people.
    #[serde(default)]
    pub error: String,
    /// Machine-readable; the original never sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
