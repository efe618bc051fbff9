//! What `createApp` is given, checked once.

use std::time::Duration;

use url::Url;

use crate::Error;

/// Whether peers whose bundle says nothing of wire 4 are spoken to in wire 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LegacyPeers {
    /// They are, unless they were seen with wire 4 before.
    #[default]
    Allow,
    /// They are not: `PROTOCOL_MISMATCH`.
    Refuse,
}

/// How an [`App`](crate::App) reaches its relay.
#[derive(Clone)]
pub struct Config {
    /// Sent to the relay as `Authorization: Bearer …`; the relay decides whether it holds.
    pub app_token: String,
    /// `ws://`, `wss://`, `http://` or `https://`.
    pub relay_url: String,
    /// How long a relay may take to answer, and the default of a send.
    pub timeout: Duration,
    /// Pause between two polls of an HTTP relay.
    pub poll_interval: Duration,
    /// Certificates (PEM) trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether to speak wire 3 to those who speak nothing newer.
    pub legacy_peers: LegacyPeers,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { app_token: _, relay_url: _, timeout, poll_interval, ca: _, legacy_peers } = self;
        f.debug_struct("Config")
            .field("timeout", timeout)
            .field("poll_interval", poll_interval)
            .field("legacy_peers", legacy_peers)
            .finish_non_exhaustive()
    }
}

/// What the URL's scheme asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    WebSocket,
    Http,
}

/// A [`Config`] whose values are usable.
#[derive(Clone)]
pub(crate) struct Checked {
    pub(crate) authorization: String,
    pub(crate) url: Url,
    pub(crate) scheme: Scheme,
    pub(crate) usage_checked: bool,
    pub(crate) timeout: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) legacy_peers: LegacyPeers,
}

/// Longer tokens do not fit the header limits of common servers.
const MAX_TOKEN: usize = 4096;

impl Config {
    pub(crate) fn check(self) -> Result<Checked, Error> {
        let Self { app_token, relay_url, timeout, poll_interval, ca, legacy_peers } = self;
        let printable = app_token.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if app_token.is_empty() || app_token.len() > MAX_TOKEN || !printable {
            return Err(Error::invalid_app_token());
        }
        let url = Url::parse(&relay_url)
            .map_err(|_| Error::invalid_argument("relayUrl", "is not a URL"))?;
        let scheme = match url.scheme() {
            "ws" | "wss" => Scheme::WebSocket,
            "http" | "https" => Scheme::Http,
            _ => {
                let problem = "must begin with ws://, wss://, http:// or https://";
                return Err(Error::invalid_argument("relayUrl", problem));
            }
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid_argument("relayUrl", "names no host"));
        }
        if timeout.is_zero() {
            return Err(Error::invalid_argument("timeout", "must be more than 0"));
        }
        let unmetered = ["stvor_local_", "stvor_dev_"].iter().any(|p| app_token.starts_with(p));
        Ok(Checked {
            authorization: format!("Bearer {app_token}"),
            url,
            scheme,
            usage_checked: !unmetered,
            timeout,
            poll_interval,
            ca,
            legacy_peers,
        })
    }
}

/// Longest user id in bytes: what the relays accept.
pub(crate) const MAX_USER_ID: usize = 256;

/// Checks a user id; `argument` is its JavaScript name.
pub(crate) fn check_user_id(argument: &str, id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::invalid_argument(argument, "must not be empty"));
    }
    if id.len() > MAX_USER_ID {
        return Err(Error::invalid_argument(argument, "must not be longer than 256 bytes"));
    }
    Ok(())
}
