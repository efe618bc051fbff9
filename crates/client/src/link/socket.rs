//! One WebSocket connection: reaching the relay, finding out what it speaks, reading frames.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use stvor_wire::{
    FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS, FEATURES_HEADER, HandshakeStatus, IncomingFrame,
    OneTimePrekey, Payload, PublicKeyBundle,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use url::Url;

use super::directory::MAX_KNOWN;
use super::{Envelope, message_id, tls};
use crate::Error;
use crate::config::{Checked, MAX_USER_ID};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(super) type Writer = SplitSink<Socket, Message>;
pub(super) type Reader = SplitStream<Socket>;

/// Frames of our relay are at most 1 MiB; the rest is what `deliver` puts around one.
const MAX_FRAME: usize = (1 << 20) + 4096;

/// What the relay turned out to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dialect {
    /// Answers each message with `ack`, `queued` or `error`. Without it a message counts as sent
    /// when a pong proves that the relay has read it.
    pub(super) acknowledges: bool,
    /// Understands `leave`. Without it a user who goes is only believed gone when the socket is.
    pub(super) understands_leave: bool,
    /// Understands `prekeys` and `lookup`. Without it look-ups are answered by what was announced.
    pub(super) hands_out_prekeys: bool,
}

/// Users and their keys.
pub(super) type Known = Vec<(String, PublicKeyBundle)>;

/// A connection that passed its handshake.
pub(super) struct Established {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) dialect: Dialect,
    /// Users that the relay knew already.
    pub(super) known: Known,
}

/// Connects and waits until the relay has told what it speaks and whom it knows.
///
/// A ping goes out first: frames keep their order, so when its pong arrives without a `handshake`
/// before it, the relay is one that sends none, and every known user has been replayed. No guess
/// by time is needed.
pub(super) async fn establish(
    url: &Url,
    config: &Checked,
    connector: &Connector,
) -> Result<Established, Error> {
    let attempt = async {
        let socket = connect(url, config, connector.clone()).await?;
        let (mut writer, mut reader) = socket.split();
        let ping = Message::Ping(b"stvor".as_slice().into());
        writer.send(ping).await.map_err(|error| Error::unreachable_by(url, &error))?;
        let mut dialect = Dialect::default();
        let mut known = Vec::new();
        loop {
            match reader.next().await {
                Some(Ok(Message::Text(text))) => match read(&text) {
                    Frame::Handshake(Ok(spoken)) => dialect = spoken,
                    Frame::Handshake(Err(error)) => return Err(error),
                    Frame::Announce(user, bundle) if known.len() < MAX_KNOWN => {
                        known.push((user, *bundle));
                    }
                    _ => {}
                },
                Some(Ok(Message::Pong(_))) => {
                    return Ok(Established { writer, reader, dialect, known });
                }
                Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 4001 => {
                    return Err(Error::auth_failed());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Error::unreachable_by(url, &error)),
                None => return Err(Error::unreachable(url, "the connection was closed")),
            }
        }
    };
    timeout(config.timeout, attempt).await.unwrap_or_else(|_| Err(Error::handshake_timeout(url)))
}

/// How connections to `url` are secured; made once, as reading the system's roots is slow.
pub(super) fn connector(url: &Url, config: &Checked) -> Result<Connector, Error> {
    match url.scheme() {
        "wss" => Ok(Connector::Rustls(tls::client_config(config.ca.as_deref())?)),
        _ => Ok(Connector::Plain),
    }
}

async fn connect(url: &Url, config: &Checked, connector: Connector) -> Result<Socket, Error> {
    let unavailable = |_| Error::relay_unavailable();
    let mut request = url.as_str().into_client_request().map_err(unavailable)?;
    let token = HeaderValue::from_str(&config.authorization);
    let mut token = token.map_err(|_| Error::invalid_app_token())?;
    token.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert("authorization", token);
    let features = [FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS].join(",");
    let features = HeaderValue::from_str(&features);
    headers.insert(FEATURES_HEADER, features.map_err(|_| Error::relay_unavailable())?);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME))
        .read_buffer_size(32 << 10);
    let connected = tokio_tungstenite::connect_async_tls_with_config(
        request,
        Some(limits),
        true, // no Nagle: frames are already coalesced here
        Some(connector),
    );
    match connected.await {
        Ok((socket, _answer)) => Ok(socket),
        Err(tungstenite::Error::Http(answer))
            if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
        {
            Err(Error::auth_failed())
        }
        Err(error) => Err(Error::unreachable_by(url, &error)),
    }
}

/// Writes everything queued and flushes once. Safe to drop at any await: a message is taken off
/// the queue only when the socket's buffer takes it.
pub(super) async fn drain(
    writer: &mut Writer,
    queue: &mut VecDeque<Message>,
) -> Result<(), tungstenite::Error> {
    while !queue.is_empty() {
        poll_fn(|cx| writer.poll_ready_unpin(cx)).await?;
        if let Some(message) = queue.pop_front() {
            writer.start_send_unpin(message)?;
        }
    }
    poll_fn(|cx| writer.poll_flush_unpin(cx)).await
}

/// How long a relay may take to read what is left and to answer a goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Writes what is left, says goodbye and reads on until the relay does too: what it had already written still counts.
pub(super) async fn close(
    writer: &mut Writer,
    reader: &mut Reader,
    mut left: VecDeque<Message>,
    mut last: impl FnMut(&str),
) {
    let goodbye = async {
        if drain(writer, &mut left).await.is_err() {
            return;
        }
        let _gone_anyway = writer.close().await;
        while let Some(Ok(message)) = reader.next().await {
            if let Message::Text(text) = message {
                last(&text);
            }
        }
    };
    let _patience_over = timeout(GOODBYE, goodbye).await;
}

/// A frame, as far as it concerns a client.
pub(super) enum Frame {
    Handshake(Result<Dialect, Error>),
    Announce(String, Box<PublicKeyBundle>),
    /// For user `to`; with the relay's number if it waits for the commit.
    Message {
        to: String,
        envelope: Envelope,
        delivery: Option<u64>,
    },
    Delivered(String),
    Queued(String),
    Refused(String, stvor_wire::RefusalCode, String),
    /// So many one-time prekeys of the user are left.
    PrekeysLeft(String, usize),
    /// Answers a look-up of that user; nothing if nobody has announced keys that could be read.
    LookedUp(String, Option<(Box<PublicKeyBundle>, Option<OneTimePrekey>)>),
    /// Malformed, foreign, or nothing for us.
    Other,
}

/// Reads a text frame; whatever a relay sends, the answer is a [`Frame`].
pub(super) fn read(text: &str) -> Frame {
    let Ok(frame) = serde_json::from_str::<IncomingFrame<'_>>(text) else { return Frame::Other };
    match &*frame.kind {
        "handshake" => Frame::Handshake(match frame.status {
            Some(HandshakeStatus::Ok) => Ok(Dialect {
                acknowledges: true,
                understands_leave: frame.features.iter().any(|f| f == FEATURE_LEAVE),
                hands_out_prekeys: frame.features.iter().any(|f| f == FEATURE_PREKEYS),
            }),
            _ => Err(Error::auth_failed()),
        }),
        "announce" => announce(frame),
        "message" => message(frame, None),
        "deliver" => {
            let Some(delivery) = frame.delivery else { return Frame::Other };
            let inner = frame.message.and_then(|m| serde_json::from_str(m.get()).ok());
            inner.map_or(Frame::Other, |inner| message(inner, Some(delivery)))
        }
        "ack" => Frame::Delivered(as_text(frame.id)),
        "queued" => Frame::Queued(as_text(frame.id)),
        "error" => {
            let code = frame.code.unwrap_or(stvor_wire::RefusalCode::Unknown);
            Frame::Refused(as_text(frame.id), code, as_text(frame.message))
        }
        "prekeys" => {
            let left = frame.left.and_then(|left| left.get().parse().ok());
            match (frame.user, left) {
                (Some(user), Some(left)) => Frame::PrekeysLeft(user.into_owned(), left),
                _ => Frame::Other,
            }
        }
        "found" => found(frame),
        "unknown" => {
            frame.user.map_or(Frame::Other, |user| Frame::LookedUp(user.into_owned(), None))
        }
        _ => Frame::Other,
    }
}

fn announce(frame: IncomingFrame<'_>) -> Frame {
    let bundle = frame.public_keys.and_then(|p| serde_json::from_str(p.get()).ok());
    match (frame.user, bundle) {
        (Some(user), Some(bundle)) if is_plausible(&user, &bundle) => {
            Frame::Announce(user.into_owned(), Box::new(bundle))
        }
        _ => Frame::Other,
    }
}

/// Longest key or signature in base64 that is worth its memory: ours have 96 characters at most.
const MAX_FIELD: usize = 256;

fn found(frame: IncomingFrame<'_>) -> Frame {
    let prekey: Option<OneTimePrekey> =
        frame.prekey.and_then(|prekey| serde_json::from_str(prekey.get()).ok());
    let prekey = prekey.filter(|prekey| prekey.key.len() <= MAX_FIELD);
    let user = frame.user.clone();
    match (announce(frame), user) {
        (Frame::Announce(user, bundle), _) => Frame::LookedUp(user, Some((bundle, prekey))),
        (_, Some(user)) => Frame::LookedUp(user.into_owned(), None),
        _ => Frame::Other,
    }
}

/// Whether a bundle is worth its memory. `v4` has a limit of its own, kept when it is read.
fn is_plausible(user: &str, bundle: &PublicKeyBundle) -> bool {
    let PublicKeyBundle {
        identity_key,
        signed_pre_key,
        signed_pre_key_signature,
        one_time_pre_key,
        v4: _,
    } = bundle;
    user.len() <= MAX_USER_ID
        && [identity_key, signed_pre_key, signed_pre_key_signature, one_time_pre_key]
            .iter()
            .all(|field| field.len() <= MAX_FIELD)
}

fn message(frame: IncomingFrame<'_>, delivery: Option<u64>) -> Frame {
    let (Some(to), Some(from)) = (frame.to, frame.from) else { return Frame::Other };
    let payload: Option<Payload<'_>> =
        frame.payload.and_then(|p| serde_json::from_str(p.get()).ok());
    // A payload of another shape reaches the user's task as one that cannot be opened.
    let (header, ciphertext) =
        payload.map(|p| (p.header.into_owned(), p.ciphertext.into_owned())).unwrap_or_default();
    let envelope = Envelope {
        id: message_id(as_text(frame.id)),
        from: from.into_owned(),
        header,
        ciphertext,
        timestamp_ms: frame.timestamp.and_then(|t| t.get().parse().ok()),
        delivery: None,
    };
    Frame::Message { to: to.into_owned(), envelope, delivery }
}

/// A JSON string as its text, null as nothing, anything else as written.
fn as_text(value: Option<&RawValue>) -> String {
    let raw = value.map_or("", RawValue::get);
    match raw {
        "null" => String::new(),
        _ => serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_whatever_id_it_has() {
        for (id, expected) in [("\"m-1\"", "m-1"), ("7", "7"), ("null", ""), ("\"a\\u0062\"", "ab")]
        {
            let text = format!(
                r#"{{"type":"message","id":{id},"to":"bob","from":"al\u0069ce","payload":{{"ciphertext":"YQ","header":"Yg","more":1}},"extra":[1]}}"#
            );
            let Frame::Message { to, envelope, delivery: None } = read(&text) else { panic!() };
            assert_eq!((to.as_str(), envelope.from.as_str()), ("bob", "alice"));
            assert_eq!(envelope.id, expected);
            assert_eq!((envelope.ciphertext.as_str(), envelope.header.as_str()), ("YQ", "Yg"));
        }
    }

    #[test]
    fn an_id_is_cut_where_a_character_begins() {
        for (id, length) in [("x".repeat(256), 256), ("x".repeat(300), 256), ("ä€".repeat(99), 255)]
        {
            let text = format!(r#"{{"type":"message","id":"{id}","to":"bob","from":"alice"}}"#);
            let Frame::Message { envelope, .. } = read(&text) else { panic!() };
            assert!(envelope.id.len() == length && id.starts_with(&envelope.id), "{}", envelope.id);
        }
    }

    #[test]
    fn a_delivery_wraps_a_message() {
        let text = r#"{"type":"deliver","delivery":3,"message":{"type":"message","to":"b","from":"a","payload":"x","timestamp":12}}"#;
        let Frame::Message { envelope, delivery: Some(3), .. } = read(text) else { panic!() };
        assert_eq!((envelope.header.as_str(), envelope.timestamp_ms), ("", Some(12)));
    }

    #[test]
    fn a_look_up_is_answered_whatever_is_wrong_with_the_answer() {
        let bundle = r#"{"identityKey":"i","signedPreKey":"s","v4":"4"}"#;
        let key = "k".repeat(257);
        for (rest, expected) in [
            (format!(r#""pub":{bundle},"prekey":{{"id":7,"key":"k"}}"#), Some(Some(7))),
            (format!(r#""pub":{bundle}"#), Some(None)),
            (format!(r#""pub":{bundle},"prekey":{{"id":-7,"key":"k"}}"#), Some(None)),
            (format!(r#""pub":{bundle},"prekey":{{"id":7,"key":"{key}"}}"#), Some(None)),
            (r#""pub":{"identityKey":7},"prekey":{"id":7,"key":"k"}"#.to_owned(), None),
            (r#""prekey":{"id":7,"key":"k"}"#.to_owned(), None),
        ] {
            let text = format!(r#"{{"type":"found","user":"bob",{rest}}}"#);
            let Frame::LookedUp(user, found) = read(&text) else { panic!("{text}") };
            assert_eq!(user, "bob");
            let ids = found.map(|(bundle, prekey)| {
                assert_eq!(bundle.v4.as_deref(), Some("4"));
                prekey.map(|prekey| prekey.id)
            });
            assert_eq!(ids, expected, "{text}");
        }
        let unknown = read(r#"{"type":"unknown","user":"bob"}"#);
        assert!(matches!(unknown, Frame::LookedUp(user, None) if user == "bob"));
        let left = read(r#"{"type":"prekeys","user":"bob","left":24}"#);
        assert!(matches!(left, Frame::PrekeysLeft(user, 24) if user == "bob"));
    }

    #[test]
    fn whatever_else_arrives_is_ignored() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"announce","user":"a"}"#,
            r#"{"type":"deliver"}"#,
            r#"{"type":"prekeys","user":"a","left":-1}"#,
            r#"{"type":"prekeys","left":1}"#,
            r#"{"type":"unknown"}"#,
            r#"{"type":"found"}"#,
            "{\"type\":\"message\",\"to\":\"b\"}",
        ] {
            assert!(matches!(read(text), Frame::Other), "{text}");
        }
    }
}
