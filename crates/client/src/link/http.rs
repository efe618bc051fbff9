//! The original's HTTP relay: one method for each request a client makes.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use stvor_wire::{
    ErrorBody, FetchedMessage, Health, MessageBody, MessagesAnswer, PublicKeyAnswer,
    PublicKeyBundle, RegisterBody, UsageAnswer,
};
use url::Url;

use super::{Envelope, Outgoing, message_id, tls};
use crate::Error;
use crate::config::Checked;

/// Everything but RFC 3986's unreserved characters is escaped, so that any id is one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An inbox larger than this is not a relay's: ours keeps 64 MiB for a user, the original 500
/// messages.
const MAX_INBOX: usize = 64 << 20;

/// Every other answer is small.
const MAX_ANSWER: usize = 64 << 10;

/// What listens at an `http(s)://` address.
pub(super) enum Speaks {
    /// The original's relay.
    Http,
    /// A relay of ours: the same port speaks WebSocket.
    WebSocketToo,
}

/// The same address for WebSocket.
pub(super) fn websocket_url(url: &Url) -> Url {
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    let mut url = url.clone();
    // Both are special schemes, between which a URL may change.
    let _always_allowed = url.set_scheme(scheme);
    url
}

#[derive(Clone)]
pub(super) struct HttpRelay {
    http: reqwest::Client,
    base: Arc<str>,
    authorization: HeaderValue,
    pub(super) config: Arc<Checked>,
}

impl HttpRelay {
    pub(super) fn new(config: Arc<Checked>) -> Result<Self, Error> {
        let tls = match config.url.scheme() {
            "https" => tls::client_config(config.ca.as_deref())?,
            _ => tls::without_roots()?,
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .connect_timeout(config.timeout)
            .read_timeout(config.timeout) // not of the whole: a full inbox takes its time
            .redirect(reqwest::redirect::Policy::none()) // a token is not for other hosts
            .build()
            .map_err(|_| Error::relay_unavailable())?;
        let mut authorization =
            HeaderValue::from_str(&config.authorization).map_err(|_| Error::invalid_app_token())?;
        authorization.set_sensitive(true);
        let mut base = config.url.clone();
        base.set_query(None);
        base.set_fragment(None);
        let base = base.as_str().trim_end_matches('/').into();
        Ok(Self { http, base, authorization, config })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.authorization.clone())
    }

    /// `GET /health`, without the token.
    pub(super) async fn probe(&self) -> Result<Speaks, Error> {
        let answer = self.http.get(format!("{}/health", self.base)).send().await;
        let answer = answer.map_err(|error| match error.is_timeout() {
            true => Error::handshake_timeout(&self.config.url),
            false => Error::unreachable_by(&self.config.url, &error.without_url()),
        })?;
        if !answer.status().is_success() {
            let why = format!("/health is answered with {}", answer.status());
            return Err(Error::unreachable(&self.config.url, why));
        }
        let health: Health = self.body(answer, MAX_ANSWER).await?;
        match health.features.iter().any(|f| f == "websocket") {
            true => Ok(Speaks::WebSocketToo),
            false => Ok(Speaks::Http),
        }
    }

    /// `POST /register`.
    pub(super) async fn register(&self, user: &str, keys: &PublicKeyBundle) -> Result<(), Error> {
        let public_keys = serde_json::to_value(keys).map_err(|_| Error::relay_unavailable())?;
        let body = RegisterBody { user_id: user.to_owned(), public_keys };
        let answer = self.send_request(self.request(Method::POST, "/register").json(&body)).await?;
        self.check(answer).await.map(drop)
    }

    /// `GET /public-key/<id>`; `None` if the relay knows no such user or no keys of theirs.
    pub(super) async fn bundle(&self, user: &str) -> Result<Option<PublicKeyBundle>, Error> {
        let path = format!("/public-key/{}", utf8_percent_encode(user, SEGMENT));
        let answer = self.send_request(self.request(Method::GET, &path)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer: PublicKeyAnswer = self.body(self.check(answer).await?, MAX_ANSWER).await?;
        Ok(answer.public_keys.and_then(|keys| serde_json::from_value(keys).ok()))
    }

    /// `POST /message`, after `GET /usage` where the token is metered.
    pub(super) async fn send(&self, message: &Outgoing) -> Result<(), Error> {
        if self.config.usage_checked && self.is_used_up().await {
            return Err(Error::quota_exceeded());
        }
        let body = MessageBody {
            to: message.to.clone(),
            from: message.from.to_string(),
            ciphertext: message.ciphertext.clone(),
            header: message.header.clone(),
        };
        let answer = self.send_request(self.request(Method::POST, "/message").json(&body)).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Err(Error::recipient_not_found(&message.to)),
            StatusCode::TOO_MANY_REQUESTS => {
                let body = error_body(answer).await;
                match body.error.contains("inbox") {
                    true => Err(Error::delivery_failed(&message.to).with_message(&body.error)),
                    false => Err(Error::rate_limited()),
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Error::delivery_failed(&message.to))
            }
            _ => self.check(answer).await.map(drop),
        }
    }

    /// Whether the token's quota is used up. A relay that cannot say leaves it to `POST /message`.
    async fn is_used_up(&self) -> bool {
        let Ok(answer) = self.send_request(self.request(Method::GET, "/usage")).await else {
            return false;
        };
        let Ok(answer) = self.check(answer).await else { return false };
        let usage: Result<UsageAnswer, Error> = self.body(answer, MAX_ANSWER).await;
        usage.is_ok_and(|usage| usage.limit != -1 && usage.used >= usage.limit)
    }

    /// `GET /messages/<id>`, which empties the inbox; `None` if the relay does not know the user
    /// (any more). Entries that are not messages are passed over.
    pub(super) async fn messages(&self, user: &str) -> Result<Option<Vec<Envelope>>, Error> {
        let path = format!("/messages/{}", utf8_percent_encode(user, SEGMENT));
        let answer = self.send_request(self.request(Method::GET, &path)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer: MessagesAnswer = self.body(self.check(answer).await?, MAX_INBOX).await?;
        let messages = answer.messages.into_iter();
        Ok(Some(
            messages.filter_map(|m| serde_json::from_str(m.get()).ok()).map(envelope).collect(),
        ))
    }

    async fn send_request(&self, request: RequestBuilder) -> Result<Response, Error> {
        let request = request.header(CONTENT_TYPE, "application/json");
        request.send().await.map_err(|error| self.broken(error))
    }

    /// The request, or its answer, did not come through.
    fn broken(&self, error: reqwest::Error) -> Error {
        match error.is_timeout() {
            true => Error::unreachable(&self.config.url, "no answer within the timeout"),
            false => Error::unreachable_by(&self.config.url, &error.without_url()),
        }
    }

    /// Turns a refusal into our error. The original's 401 names no code.
    async fn check(&self, answer: Response) -> Result<Response, Error> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::auth_failed()),
            StatusCode::TOO_MANY_REQUESTS => Err(Error::rate_limited()),
            status => match error_body(answer).await.code.as_deref() {
                Some("AUTH_FAILED") => Err(Error::auth_failed()),
                Some("QUOTA_EXCEEDED") => Err(Error::quota_exceeded()),
                _ => Err(Error::unreachable(&self.config.url, format!("HTTP status {status}"))),
            },
        }
    }

    /// Reads a JSON body of at most `limit` bytes.
    async fn body<T: DeserializeOwned>(&self, answer: Response, limit: usize) -> Result<T, Error> {
        let bytes = match read(answer, limit).await {
            Ok(bytes) => bytes,
            Err(Unreadable::Broken(error)) => return Err(self.broken(error)),
            Err(Unreadable::TooLong) => {
                return Err(Error::unreachable(&self.config.url, "an answer that is too long"));
            }
        };
        let not_ours = |_| Error::unreachable(&self.config.url, "an answer that is no relay's");
        serde_json::from_slice(&bytes).map_err(not_ours)
    }
}

fn envelope(message: FetchedMessage) -> Envelope {
    let FetchedMessage { id, from, ciphertext, header, timestamp } = message;
    let timestamp_ms = humantime::parse_rfc3339(&timestamp)
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since: Duration| since.as_millis().try_into().ok());
    Envelope { id: message_id(id), from, header, ciphertext, timestamp_ms, delivery: None }
}

/// What a relay of the original's says that refuses.
async fn error_body(answer: Response) -> ErrorBody {
    let body = read(answer, MAX_ANSWER).await.ok();
    let parsed = body.and_then(|body| serde_json::from_slice(&body).ok());
    parsed.unwrap_or(ErrorBody { error: String::new(), code: None })
}

/// Why an answer is not to be used.
enum Unreadable {
    TooLong,
    Broken(reqwest::Error),
}

/// Reads a body of at most `limit` bytes.
async fn read(mut answer: Response, limit: usize) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Unreadable::Broken)? {
        if bytes.len() + chunk.len() > limit {
            return Err(Unreadable::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
