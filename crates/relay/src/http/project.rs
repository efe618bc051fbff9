//! The endpoints that need a token: bodies in, answers out.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::answer::{self, Answer, Failure, INVALID_USER_ID};
use super::inbox::{self, Payload};
use super::iso8601;
use crate::hub::{self, HttpError, Hub};
use crate::token::Namespace;

const NO_RANDOMNESS: Failure =
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");

/// Members that one group message may name: each costs a frame of its own.
const MAX_MEMBERS: usize = 1_000;

const TOO_MANY_MEMBERS: Failure =
    Failure::new(StatusCode::BAD_REQUEST, "A group message may name 1000 members at most")
        .code("TOO_MANY_MEMBERS");

#[derive(Deserialize)]
pub(super) struct Register {
    #[serde(default)]
    user_id: Value,
    #[serde(rename = "publicKeys", default)]
    public_keys: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct Post {
    #[serde(default)]
    to: Value,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    ciphertext: Value,
    #[serde(default)]
    header: Value,
    #[serde(rename = "pqcCt", default)]
    pqc_ct: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Group {
    #[serde(default)]
    from: Value,
    #[serde(default)]
    members: Value,
    #[serde(default)]
    ciphertext: Value,
    #[serde(rename = "groupHeader", default)]
    group_header: Value,
}

/// The string, unless it is empty or something else.
fn filled(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

#[derive(Serialize)]
struct PublicKeys<'a> {
    #[serde(rename = "publicKeys", skip_serializing_if = "Option::is_none")]
    keys: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Inbox {
    messages: Vec<inbox::Fetched>,
    count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    user_id: &'a str,
    exported_at: String,
    relay: &'static str,
    data: ExportedData<'a>,
    notice: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_keys: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_time_prekeys: Option<usize>,
    pending_messages: usize,
    registered_at: String,
    last_activity: String,
}

/// The endpoints of one token.
pub(super) struct Project<'a> {
    pub(super) hub: &'a Hub,
    pub(super) namespace: Namespace,
}

impl Project<'_> {
    pub(super) fn register(&self, body: Register) -> Result<Answer, Failure> {
        let id = filled(body.user_id).ok_or(INVALID_USER_ID)?;
        let keys = body.public_keys.as_deref().map(RawValue::get);
        self.hub.register(&self.namespace, &id, keys)?;
        Ok(answer::ok(&json!({"status": "registered"})))
    }

    pub(super) fn public_key(&self, id: &str) -> Result<Answer, Failure> {
        let keys = self.hub.public_keys(&self.namespace, id)?;
        Ok(answer::ok(&PublicKeys { keys: keys.as_deref().and_then(raw) }))
    }

    pub(super) fn message(&self, body: Post) -> Result<Answer, Failure> {
        let header = body.header.as_str().map(str::to_owned);
        let fields = (filled(body.to), filled(body.from), filled(body.ciphertext), header);
        let (Some(to), Some(from), Some(ciphertext), Some(header)) = fields else {
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "Missing fields: to, from, ciphertext, header",
            ));
        };
        if to == from {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "Cannot send to yourself"));
        }
        let pqc_ct = body.pqc_ct;
        let payload = Payload { ciphertext, header, group_id: None, group_header: None, pqc_ct };
        let id = message_id()?;
        let payload = payload.json();
        self.post(id, &to, &from, &payload).map_err(|error| match error {
            HttpError::NoUser => Failure::new(StatusCode::NOT_FOUND, "Recipient not found"),
            other => other.into(),
        })?;
        Ok(answer::ok(&json!({"status": "delivered", "messageId": inbox::hex(&id)})))
    }

    /// Makes the frame only for a recipient who can take it.
    fn post(
        &self,
        id: [u8; 12],
        to: &str,
        from: &str,
        payload: &RawValue,
    ) -> Result<(), HttpError> {
        self.hub.may_post(&self.namespace, to, payload.get().len())?;
        let frame = inbox::frame(&inbox::hex(&id), to, from, payload, hub::now());
        self.hub.post(&self.namespace, to, id, frame)
    }

    /// Lists what waits and takes it out, up to the size that a request may have: the rest is
    /// for the next request. What came by WebSocket in a shape that the original's client cannot
    /// read is left for a WebSocket client.
    pub(super) async fn messages(&self, id: &str) -> Result<Answer, Failure> {
        let mut room = self.hub.config().limits.max_frame_bytes;
        let (mut listed, mut unreadable) = (Vec::new(), Vec::new());
        let mut turn = Turn::default();
        for stored in self.hub.inbox(&self.namespace, id)? {
            let len = stored.frame.len();
            match inbox::fetched(&stored) {
                Some(message) => {
                    listed.push((stored.sequence, message));
                    room = room.saturating_sub(len);
                }
                None => unreadable.push(stored.sequence),
            }
            if room == 0 {
                break;
            }
            turn.spent(len).await;
        }
        if !unreadable.is_empty() {
            self.hub.unlist(&self.namespace, id, &unreadable);
        }
        let sequences = listed.iter().map(|(sequence, _)| *sequence);
        let taken = self.hub.empty(&self.namespace, id, sequences);
        listed.retain(|(sequence, _)| taken.binary_search(sequence).is_ok());
        let messages: Vec<_> = listed.into_iter().map(|(_, message)| message).collect();
        Ok(answer::ok(&Inbox { count: messages.len(), messages }))
    }

    pub(super) fn delete_message(&self, id: &str) -> Result<Answer, Failure> {
        let deleted = inbox::from_hex(id).is_some_and(|id| self.hub.delete(&self.namespace, &id));
        Ok(answer::ok(&json!({"status": if deleted { "deleted" } else { "not_found" }})))
    }

    pub(super) fn usage(&self) -> Answer {
        let usage = self.hub.usage(&self.namespace);
        answer::ok(&json!({"used": usage.used, "limit": -1, "users": usage.users}))
    }

    pub(super) fn stats(&self) -> Answer {
        let stats = self.hub.stats(&self.namespace);
        answer::ok(&json!({
            "status": "ok",
            "project": {
                "users": stats.usage.users,
                "pendingMessages": stats.pending,
                "totalSent": stats.usage.used,
            },
            "global": {
                "projects": stats.projects,
                "users": stats.all_users,
                "messages": stats.all_messages,
            },
        }))
    }

    pub(super) fn erase(&self, id: &str) -> Result<Answer, Failure> {
        let erased = self.hub.erase(&self.namespace, id)?;
        Ok(answer::ok(&json!({
            "status": "erased",
            "userId": id,
            "deletedAt": iso8601(erased.at),
            "messagesDeleted": erased.messages,
        })))
    }

    pub(super) fn export(&self, id: &str) -> Result<Answer, Failure> {
        let exported = self.hub.export(&self.namespace, id)?;
        Ok(answer::ok(&Export {
            user_id: id,
            exported_at: iso8601(exported.at),
            relay: "stvor-mock-relay",
            data: ExportedData {
                public_keys: exported.keys.as_deref().and_then(raw),
                one_time_prekeys: exported.prekeys,
                pending_messages: exported.pending,
                registered_at: iso8601(exported.since),
                last_activity: iso8601(exported.last_activity),
            },
            notice: "Message content is end-to-end encrypted. The relay cannot access or export it.",
        }))
    }

    pub(super) async fn group(&self, group: &str, body: Group) -> Result<Answer, Failure> {
        let fields =
            (filled(body.from), body.members, filled(body.ciphertext), filled(body.group_header));
        let (Some(from), Value::Array(members), Some(ciphertext), Some(group_header)) = fields
        else {
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "Missing fields: from, members, ciphertext, groupHeader",
            ));
        };
        if members.len() > MAX_MEMBERS {
            return Err(TOO_MANY_MEMBERS);
        }
        self.hub.has_users(&self.namespace)?;
        let payload = Payload {
            ciphertext,
            header: String::new(),
            group_id: Some(group.into()),
            group_header: Some(group_header.into()),
            pqc_ct: None,
        };
        let payload = payload.json();
        let (mut delivered, mut failed) = (Vec::new(), Vec::new());
        let mut turn = Turn::default();
        for member in members.into_iter().filter(|member| *member != from.as_str()) {
            let id = message_id();
            let post = |to: &str, id| self.post(id, to, &from, &payload).is_ok();
            let posted = member.as_str().zip(id.ok()).is_some_and(|(to, id)| post(to, id));
            if posted { &mut delivered } else { &mut failed }.push(member);
            turn.spent(payload.get().len()).await;
        }
        Ok(answer::ok(&json!({"status": "delivered", "delivered": delivered, "failed": failed})))
    }
}

/// Lets others have their turn during work on many messages.
#[derive(Default)]
struct Turn {
    bytes: usize,
}

impl Turn {
    /// Bytes of messages between two pauses.
    const BYTES: usize = 256 << 10;

    /// What a message costs besides its bytes.
    const OVERHEAD: usize = 1 << 10;

    /// A message of `len` bytes is done.
    async fn spent(&mut self, len: usize) {
        self.bytes += len + Self::OVERHEAD;
        if self.bytes >= Self::BYTES {
            self.bytes = 0;
            yield_now().await;
        }
    }
}

/// The text of keys, to be put into an answer as it is.
fn raw(json: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(json).ok()
}

/// A number for a message that nobody can guess: who knows it may delete the message.
fn message_id() -> Result<[u8; 12], Failure> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|_| NO_RANDOMNESS)?;
    Ok(id)
}
