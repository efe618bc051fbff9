//! What HTTP requests do to the state. A request sees the users of its own token only.

use bytes::Bytes;
use tracing::debug;

use super::mailbox::{MessageId, Sequence, Stored};
use super::users::{User, UserKey};
use super::{Hub, State, now};
use crate::frames::{self, Refusal};
use crate::token::Namespace;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// Nobody of that id under the token.
    NoUser,
    /// Nobody at all under the token.
    NoUsers,
    /// One of the relay's limits.
    Refused(Refusal),
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// `GET /usage`.
pub(crate) struct Usage {
    pub(crate) used: u64,
    pub(crate) users: usize,
}

/// `GET /stats`.
pub(crate) struct Stats {
    pub(crate) usage: Usage,
    pub(crate) pending: usize,
    pub(crate) projects: usize,
    pub(crate) all_users: usize,
    pub(crate) all_messages: u64,
}

/// `GET /status/<id>`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) online: bool,
    pub(crate) has_public_key: bool,
}

/// `DELETE /user/<id>`.
pub(crate) struct Erased {
    pub(crate) at: u64,
    pub(crate) messages: usize,
}

/// `GET /user/<id>/export`.
pub(crate) struct Exported {
    pub(crate) at: u64,
    pub(crate) keys: Option<Bytes>,
    /// How many one-time prekeys, if any were ever uploaded.
    pub(crate) prekeys: Option<usize>,
    pub(crate) pending: usize,
    pub(crate) since: u64,
    pub(crate) last_activity: u64,
}

impl Hub {
    /// Registers a user and tells WebSocket clients. Its mail stays where it is.
    pub(crate) fn register(
        &self,
        namespace: &Namespace,
        id: &str,
        keys: Option<&str>,
    ) -> Result<(), HttpError> {
        let mut state = self.state();
        if id.len() > state.limits.max_user_id_bytes {
            return Err(Refusal::INVALID_USER_ID.into());
        }
        state.check_keys(keys)?;
        let user = match state.users.own(namespace, id) {
            Some(user) => user,
            None => state.create(namespace, id)?,
        };
        state.users.touch(user, now());
        if let Some(user) = state.users.get_mut(user) {
            user.registered = true;
        }
        if let Some(keys) = keys {
            state.set_keys(user, keys)?;
        }
        debug!(user = id, "registered");
        state.broadcast(user, &frames::announce(id, keys), None);
        Ok(())
    }

    /// The user's keys as JSON text; `Ok(None)` when it registered none.
    pub(crate) fn public_keys(
        &self,
        namespace: &Namespace,
        id: &str,
    ) -> Result<Option<Bytes>, HttpError> {
        let state = self.state();
        let (_, user) = state.known(namespace, id)?;
        Ok(user.keys.as_ref().map(|keys| keys.json()))
    }

    /// Whether a message of that many bytes, or a few more, would be taken for the user.
    pub(crate) fn may_post(
        &self,
        namespace: &Namespace,
        to: &str,
        len: usize,
    ) -> Result<(), HttpError> {
        let state = self.state();
        let (user, _) = state.known(namespace, to)?;
        Ok(state.room(Some(user), len)?)
    }

    /// Takes a message for a user: `frame` is the `message` frame a WebSocket client would read.
    pub(crate) fn post(
        &self,
        namespace: &Namespace,
        to: &str,
        id: MessageId,
        frame: Bytes,
    ) -> Result<(), HttpError> {
        let mut state = self.state();
        let (user, _) = state.known(namespace, to)?;
        state.room(Some(user), frame.len())?;
        state.store(user, frame, Some(id));
        state.users.count_sent(namespace);
        debug!(to, "taken over HTTP");
        Ok(())
    }

    /// Whether anybody is known under the token.
    pub(crate) fn has_users(&self, namespace: &Namespace) -> Result<(), HttpError> {
        match self.state().users.projects().contains_key(namespace) {
            true => Ok(()),
            false => Err(HttpError::NoUsers),
        }
    }

    /// What waits for a user and may be listed, oldest first, without taking it. Nothing while the user is online
    /// by WebSocket: then it is on its way there.
    pub(crate) fn inbox(&self, namespace: &Namespace, id: &str) -> Result<Vec<Stored>, HttpError> {
        let mut state = self.state();
        let (key, _) = state.known(namespace, id)?;
        let Some(user) = state.users.get_mut(key) else { return Err(HttpError::NoUser) };
        user.last_activity = now();
        Ok(match user.socket {
            Some(_) => Vec::new(),
            None => user.mailbox.iter().filter(|message| !message.unlisted).cloned().collect(),
        })
    }

    /// Notes messages that HTTP clients cannot read, so that each is tried once only.
    pub(crate) fn unlist(&self, namespace: &Namespace, id: &str, sequences: &[Sequence]) {
        let mut state = self.state();
        let key = state.users.own(namespace, id);
        if let Some(user) = key.and_then(|key| state.users.get_mut(key)) {
            sequences.iter().for_each(|sequence| user.mailbox.unlist(*sequence));
        }
    }

    /// Takes these messages out of the user's mailbox, unless it has come online meanwhile.
    /// Returns those that were still there: each is given to one taker only.
    pub(crate) fn empty(
        &self,
        namespace: &Namespace,
        id: &str,
        sequences: impl Iterator<Item = Sequence>,
    ) -> Vec<Sequence> {
        let mut state = self.state();
        let user = state.known(namespace, id).ok().filter(|(_, user)| user.socket.is_none());
        let Some((key, _)) = user else { return Vec::new() };
        sequences.filter(|sequence| state.remove(key, *sequence).is_some()).collect()
    }

    /// Takes a message back that was posted under the token. False when it is gone.
    pub(crate) fn delete(&self, namespace: &Namespace, id: &MessageId) -> bool {
        let mut state = self.state();
        let found = state.posted.get(id).copied();
        let own = |user: &UserKey| {
            state.users.get(*user).is_some_and(|user| user.namespace == *namespace)
        };
        let found = found.filter(|(user, _)| own(user));
        found.is_some_and(|(user, sequence)| state.remove(user, sequence).is_some())
    }

    pub(crate) fn usage(&self, namespace: &Namespace) -> Usage {
        self.state().usage(namespace)
    }

    pub(crate) fn stats(&self, namespace: &Namespace) -> Stats {
        let state = self.state();
        let own = state.users.iter().filter(|(_, user)| user.namespace == *namespace);
        Stats {
            usage: state.usage(namespace),
            pending: own.map(|(_, user)| user.mailbox.len()).sum(),
            projects: state.users.projects().len(),
            all_users: state.users.projects().values().map(|project| project.users).sum(),
            all_messages: state.total_messages,
        }
    }

    /// Whether somebody of that id, under any token, is online and has keys.
    pub(crate) fn status(&self, id: &str) -> Status {
        let state = self.state();
        state.users.last(id).map_or_else(Status::default, |user| Status {
            online: user.socket.is_some(),
            has_public_key: user.keys.is_some(),
        })
    }

    /// Erases a user, its keys and its mail.
    pub(crate) fn erase(&self, namespace: &Namespace, id: &str) -> Result<Erased, HttpError> {
        let mut state = self.state();
        let (key, _) = state.known(namespace, id)?;
        let Some(user) = state.users.remove(key) else { return Err(HttpError::NoUser) };
        state.stored_bytes -= user.mailbox.bytes();
        state.stored_bytes -= user.keys.as_ref().map_or(0, |keys| keys.frame.len());
        state.stored_bytes -= user.prekeys.as_ref().map_or(0, |prekeys| prekeys.bytes());
        for id in user.mailbox.iter().filter_map(|message| message.id) {
            state.posted.remove(&id);
        }
        if let Some(socket) = user.socket {
            state.forget(socket, key, user.outstanding);
        }
        debug!(user = id, "erased");
        Ok(Erased { at: now(), messages: user.mailbox.len() })
    }

    /// All that is kept about a user, except what is sealed.
    pub(crate) fn export(&self, namespace: &Namespace, id: &str) -> Result<Exported, HttpError> {
        let state = self.state();
        let (_, user) = state.known(namespace, id)?;
        Ok(Exported {
            at: now(),
            keys: user.keys.as_ref().map(|keys| keys.json()),
            prekeys: user.prekeys.as_ref().map(|prekeys| prekeys.len()),
            pending: user.mailbox.len(),
            since: user.since,
            last_activity: user.last_activity,
        })
    }
}

impl State {
    fn known(&self, namespace: &Namespace, id: &str) -> Result<(UserKey, &User), HttpError> {
        let key = self.users.own(namespace, id).ok_or(HttpError::NoUser)?;
        let user = self.users.get(key).filter(|user| user.known).ok_or(HttpError::NoUser)?;
        Ok((key, user))
    }

    fn usage(&self, namespace: &Namespace) -> Usage {
        let project = self.users.projects().get(namespace);
        Usage {
            used: project.map_or(0, |project| project.sent),
            users: project.map_or(0, |project| project.users),
        }
    }
}
