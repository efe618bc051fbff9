//! Which request is answered how. Source: docs/RELAY.md, "HTTP".

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use stvor_wire::{FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS};

use super::answer::{self, Answer, Failure};
use super::body;
use super::project::Project;
use crate::hub::Hub;
use crate::token;

const NOT_FOUND: Failure = Failure::new(StatusCode::NOT_FOUND, "Not found");
const UNAUTHORIZED: Failure =
    Failure::new(StatusCode::UNAUTHORIZED, "Invalid token").code("AUTH_FAILED");
const MALFORMED_PATH: Failure = Failure::new(StatusCode::BAD_REQUEST, "Malformed path");

/// Answers one request.
pub(crate) async fn answer(request: Request<Incoming>, hub: &Hub) -> Answer {
    if request.method() == Method::OPTIONS {
        return answer::bare(StatusCode::NO_CONTENT, "".into());
    }
    route(request, hub).await.unwrap_or_else(|failure| failure.answer())
}

async fn route(request: Request<Incoming>, hub: &Hub) -> Result<Answer, Failure> {
    let (head, incoming) = request.into_parts();
    let path = head.uri.path().to_owned();
    let get = head.method == Method::GET;
    if get && path == "/health" {
        return Ok(answer::ok(&health(hub)));
    }
    if get && let Some(id) = path.strip_prefix("/status/") {
        return status(hub, &decode(id)?);
    }
    let Some(endpoint) = Endpoint::of(&head.method, &path) else { return Err(NOT_FOUND) };
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let namespace = token::of_http(hub.config(), authorization).ok_or(UNAUTHORIZED)?;
    let project = Project { hub, namespace };
    match endpoint {
        Endpoint::Register => project.register(body::read(incoming, hub).await?),
        Endpoint::PublicKey(id) => project.public_key(&decode(id)?),
        Endpoint::Message => project.message(body::read(incoming, hub).await?),
        Endpoint::Messages(id) => project.messages(&decode(id)?).await,
        Endpoint::DeleteMessage(id) => project.delete_message(&decode(id)?),
        Endpoint::Usage => Ok(project.usage()),
        Endpoint::Stats => Ok(project.stats()),
        Endpoint::DeleteUser(id) => project.erase(&decode(id)?),
        Endpoint::Export(id) => project.export(&decode(id)?),
        Endpoint::Group(id) => project.group(&decode(id)?, body::read(incoming, hub).await?).await,
    }
}

/// What needs a token; ids as they stand in the path.
enum Endpoint<'a> {
    Register,
    PublicKey(&'a str),
    Message,
    Messages(&'a str),
    DeleteMessage(&'a str),
    Usage,
    Stats,
    DeleteUser(&'a str),
    Export(&'a str),
    Group(&'a str),
}

impl<'a> Endpoint<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        let under = |prefix: &str| path.strip_prefix(prefix).filter(|id| !id.is_empty());
        let between = |prefix: &str, suffix: &str| under(prefix)?.strip_suffix(suffix);
        match (method.as_str(), path) {
            ("GET", "/usage") => Some(Self::Usage),
            ("GET", "/stats") => Some(Self::Stats),
            ("GET", _) => under("/public-key/")
                .map(Self::PublicKey)
                .or_else(|| under("/messages/").map(Self::Messages))
                .or_else(|| between("/user/", "/export").map(Self::Export)),
            ("POST", "/register") => Some(Self::Register),
            ("POST", "/message") => Some(Self::Message),
            ("POST", _) => between("/group/", "/message").map(Self::Group),
            ("DELETE", _) => under("/message/")
                .map(Self::DeleteMessage)
                .or_else(|| under("/user/").map(Self::DeleteUser)),
            _ => None,
        }
    }
}

/// Decodes a path's percent escapes; a `%` without two hex digits is refused.
fn decode(text: &str) -> Result<String, Failure> {
    let mut rest = text.split('%');
    rest.next();
    let whole = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !rest.all(whole) {
        return Err(MALFORMED_PATH);
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| MALFORMED_PATH)?;
    Ok(text.into_owned())
}

fn health(hub: &Hub) -> Value {
    let health = hub.health();
    json!({
        "status": "ok",
        "server": "stvor-mock-relay",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": health.uptime,
        "users": health.users,
        "messages": health.messages,
        "connectedUsers": health.connected_users,
        "totalConnections": health.connections,
        "totalMessages": health.messages,
        "features": ["websocket", FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS],
    })
}

fn status(hub: &Hub, id: &str) -> Result<Answer, Failure> {
    if id.is_empty() {
        return Err(NOT_FOUND);
    }
    let status = hub.status(id);
    Ok(answer::ok(&json!({
        "userId": id, "online": status.online, "hasPublicKey": status.has_public_key
    })))
}
