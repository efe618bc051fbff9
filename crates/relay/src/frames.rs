//! Frames as the relay sees them: the few fields it routes by, read without copying the rest.
//!
//! `stvor-wire` gives the shapes; here they are read from borrowed text, because a message is
//! passed on as it came and its payload is never taken apart.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use stvor_wire::{Handshake, HandshakeStatus, OneTimePrekey, RefusalCode, RelayFrame};

/// A frame that has a `type` this relay knows and the fields it needs.
#[derive(Debug)]
pub(crate) enum ClientFrame<'a> {
    /// Registers a user on the socket.
    Announce {
        user: Cow<'a, str>,
        /// JSON text.
        keys: Option<&'a str>,
    },
    /// A message to pass on.
    Message(Message<'a>),
    /// The user is no longer on the socket.
    Leave { user: Cow<'a, str> },
    /// Deliveries that the client has committed.
    Received(Vec<u64>),
    /// One-time prekeys of a user of the socket.
    Prekeys { user: Cow<'a, str>, prekeys: Vec<OneTimePrekey> },
    /// Asks for a user's keys.
    Lookup { user: Cow<'a, str> },
}

/// The fields of a `message` frame that the relay reads; JSON text where it only echoes them.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) text: &'a str,
    pub(crate) to: Cow<'a, str>,
    pub(crate) id: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<&'a RawValue>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, rename = "pub", default)]
    keys: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deliveries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prekeys: Option<&'a RawValue>,
}

impl<'a> ClientFrame<'a> {
    /// `None` when `text` is not one of the frames.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let fields: Fields<'a> = serde_json::from_str(text).ok()?;
        match string(fields.kind)?.as_ref() {
            "message" => Some(Self::Message(Message {
                text,
                to: string(fields.to).filter(|to| !to.is_empty())?,
                id: fields.id.map(RawValue::get),
                from: fields.from.map(RawValue::get).filter(|from| is_truthy(from)),
            })),
            "announce" => Some(Self::Announce {
                user: string(fields.user).filter(|user| !user.is_empty())?,
                keys: fields.keys.map(RawValue::get),
            }),
            "leave" => Some(Self::Leave { user: string(fields.user)? }),
            "prekeys" => Some(Self::Prekeys {
                user: string(fields.user)?,
                prekeys: serde_json::from_str(fields.prekeys?.get()).ok()?,
            }),
            "lookup" => Some(Self::Lookup { user: string(fields.user)? }),
            "received" => serde_json::from_str(fields.deliveries?.get()).ok().map(Self::Received),
            _ => None,
        }
    }
}

/// The text of a JSON string; borrowed unless it holds escapes. `None` for other values.
fn string(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = raw?.get();
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

fn is_truthy(json: &str) -> bool {
    !matches!(json, "\"\"" | "0" | "false" | "null")
}

/// Why a frame was refused: nothing was stored or forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RefusalCode,
    pub(crate) message: &'static str,
}

impl Refusal {
    pub(crate) const INVALID_FRAME: Self =
        Self::new(RefusalCode::InvalidFrame, "Not JSON, or not a frame this relay knows.");
    pub(crate) const FRAME_TOO_LARGE: Self =
        Self::new(RefusalCode::FrameTooLarge, "Frame larger than this relay allows.");
    pub(crate) const INVALID_USER_ID: Self =
        Self::new(RefusalCode::InvalidUserId, "User id longer than this relay allows.");
    pub(crate) const KEYS_TOO_LARGE: Self =
        Self::new(RefusalCode::InvalidFrame, "Public keys larger than this relay allows.");
    pub(crate) const TOO_MANY_USERS: Self =
        Self::new(RefusalCode::TooManyUsers, "This relay knows as many users as it may.");
    pub(crate) const MAILBOX_FULL: Self =
        Self::new(RefusalCode::MailboxFull, "The recipient's mailbox is full.");
    pub(crate) const STORAGE_FULL: Self =
        Self::new(RefusalCode::StorageFull, "This relay stores as much as it may.");

    pub(crate) const NOT_ANNOUNCED: Self = Self::new(
        RefusalCode::InvalidFrame,
        "Prekeys of a user whom this connection has not announced with keys.",
    );

    const fn new(code: RefusalCode, message: &'static str) -> Self {
        Self { code, message }
    }
}

/// `{"type":"handshake","status":"ok"}`, with the features in force if there are any.
pub(crate) fn welcome(features: Vec<String>) -> Bytes {
    text(&RelayFrame::Handshake(Handshake { status: HandshakeStatus::Ok, reason: None, features }))
}

/// The handshake of a connection whose token is not accepted.
pub(crate) fn unauthorized(prefixes: &[String]) -> Bytes {
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix:?}")).collect();
    text(&RelayFrame::Handshake(Handshake {
        status: HandshakeStatus::Error,
        reason: Some(format!("Invalid AppToken. Token must start with {}.", prefixes.join(" or "))),
        features: vec![],
    }))
}

/// `announce`, with `keys` as the JSON text they came in; also where in it they are.
pub(crate) fn announce(user: &str, keys: Option<&str>) -> Bytes {
    let user = quoted(user);
    match keys {
        Some(keys) => format!(r#"{{"type":"announce","user":{user},"pub":{keys}}}"#).into(),
        None => format!(r#"{{"type":"announce","user":{user}}}"#).into(),
    }
}

/// `ack`; `id` is JSON text.
pub(crate) fn ack(id: Option<&str>) -> Bytes {
    format!(r#"{{"type":"ack","id":{}}}"#, id.unwrap_or("null")).into()
}

/// `queued`; `id` is JSON text.
pub(crate) fn queued(id: Option<&str>, to: &str) -> Bytes {
    let (id, to) = (id.unwrap_or("null"), quoted(to));
    let message = "Recipient is offline. Message queued for delivery.";
    format!(r#"{{"type":"queued","id":{id},"to":{to},"message":"{message}"}}"#).into()
}

/// `prekeys`, as the relay says it.
pub(crate) fn prekeys_left(user: &str, left: usize) -> Bytes {
    format!(r#"{{"type":"prekeys","user":{},"left":{left}}}"#, quoted(user)).into()
}

/// `found`; `keys` is JSON text.
pub(crate) fn found(user: &str, keys: &[u8], prekey: Option<&OneTimePrekey>) -> Bytes {
    let prekey = prekey.and_then(|prekey| serde_json::to_string(prekey).ok());
    let prekey = prekey.map(|prekey| format!(r#","prekey":{prekey}"#)).unwrap_or_default();
    let mut frame = format!(r#"{{"type":"found","user":{},"pub":"#, quoted(user)).into_bytes();
    frame.extend_from_slice(keys);
    frame.extend_from_slice(prekey.as_bytes());
    frame.push(b'}');
    frame.into()
}

/// `unknown`.
pub(crate) fn unknown(user: &str) -> Bytes {
    format!(r#"{{"type":"unknown","user":{}}}"#, quoted(user)).into()
}

/// `error`; `id` is JSON text.
pub(crate) fn error(id: Option<&str>, refusal: &Refusal) -> Bytes {
    let id = id.and_then(|id| serde_json::from_str(id).ok()).unwrap_or_default();
    text(&RelayFrame::Error { id, code: refusal.code, message: refusal.message.to_owned() })
}

fn text(frame: &RelayFrame) -> Bytes {
    // Maps with string keys and no custom code: writing one cannot fail.
    serde_json::to_vec(frame).unwrap_or_default().into()
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_without_taking_its_payload_apart() {
        let text = r#" {"id":7,"extra":"kept","type":"mess\u0061ge","to":"b\"ob","from":"a","payload":[1]} "#;
        let Some(ClientFrame::Message(message)) = ClientFrame::parse(text) else { panic!() };
        assert_eq!(
            (message.to.as_ref(), message.id, message.from),
            ("b\"ob", Some("7"), Some("\"a\""))
        );
        assert_eq!(message.text, text);
    }

    #[test]
    fn what_lacks_a_field_or_is_not_json_is_no_frame() {
        for text in [
            "not json",
            "null",
            r#"{"type":"message"}"#,
            r#"{"type":"message","to":7}"#,
            r#"{"type":"announce"}"#,
            r#"{"type":"announce","user":""}"#,
            r#"{"type":"received"}"#,
            r#"{"type":"received","deliveries":[-1]}"#,
            r#"{"type":"prekeys","user":"bob"}"#,
            r#"{"type":"prekeys","user":"bob","prekeys":[{"id":-1,"key":"k"}]}"#,
            r#"{"type":"prekeys","user":"bob","prekeys":[{"id":1}]}"#,
            r#"{"type":"lookup"}"#,
            r#"{"type":"unknown","x":1}"#,
            r#"{"type":"message","to":"a","to":"b"}"#,
            r#"{"type":"message","to":"a"} trailing"#,
        ] {
            assert!(ClientFrame::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn from_counts_as_missing_when_javascript_would_call_it_false() {
        for (from, expected) in [("null", false), ("\"\"", false), ("\"a\"", true), ("7", true)] {
            let text = format!(r#"{{"type":"message","to":"b","from":{from}}}"#);
            let Some(ClientFrame::Message(message)) = ClientFrame::parse(&text) else { panic!() };
            assert_eq!(message.from.is_some(), expected, "{from}");
        }
    }

    #[test]
    fn answers_have_the_shapes_of_the_wire() {
        let parse = |bytes: Bytes| serde_json::from_slice::<RelayFrame>(&bytes).unwrap();
        assert_eq!(parse(ack(None)), RelayFrame::Ack { id: serde_json::Value::Null });
        assert_eq!(parse(ack(Some("\"m\""))), RelayFrame::Ack { id: "m".into() });
        let RelayFrame::Queued { to, .. } = parse(queued(None, "b\"ob")) else { panic!() };
        assert_eq!(to, "b\"ob");
        let RelayFrame::Error { code, id, .. } = parse(error(Some("7"), &Refusal::MAILBOX_FULL))
        else {
            panic!()
        };
        assert_eq!((code, id), (RefusalCode::MailboxFull, 7.into()));
        let RelayFrame::Announce(announce) = parse(announce("a", Some("{\"k\":1}"))) else {
            panic!()
        };
        assert_eq!(announce.public_keys, Some(serde_json::json!({"k": 1})));
        let user = "b\"ob".to_owned();
        assert_eq!(
            parse(prekeys_left(&user, 7)),
            RelayFrame::Prekeys { user: user.clone(), left: 7 }
        );
        assert_eq!(parse(unknown(&user)), RelayFrame::Unknown { user: user.clone() });
        for prekey in [None, Some(OneTimePrekey { id: 7, key: "k\"".into() })] {
            let public_keys = serde_json::json!({"k": 1});
            let answer = parse(found(&user, b"{\"k\":1}", prekey.as_ref()));
            assert_eq!(answer, RelayFrame::Found { user: user.clone(), public_keys, prekey });
        }
    }
}
