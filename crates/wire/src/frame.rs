//! WebSocket frames: JSON text, one object a frame, told apart by `type`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::OneTimePrekey;

/// Request header in which a client names, comma-separated, the optional features it speaks.
///
/// A relay that knows some of them answers with `features` in its handshake frame; towards a
/// client that names none, every frame is exactly what the original's mock relay sends.
pub const FEATURES_HEADER: &str = "stvor-features";

/// Feature: messages reach the client as `deliver` frames and stay in the relay's mailbox until
/// the client has answered `received`.
pub const FEATURE_ACK: &str = "ack";

/// Feature: a client says `leave` when one of several users on its socket goes, so that the relay
/// keeps their messages from then on. Without it only closing the socket says so.
pub const FEATURE_LEAVE: &str = "leave";

/// Feature: the relay keeps one-time prekeys of its users and hands each out once. A client
/// uploads `prekeys` and asks for a peer by `lookup`.
pub const FEATURE_PREKEYS: &str = "prekeys";

/// A message on its way: the `message` frame without its `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the sender, echoed in `ack` and `queued`. Any JSON value in frames of others;
    /// ours are strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// Recipient's user id.
    pub to: String,
    /// Sender's user id, as claimed: no relay checks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `{"ciphertext", "header"}`, base64url, in our messages. Any JSON value to a relay.
    #[serde(default)]
    pub payload: Value,
    /// The sender's clock in milliseconds since the Unix epoch. Not authenticated in wire 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
}

/// A user and its public keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    /// User id.
    pub user: String,
    /// A [`PublicKeyBundle`](crate::PublicKeyBundle) in ours; any JSON value in others'.
    #[serde(rename = "pub", default, skip_serializing_if = "Option::is_none")]
    pub public_keys: Option<Value>,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientFrame {
    /// Registers the user on this socket; a later socket takes over.
    Announce(Announce),
    /// A message to be forwarded unchanged.
    Message(Envelope),
    /// Feature [`FEATURE_LEAVE`]: the user is no longer on this socket; the keys stay known.
    Leave {
        /// User id.
        user: String,
    },
    /// Feature [`FEATURE_ACK`]: these deliveries are committed and may leave the mailbox.
    Received {
        /// The `delivery` numbers of `deliver` frames of this connection.
        deliveries: Vec<u64>,
    },
    /// Feature [`FEATURE_PREKEYS`]: more one-time prekeys of a user whom this socket has announced.
    Prekeys {
        /// User id.
        user: String,
        /// To be kept behind those that the relay has.
        prekeys: Vec<OneTimePrekey>,
    },
    /// Feature [`FEATURE_PREKEYS`]: asks for a user's bundle and one of their one-time prekeys.
    Lookup {
        /// User id.
        user: String,
    },
}

/// Whether the relay accepts the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandshakeStatus {
    /// Accepted.
    Ok,
    /// Refused; the relay closes with code 4001.
    Error,
}

/// The relay's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// Accepted or refused.
    pub status: HandshakeStatus,
    /// Why it was refused, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Features in force on this connection; absent when the client named none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Why the relay refused a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefusalCode {
    /// The recipient's mailbox holds as many messages or bytes as it may.
    MailboxFull,
    /// The relay knows as many users as it may.
    TooManyUsers,
    /// The relay stores as many bytes for all users together as it may.
    StorageFull,
    /// A user id is empty or longer than the relay allows.
    InvalidUserId,
    /// The frame is larger than the relay allows; the relay closes with code 1009.
    FrameTooLarge,
    /// Not JSON, or not one of the frames.
    InvalidFrame,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a relay sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RelayFrame {
    /// First frame of a relay that authenticates.
    Handshake(Handshake),
    /// A user and its keys: replayed after the handshake, then live.
    Announce(Announce),
    /// A message for a user of this socket; leaves the mailbox once written.
    Message(Envelope),
    /// Feature [`FEATURE_ACK`]: a message that stays in the mailbox until it is `received`.
    Deliver {
        /// Number of this delivery on this connection.
        delivery: u64,
        /// The sender's `message` frame, unchanged.
        message: Envelope,
    },
    /// The message was handed to its recipient's socket.
    Ack {
        /// The sender's id, or null.
        #[serde(default)]
        id: Value,
    },
    /// The recipient is absent; the message is in its mailbox.
    Queued {
        /// The sender's id, or null.
        #[serde(default)]
        id: Value,
        /// Recipient's user id.
        #[serde(default)]
        to: String,
        /// A sentence for people.
        #[serde(default)]
        message: String,
    },
    /// A frame was refused; nothing was stored or forwarded.
    Error {
        /// The sender's id, or null.
        #[serde(default)]
        id: Value,
        /// Why.
        code: RefusalCode,
        /// A sentence for people.
        #[serde(default)]
        message: String,
    },
    /// Feature [`FEATURE_PREKEYS`]: how many one-time prekeys the relay has of a user of this
    /// socket: after an upload or an announcement, and when they run low.
    Prekeys {
        /// User id.
        user: String,
        /// Their number.
        left: u64,
    },
    /// Feature [`FEATURE_PREKEYS`]: answers a `lookup`.
    Found {
        /// User id.
        user: String,
        /// A [`PublicKeyBundle`](crate::PublicKeyBundle) in ours; any JSON value in others'.
        #[serde(rename = "pub")]
        public_keys: Value,
        /// Handed out to nobody else. Absent when none is left, or too many were asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prekey: Option<OneTimePrekey>,
    },
    /// Feature [`FEATURE_PREKEYS`]: answers a `lookup` of somebody who has announced no keys.
    Unknown {
        /// User id.
        user: String,
    },
}

/// Our own `message` frame, borrowed: what a client writes.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "message")]
pub struct OutgoingMessage<'a> {
    /// Unique to the sender; echoed in `ack` and `queued`.
    pub id: &'a str,
    /// Recipient's user id.
    pub to: &'a str,
    /// Sender's user id.
    pub from: &'a str,
    /// What was sealed.
    pub payload: Payload<'a>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}

/// A sealed message as it travels in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload<'a> {
    /// base64url.
    #[serde(borrow)]
    pub ciphertext: Cow<'a, str>,
    /// base64url of the 85-byte header.
    #[serde(borrow)]
    pub header: Cow<'a, str>,
}

/// A relay's frame as a client reads it: one flat pass, nothing copied, foreign fields ignored.
///
/// [`RelayFrame`] describes the same frames as types; this reads them without the buffering that
/// an internally tagged enum costs on every message.
#[derive(Debug, Deserialize)]
pub struct IncomingFrame<'a> {
    /// `handshake`, `announce`, `message`, `deliver`, `ack`, `queued`, `error`, `prekeys`, `found`,
    /// `unknown`, or foreign.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// Of `handshake`.
    #[serde(default)]
    pub status: Option<HandshakeStatus>,
    /// Of `handshake`.
    #[serde(default, borrow)]
    pub reason: Option<Cow<'a, str>>,
    /// Of `handshake`.
    #[serde(default)]
    pub features: Vec<String>,
    /// Of `announce`, `prekeys`, `found`, `unknown`.
    #[serde(default, borrow)]
    pub user: Option<Cow<'a, str>>,
    /// Of `announce` and `found`: a bundle, or anything.
    #[serde(rename = "pub", default, borrow)]
    pub public_keys: Option<&'a RawValue>,
    /// Of `message`, `ack`, `queued`, `error`.
    #[serde(default, borrow)]
    pub id: Option<&'a RawValue>,
    /// Of `message`.
    #[serde(default, borrow)]
    pub to: Option<Cow<'a, str>>,
    /// Of `message`.
    #[serde(default, borrow)]
    pub from: Option<Cow<'a, str>>,
    /// Of `message`: a [`Payload`], or anything.
    #[serde(default, borrow)]
    pub payload: Option<&'a RawValue>,
    /// Of `message`: milliseconds since the Unix epoch in ours, or anything.
    #[serde(default, borrow)]
    pub timestamp: Option<&'a RawValue>,
    /// Of `deliver`.
    #[serde(default)]
    pub delivery: Option<u64>,
    /// Of `deliver`: a `message` frame. Of `queued` and `error`: a sentence.
    #[serde(default, borrow)]
    pub message: Option<&'a RawValue>,
    /// Of `error`.
    #[serde(default)]
    pub code: Option<RefusalCode>,
    /// Of `prekeys`: a number, or anything.
    #[serde(default, borrow)]
    pub left: Option<&'a RawValue>,
    /// Of `found`: a [`OneTimePrekey`], or anything.
    #[serde(default, borrow)]
    pub prekey: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_through_the_shapes_of_the_wire() {
        let cases = [
            r#"{"type":"announce","user":"alice","pub":{"identityKey":"x"}}"#,
            r#"{"type":"message","id":"m-1","to":"bob","from":"alice","payload":{"ciphertext":"a","header":"b"}}"#,
            r#"{"type":"leave","user":"alice"}"#,
            r#"{"type":"received","deliveries":[1,2]}"#,
            r#"{"type":"prekeys","user":"bob","prekeys":[{"id":7,"key":"BA"}]}"#,
            r#"{"type":"lookup","user":"bob"}"#,
        ];
        for text in cases {
            let frame: ClientFrame = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        }
    }

    #[test]
    fn answers_about_prekeys_round_trip_and_are_read_in_one_flat_pass() {
        let cases = [
            r#"{"type":"prekeys","user":"bob","left":24}"#,
            r#"{"type":"found","user":"bob","pub":{"v4":"AA"},"prekey":{"id":7,"key":"BA"}}"#,
            r#"{"type":"found","user":"bob","pub":{}}"#,
            r#"{"type":"unknown","user":"bob"}"#,
        ];
        for text in cases {
            let frame: RelayFrame = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
            let flat: IncomingFrame<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(flat.user.as_deref(), Some("bob"), "{text}");
        }
        let flat: IncomingFrame<'_> = serde_json::from_str(cases[1]).unwrap();
        assert_eq!(flat.prekey.map(RawValue::get), Some(r#"{"id":7,"key":"BA"}"#));
    }

    #[test]
    fn a_message_of_others_may_have_any_field() {
        let text = r#"{"type":"message","to":"bob","from":"a","left":"over","prekey":[]}"#;
        assert!(serde_json::from_str::<IncomingFrame<'_>>(text).is_ok());
    }

    #[test]
    fn a_handshake_without_features_is_the_originals() {
        let ok = RelayFrame::Handshake(Handshake {
            status: HandshakeStatus::Ok,
            reason: None,
            features: vec![],
        });
        assert_eq!(serde_json::to_string(&ok).unwrap(), r#"{"type":"handshake","status":"ok"}"#);
    }

    #[test]
    fn an_outgoing_message_is_read_back_in_one_flat_pass() {
        let text = serde_json::to_string(&OutgoingMessage {
            id: "m-1",
            to: "bob",
            from: "alice",
            payload: Payload { ciphertext: "YQ".into(), header: "Yg".into() },
            timestamp: 7,
        })
        .unwrap();
        let frame: IncomingFrame<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(frame.kind, "message");
        assert_eq!((frame.to.as_deref(), frame.from.as_deref()), (Some("bob"), Some("alice")));
        let payload: Payload<'_> = serde_json::from_str(frame.payload.unwrap().get()).unwrap();
        assert_eq!((&*payload.ciphertext, &*payload.header), ("YQ", "Yg"));
    }

    #[test]
    fn an_unknown_refusal_code_is_read_as_unknown() {
        let text = r#"{"type":"error","id":"m","code":"OF_A_LATER_VERSION"}"#;
        let frame: RelayFrame = serde_json::from_str(text).unwrap();
        assert!(matches!(frame, RelayFrame::Error { code: RefusalCode::Unknown, .. }));
    }
}
