//! The users that the relay knows, and who is meant by an id.
//!
//! A user is an id under a token's namespace. HTTP requests see their own token's users only.
//! WebSocket clients see everybody, as they do in the original: an id means the user under the
//! client's own token, else the one announced or registered last under any other.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::mailbox::Mailbox;
use super::prekeys::Prekeys;
use super::sockets::SocketKey;
use crate::frames;
use crate::token::Namespace;

/// Number of a user, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserKey(pub(crate) u64);

/// A user's public keys, ready to be announced.
#[derive(Debug)]
pub(super) struct Keys {
    /// The `announce` frame.
    pub(super) frame: Bytes,
    /// Where in it the keys are.
    range: Range<usize>,
    /// Place in the order of first announcement.
    pub(super) order: u64,
}

impl Keys {
    /// JSON text.
    pub(super) fn json(&self) -> Bytes {
        self.frame.slice(self.range.clone())
    }
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) namespace: Namespace,
    pub(super) id: Arc<str>,
    pub(super) keys: Option<Keys>,
    /// For as long as the keys are of the same identity. Few users have any on most relays.
    pub(super) prekeys: Option<Box<Prekeys>>,
    /// Announced or registered; otherwise mail for an unknown id waits here.
    pub(super) known: bool,
    /// Registered over HTTP: stays in its namespace.
    pub(super) registered: bool,
    /// The socket that announced it last, while it is open.
    pub(super) socket: Option<SocketKey>,
    /// Grows whenever another socket takes the user over: what was on its way before is void.
    pub(super) claim: u64,
    /// What its socket has queued for it or not acknowledged.
    pub(super) outstanding: usize,
    pub(super) mailbox: Mailbox,
    /// Milliseconds since the Unix epoch.
    pub(super) since: u64,
    pub(super) last_activity: u64,
}

/// The users of one token.
#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) users: usize,
    /// Messages accepted from this token's holders.
    pub(super) sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Users {
    next: u64,
    all: HashMap<UserKey, User>,
    /// For each id its users, the one announced or registered last at the end.
    by_id: HashMap<Arc<str>, Vec<UserKey>>,
    /// Users with keys in the order in which they first had some.
    announced: BTreeMap<u64, UserKey>,
    projects: HashMap<Namespace, Project>,
    pub(super) online: usize,
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, key: UserKey) -> Option<&User> {
        self.all.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: UserKey) -> Option<&mut User> {
        self.all.get_mut(&key)
    }

    /// Whether that is still the socket's hold on the user.
    pub(super) fn is_claim(&self, key: UserKey, claim: u64) -> bool {
        self.get(key).is_some_and(|user| user.claim == claim)
    }

    /// The user, if that is still the socket's hold on it.
    pub(super) fn claimed(&mut self, key: UserKey, claim: u64) -> Option<&mut User> {
        self.get_mut(key).filter(|user| user.claim == claim)
    }

    /// The user of that id whom the socket announced.
    pub(super) fn on_socket(&self, socket: SocketKey, id: &str) -> Option<UserKey> {
        let users = self.by_id.get(id)?;
        users.iter().copied().find(|key| self.all[key].socket == Some(socket))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (UserKey, &User)> {
        self.all.iter().map(|(key, user)| (*key, user))
    }

    pub(super) fn projects(&self) -> &HashMap<Namespace, Project> {
        &self.projects
    }

    /// The user of that id under that token: what an HTTP request sees.
    pub(super) fn own(&self, namespace: &Namespace, id: &str) -> Option<UserKey> {
        let users = self.by_id.get(id)?;
        users.iter().copied().find(|key| self.all[key].namespace == *namespace)
    }

    /// The user whom a WebSocket client of that token means.
    pub(super) fn resolve(&self, namespace: &Namespace, id: &str) -> Option<UserKey> {
        let users = self.by_id.get(id)?;
        if let [only] = users[..] {
            return Some(only);
        }
        self.own(namespace, id).or(users.last().copied())
    }

    /// The user of that id who was announced or registered last under any token.
    pub(super) fn last(&self, id: &str) -> Option<&User> {
        self.get(*self.by_id.get(id)?.last()?)
    }

    /// The user who is meant by an announcement: the one under the same token, else one that
    /// came by WebSocket under another token, who moves to this one.
    pub(super) fn claim(&mut self, namespace: &Namespace, id: &str) -> Option<UserKey> {
        if let Some(own) = self.own(namespace, id) {
            return Some(own);
        }
        let users = self.by_id.get(id)?;
        let key = users.iter().rev().copied().find(|key| !self.all[key].registered)?;
        let user = self.all.get_mut(&key)?;
        let old = std::mem::replace(&mut user.namespace, namespace.clone());
        if user.known {
            self.leave(&old);
            self.projects.entry(namespace.clone()).or_default().users += 1;
        }
        Some(key)
    }

    /// Makes a user. It is not known yet: nobody has announced or registered it.
    pub(super) fn create(&mut self, namespace: &Namespace, id: &str, now: u64) -> UserKey {
        let key = UserKey(self.next);
        self.next += 1;
        let id: Arc<str> = id.into();
        self.by_id.entry(id.clone()).or_default().push(key);
        let user = User {
            namespace: namespace.clone(),
            id,
            keys: None,
            prekeys: None,
            known: false,
            registered: false,
            socket: None,
            claim: 0,
            outstanding: 0,
            mailbox: Mailbox::default(),
            since: now,
            last_activity: now,
        };
        self.all.insert(key, user);
        key
    }

    /// Notes that the user was announced or registered just now.
    pub(super) fn touch(&mut self, key: UserKey, now: u64) {
        let Some(user) = self.all.get_mut(&key) else { return };
        user.last_activity = now;
        if !user.known {
            user.known = true;
            user.since = now;
            self.projects.entry(user.namespace.clone()).or_default().users += 1;
        }
        if let Some(users) = self.by_id.get_mut(&user.id)
            && users.len() > 1
        {
            users.retain(|other| *other != key);
            users.push(key);
        }
    }

    /// Gives the user new keys. Returns how many bytes the old ones took.
    pub(super) fn set_keys(&mut self, key: UserKey, keys: &str) -> usize {
        let next = self.announced.last_key_value().map_or(0, |(order, _)| order + 1);
        let Some(user) = self.all.get_mut(&key) else { return 0 };
        let frame = frames::announce(&user.id, Some(keys));
        let end = frame.len() - 1; // the closing brace
        let range = end - keys.len()..end;
        let order = user.keys.as_ref().map_or(next, |keys| keys.order);
        self.announced.insert(order, key);
        let old = user.keys.replace(Keys { frame, range, order });
        old.map_or(0, |keys| keys.frame.len())
    }

    /// The number after the last place in the order of first announcement.
    pub(super) fn announced_end(&self) -> u64 {
        self.announced.last_key_value().map_or(0, |(order, _)| order + 1)
    }

    /// The first user at that place in the order of first announcement or after it.
    pub(super) fn announced_from(&self, order: u64) -> Option<(u64, UserKey)> {
        self.announced.range(order..).next().map(|(order, key)| (*order, *key))
    }

    pub(super) fn count_sent(&mut self, namespace: &Namespace) {
        if let Some(project) = self.projects.get_mut(namespace) {
            project.sent += 1;
        }
    }

    /// Forgets the user.
    pub(super) fn remove(&mut self, key: UserKey) -> Option<User> {
        let user = self.all.remove(&key)?;
        if let Some(users) = self.by_id.get_mut(&user.id) {
            users.retain(|other| *other != key);
            if users.is_empty() {
                self.by_id.remove(&user.id);
            }
        }
        if let Some(keys) = &user.keys {
            self.announced.remove(&keys.order);
        }
        if user.known {
            self.leave(&user.namespace.clone());
        }
        self.online -= usize::from(user.socket.is_some());
        Some(user)
    }

    fn leave(&mut self, namespace: &Namespace) {
        if let Some(project) = self.projects.get_mut(namespace) {
            project.users -= 1;
            if project.users == 0 {
                self.projects.remove(namespace);
            }
        }
    }
}
