//! The connection to a relay, shared by all users of an app.
//!
//! A link is one task. Users ask it by [`Request`] and are told by [`Incoming`]; what a relay's
//! dialect can and cannot do stays behind these two. Knows bundles and envelopes, no keys.

mod aside;
mod backoff;
mod directory;
mod http;
mod http_link;
mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod websocket;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stvor_wire::PublicKeyBundle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::info;

use crate::Error;
use crate::config::{Checked, Scheme};
use crate::events::SentStatus;
use crate::metrics::Counters;

/// Messages read ahead of a user's task; past these the link stops reading its socket, so that a
/// relay's flood waits in the relay.
pub(crate) const INBOX: usize = 256;

/// A sealed message ready to leave.
pub(crate) struct Outgoing {
    /// Unique within the app.
    pub(crate) id: String,
    pub(crate) from: Arc<str>,
    pub(crate) to: String,
    /// base64url.
    pub(crate) header: String,
    /// base64url.
    pub(crate) ciphertext: String,
    pub(crate) timestamp_ms: u64,
    /// After this instant nobody waits for it any more: not to be sent (again).
    pub(crate) deadline: Instant,
}

/// A longer id of a message that has arrived is cut: it is the relay's to choose, and kept with the message.
const MAX_MESSAGE_ID: usize = 256;

/// The id under which a message is handed on.
fn message_id(mut id: String) -> String {
    if id.len() > MAX_MESSAGE_ID {
        let end = (0..=MAX_MESSAGE_ID).rev().find(|at| id.is_char_boundary(*at));
        id.truncate(end.unwrap_or(0));
    }
    id
}

/// A sealed message that has arrived.
pub(crate) struct Envelope {
    /// Not authenticated; at most 256 bytes.
    pub(crate) id: String,
    pub(crate) from: String,
    /// As it travelled: base64url, unchecked.
    pub(crate) header: String,
    /// As it travelled: base64url, unchecked.
    pub(crate) ciphertext: String,
    pub(crate) timestamp_ms: Option<u64>,
    /// To be committed, where the relay waits for that.
    pub(crate) delivery: Option<Delivery>,
}

/// A delivery that the relay keeps until it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Which connection it came over: numbers of an older one mean nothing to the relay.
    connection: u64,
    number: u64,
}

/// Tells one stay of a user from the next: who leaves must not take along who has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment(pub(crate) u64);

/// What a user's task asks of the link.
pub(crate) enum Request {
    /// Announce or register a user; `done` once the relay has it.
    Attach {
        user: Arc<str>,
        attachment: Attachment,
        bundle: PublicKeyBundle,
        inbox: mpsc::Sender<Incoming>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// The user is gone: nothing more for them. `done` once the relay knows, where it can.
    Detach { user: Arc<str>, attachment: Attachment, done: oneshot::Sender<()> },
    /// The user is about to go: no more messages for them, answers to what they sent still.
    Quiet { user: Arc<str>, attachment: Attachment },
    /// Tell this user of the peer's bundle, now if known, and whenever it comes again.
    Watch { user: Arc<str>, peer: String },
    /// Ask for the peer's bundle again (relays that do not announce).
    Refresh { user: Arc<str>, peer: String },
    /// Nothing was agreed with this peer and nobody waits for it any more.
    Unwatch { user: Arc<str>, peer: String },
    /// Announce this bundle of an attached user from now on, in place of the one so far.
    Announce { user: Arc<str>, bundle: PublicKeyBundle },
    /// Give the relay these one-time prekeys of an attached user, ids and public halves in
    /// base64url, to hand out; [`Incoming::PrekeysLeft`] answers. Kept until the relay has read
    /// them; forgotten where it does not hand out any.
    Publish { user: Arc<str>, prekeys: Vec<(u32, String)> },
    /// Ask for the peer's bundle and a one-time prekey of theirs, which is gone then:
    /// [`Incoming::Found`] or [`Incoming::Unknown`], once the connection stands.
    Lookup { user: Arc<str>, peer: String },
    /// Hand these to the relay, in order.
    Send(Vec<Outgoing>),
    /// Somebody waits for the connection: try it soon.
    Wake,
    /// These are committed: the relay may forget them.
    Committed(Vec<Delivery>),
}

/// What the link tells a user's task.
pub(crate) enum Incoming {
    Message(Envelope),
    /// A peer's keys as the relay shows them, unverified: [`Request::Watch`] and
    /// [`Request::Refresh`] are answered.
    Bundle {
        peer: String,
        bundle: Box<PublicKeyBundle>,
        /// The relay announces them now, so the peer may have been away; else it was asked.
        announced: bool,
    },
    /// The relay knows no such peer (yet).
    Unknown {
        peer: String,
    },
    /// What a look-up found, unverified.
    Found {
        peer: String,
        bundle: Box<PublicKeyBundle>,
        /// Id and public half in base64url, unchecked; none where the relay has none left.
        prekey: Option<(u32, String)>,
    },
    /// The relay has so many one-time prekeys of the user to hand out: after attaching, after
    /// publishing, and when they run low. Never on relays that do not hand out any.
    PrekeysLeft {
        left: usize,
    },
    /// The relay took the message.
    Taken {
        id: String,
        status: SentStatus,
    },
    /// The relay refused the message.
    Refused {
        id: String,
        error: Error,
    },
    /// The connection stands (again): what waited for it can go.
    Connected,
    /// The connection needs the user's attention; it goes on by itself.
    Trouble(Error),
}

/// A handle on the link's task; the task ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Link {
    requests: mpsc::UnboundedSender<Request>,
    state: Arc<LinkState>,
}

/// What everybody may know of the link.
#[derive(Default)]
pub(crate) struct LinkState {
    pub(crate) connected: AtomicBool,
    /// Whether a bundle must be asked for: the relay does not announce.
    fetches_bundles: AtomicBool,
    /// Why the relay could not be reached last, as far as the network said.
    last_failure: Mutex<Option<String>>,
}

impl LinkState {
    /// Keeps what is known of why the relay is away.
    fn failed(&self, error: &Error) {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone_from(&error.detail);
    }
}

impl Link {
    /// Reaches the relay, finds out what it speaks and starts the link's task.
    ///
    /// # Errors
    ///
    /// `RELAY_UNAVAILABLE` at once if nothing listens, after the configured timeout if nothing
    /// answers; `AUTH_FAILED` if the relay refuses the token.
    pub(crate) async fn open(
        config: Checked,
        counters: Arc<Counters>,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let config = Arc::new(config);
        let (requests, queue) = mpsc::unbounded_channel();
        let state = Arc::new(LinkState::default());
        let link = Self { requests, state: state.clone() };
        let socket_url = match config.scheme {
            Scheme::WebSocket => config.url.clone(),
            Scheme::Http => {
                let relay = http::HttpRelay::new(config.clone())?;
                match relay.probe().await? {
                    http::Speaks::WebSocketToo => http::websocket_url(&config.url),
                    http::Speaks::Http => {
                        state.fetches_bundles.store(true, Ordering::Relaxed);
                        state.connected.store(true, Ordering::Relaxed);
                        info!(transport = "http", "relay connected");
                        return Ok((link, http_link::spawn(relay, queue, state, counters)));
                    }
                }
            }
        };
        let task = websocket::spawn(socket_url, config, queue, state, counters).await?;
        Ok((link, task))
    }

    /// A link whose other end is held by a simulation.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated() -> (Self, mpsc::UnboundedReceiver<Request>, Arc<LinkState>) {
        let (requests, queue) = mpsc::unbounded_channel();
        let state = Arc::new(LinkState::default());
        state.connected.store(true, Ordering::Relaxed);
        (Self { requests, state: state.clone() }, queue, state)
    }

    /// Requests are taken in order; after the task has ended they go nowhere, and the caller's
    /// own timeout speaks.
    pub(crate) fn request(&self, request: Request) {
        let _ended = self.requests.send(request);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state.connected.load(Ordering::Relaxed)
    }

    /// That the relay is away, and why.
    pub(crate) fn unavailable(&self) -> Error {
        let last = self.state.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        Error { detail: last.clone(), ..Error::relay_unavailable() }
    }

    pub(crate) fn fetches_bundles(&self) -> bool {
        self.state.fetches_bundles.load(Ordering::Relaxed)
    }
}
