//! The opening handshake: RFC 6455, section 4.2. SHA-1 is part of it and protects nothing.

use hyper::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};
use hyper::{Method, Request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a request wants of the WebSocket side of the port.
pub(crate) enum Upgrade {
    /// It is not an upgrade: plain HTTP.
    No,
    /// A good handshake, with the value for `Sec-WebSocket-Accept`.
    Yes(String),
    /// An upgrade that breaks the rules, and which.
    Bad(&'static str),
}

/// Judges the request's headers.
pub(crate) fn upgrade<B>(request: &Request<B>) -> Upgrade {
    let headers = request.headers();
    if !has_token(headers, UPGRADE, "websocket") {
        return Upgrade::No;
    }
    if request.method() != Method::GET || !has_token(headers, CONNECTION, "upgrade") {
        return Upgrade::Bad("A WebSocket handshake is a GET with Connection: Upgrade");
    }
    if headers.get("sec-websocket-version").is_none_or(|version| version != "13") {
        return Upgrade::Bad("Sec-WebSocket-Version must be 13");
    }
    match headers.get("sec-websocket-key") {
        Some(key) if key.len() == 24 => Upgrade::Yes(derive_accept_key(key.as_bytes())),
        _ => Upgrade::Bad("Sec-WebSocket-Key must be 16 bytes in base64"),
    }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
