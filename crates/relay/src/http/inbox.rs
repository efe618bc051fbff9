//! Messages between the dialects: what is posted over HTTP becomes the `message` frame that a
//! WebSocket client reads, and a frame becomes what `GET /messages` lists.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use stvor_wire::{Envelope, FetchedMessage};

use crate::hub::Stored;

/// What a message carries besides sender and recipient.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) ciphertext: String,
    pub(super) header: String,
    #[serde(rename = "groupId", default, skip_serializing_if = "Option::is_none")]
    pub(super) group_id: Option<Value>,
    #[serde(rename = "groupHeader", default, skip_serializing_if = "Option::is_none")]
    pub(super) group_header: Option<Value>,
    #[serde(rename = "pqcCt", default, skip_serializing_if = "Option::is_none")]
    pub(super) pqc_ct: Option<Value>,
}

/// An entry of `GET /messages`.
#[derive(Debug, Serialize)]
pub(super) struct Fetched {
    #[serde(flatten)]
    message: FetchedMessage,
    #[serde(rename = "groupId", skip_serializing_if = "Option::is_none")]
    group_id: Option<Value>,
    #[serde(rename = "groupHeader", skip_serializing_if = "Option::is_none")]
    group_header: Option<Value>,
    #[serde(rename = "pqcCt", skip_serializing_if = "Option::is_none")]
    pqc_ct: Option<Value>,
}

impl Payload {
    /// JSON text, to be put into frames as it is.
    pub(super) fn json(&self) -> Box<RawValue> {
        // A map with string keys: writing it cannot fail.
        to_raw_value(self).unwrap_or_default()
    }
}

/// The `message` frame for a message that came over HTTP.
pub(super) fn frame(id: &str, to: &str, from: &str, payload: &RawValue, now: u64) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        r#type: &'static str,
        id: &'a str,
        to: &'a str,
        from: &'a str,
        payload: &'a RawValue,
        timestamp: u64,
    }
    let frame = Frame { r#type: "message", id, to, from, payload, timestamp: now };
    serde_json::to_vec(&frame).unwrap_or_default().into()
}

/// How an HTTP client reads the message; `None` if it has no sender or no ciphertext and header,
/// which the original's client could not read: such a message waits for a WebSocket client.
pub(super) fn fetched(stored: &Stored) -> Option<Fetched> {
    let envelope: Envelope = serde_json::from_slice(&stored.frame).ok()?;
    let payload: Payload = serde_json::from_value(envelope.payload).ok()?;
    let id = match (stored.id, envelope.id) {
        (Some(id), _) => hex(&id),
        (None, Some(Value::String(id))) => id,
        (None, _) => format!("{:024x}", stored.sequence),
    };
    let Payload { ciphertext, header, group_id, group_header, pqc_ct } = payload;
    let timestamp = super::iso8601(stored.at);
    let message = FetchedMessage { id, from: envelope.from?, ciphertext, header, timestamp };
    Some(Fetched { message, group_id, group_header, pqc_ct })
}

/// Lower-case hex of a message id.
pub(super) fn hex(id: &[u8; 12]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The message id that `text` spells.
pub(super) fn from_hex(text: &str) -> Option<[u8; 12]> {
    let mut id = [0; 12];
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.contains('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        let id = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xab, 0xff];
        assert_eq!(from_hex(&hex(&id)), Some(id));
        for text in ["", "00", "zz0102030405060708090a0b", "+10102030405060708090a0b"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn a_frame_without_what_the_original_reads_is_not_listed() {
        let stored = |frame: &'static str| Stored {
            sequence: 7,
            at: 0,
            id: None,
            unlisted: false,
            frame: Bytes::from_static(frame.as_bytes()),
        };
        let readable = r#"{"to":"b","from":"a","payload":{"ciphertext":"c","header":"h","x":1}}"#;
        let listed = serde_json::to_value(fetched(&stored(readable))).unwrap();
        let expected = serde_json::json!({
            "id": "000000000000000000000007", "from": "a", "ciphertext": "c", "header": "h",
            "timestamp": "1970-01-01T00:00:00.000Z"
        });
        assert_eq!(listed, expected);
        for frame in [
            r#"{"to":"b","payload":{"ciphertext":"c","header":"h"}}"#,
            r#"{"to":"b","from":"a","payload":"x"}"#,
            r#"{"to":"b","from":"a","payload":{"ciphertext":"c"}}"#,
        ] {
            assert!(fetched(&stored(frame)).is_none(), "{frame}");
        }
    }
}
