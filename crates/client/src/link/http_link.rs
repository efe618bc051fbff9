//! The link over the original's HTTP relay: registration, polling, look-ups, sends in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stvor_wire::PublicKeyBundle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, info, warn};

use super::backoff::Backoff;
use super::http::HttpRelay;
use super::{Attachment, Incoming, LinkState, Outgoing, Request};
use crate::events::SentStatus;
use crate::metrics::Counters;
use crate::{Code, Error};

/// Between two look-ups of a peer whom the relay does not know yet.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(500);

/// Serves users over HTTP in a task of its own until every handle is dropped.
pub(super) fn spawn(
    relay: HttpRelay,
    requests: mpsc::UnboundedReceiver<Request>,
    state: Arc<LinkState>,
    counters: Arc<Counters>,
) -> JoinHandle<()> {
    let tasks = JoinSet::new();
    let link = HttpLink { relay, state, counters, users: HashMap::new(), tasks };
    tokio::spawn(link.run(requests).in_current_span())
}

struct HttpLink {
    relay: HttpRelay,
    state: Arc<LinkState>,
    counters: Arc<Counters>,
    users: HashMap<Arc<str>, User>,
    /// Dropped, and with it every task, when the link ends.
    tasks: JoinSet<()>,
}

struct User {
    attachment: Attachment,
    inbox: mpsc::Sender<Incoming>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    bundle: watch::Sender<PublicKeyBundle>,
    running: Vec<AbortHandle>,
    lookups: HashMap<String, AbortHandle>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.running.iter().chain(self.lookups.values()).for_each(AbortHandle::abort);
    }
}

impl HttpLink {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.handle(request),
                    None => return,
                },
                Some(_ended) = self.tasks.join_next() => {}
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Attach { user, attachment, bundle, inbox, done } => {
                let (outgoing, queue) = mpsc::unbounded_channel();
                let (bundle, bundles) = watch::channel(bundle);
                let worker = Worker {
                    relay: self.relay.clone(),
                    state: self.state.clone(),
                    counters: self.counters.clone(),
                    user: user.clone(),
                    inbox: inbox.clone(),
                };
                let running = vec![
                    self.tasks.spawn(worker.clone().poll(bundles, done).in_current_span()),
                    self.tasks.spawn(worker.send_all(queue)),
                ];
                let lookups = HashMap::new();
                let attached = User { attachment, inbox, outgoing, bundle, running, lookups };
                self.users.insert(user, attached);
            }
            Request::Quiet { user, attachment } => {
                let user = self.users.get(&user).filter(|u| u.attachment == attachment);
                if let Some(poll) = user.and_then(|user| user.running.first()) {
                    poll.abort(); // a fetched inbox is gone from the relay
                }
            }
            Request::Detach { user, attachment, done } => {
                if self.users.get(&user).is_some_and(|u| u.attachment == attachment) {
                    self.users.remove(&user);
                }
                let _nobody_waits = done.send(());
            }
            Request::Watch { user, peer } => self.look_up(&user, peer, Patience::UntilFound),
            Request::Refresh { user, peer } => self.look_up(&user, peer, Patience::Once),
            Request::Unwatch { user, peer } => {
                let lookup = self.users.get_mut(&user).and_then(|u| u.lookups.remove(&peer));
                if let Some(lookup) = lookup {
                    lookup.abort();
                }
            }
            Request::Announce { user, bundle } => {
                if let Some(user) = self.users.get(&user) {
                    user.bundle.send_replace(bundle);
                }
            }
            Request::Publish { .. } => {} // this relay hands out none
            Request::Lookup { user, peer } => {
                if let Some(user) = self.users.get(&user) {
                    self.tasks.spawn(find(self.relay.clone(), user.inbox.clone(), peer));
                }
            }
            Request::Send(messages) => {
                for message in messages {
                    if let Some(user) = self.users.get(&message.from) {
                        let _detached = user.outgoing.send(message);
                    }
                }
            }
            Request::Wake => {}         // each send tries for itself
            Request::Committed(_) => {} // a fetched inbox is empty: there is nothing to keep
        }
    }

    fn look_up(&mut self, user: &Arc<str>, peer: String, patience: Patience) {
        let Some(user) = self.users.get_mut(user) else { return };
        if user.lookups.get(&peer).is_some_and(|running| !running.is_finished()) {
            return;
        }
        user.lookups.retain(|_, lookup| !lookup.is_finished());
        let lookup = look_up(self.relay.clone(), user.inbox.clone(), peer.clone(), patience);
        user.lookups.insert(peer, self.tasks.spawn(lookup));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Once,
    UntilFound,
}

async fn look_up(
    relay: HttpRelay,
    inbox: mpsc::Sender<Incoming>,
    peer: String,
    patience: Patience,
) {
    let mut told: HashSet<bool> = HashSet::new();
    loop {
        let answer = relay.bundle(&peer).await;
        let known = matches!(answer, Ok(Some(_)));
        let incoming = match answer {
            Ok(Some(bundle)) => {
                let (peer, bundle) = (peer.clone(), Box::new(bundle));
                Incoming::Bundle { peer, bundle, announced: false }
            }
            Ok(None) => Incoming::Unknown { peer: peer.clone() },
            Err(_) if patience == Patience::Once => Incoming::Unknown { peer: peer.clone() },
            Err(_) => {
                sleep(LOOKUP_INTERVAL).await;
                continue;
            }
        };
        if told.insert(known) && inbox.send(incoming).await.is_err() {
            return;
        }
        if known || patience == Patience::Once {
            return;
        }
        sleep(LOOKUP_INTERVAL).await;
    }
}

/// Asks for a peer once.
async fn find(relay: HttpRelay, inbox: mpsc::Sender<Incoming>, peer: String) {
    let incoming = match relay.bundle(&peer).await {
        Ok(Some(bundle)) => Incoming::Found { peer, bundle: Box::new(bundle), prekey: None },
        Ok(None) | Err(_) => Incoming::Unknown { peer },
    };
    let _detached = inbox.send(incoming).await;
}

/// What runs for one user.
#[derive(Clone)]
struct Worker {
    relay: HttpRelay,
    state: Arc<LinkState>,
    counters: Arc<Counters>,
    user: Arc<str>,
    inbox: mpsc::Sender<Incoming>,
}

impl Worker {
    /// Registers, then fetches messages until aborted. The next poll begins an interval after the
    /// last has ended; after a failure the pauses grow.
    async fn poll(
        self,
        mut bundle: watch::Receiver<PublicKeyBundle>,
        done: oneshot::Sender<Result<(), Error>>,
    ) {
        let registered = self.register(&mut bundle).await;
        let failed = registered.is_err();
        let _nobody_waits = done.send(registered);
        if failed {
            return;
        }
        let mut backoff = Backoff::default();
        let mut refused = false;
        loop {
            let polled = self.poll_once(&mut bundle).await;
            let was_connected = self.state.connected.swap(polled.is_ok(), Ordering::Relaxed);
            match (was_connected, &polled) {
                (false, Ok(())) => {
                    self.counters.reconnections.one();
                    info!(transport = "http", "relay connected");
                }
                (true, Err(error)) => warn!(code = error.code.as_str(), "relay lost"),
                _ => {}
            }
            match polled {
                Ok(()) => {
                    backoff.reset();
                    refused = false;
                    let _detached = self.inbox.send(Incoming::Connected).await;
                    sleep(self.relay.config.poll_interval).await;
                }
                Err(error) => {
                    self.state.failed(&error);
                    if error.code == Code::AuthFailed && !std::mem::replace(&mut refused, true) {
                        let _detached = self.inbox.send(Incoming::Trouble(error)).await;
                    }
                    let pause = backoff.next();
                    info!(pause_ms = pause.as_millis() as u64, "relay retry");
                    sleep(pause).await;
                }
            }
        }
    }

    /// Registers what the bundle is now. It counts as changed until that has succeeded.
    async fn register(&self, bundle: &mut watch::Receiver<PublicKeyBundle>) -> Result<(), Error> {
        let current = bundle.borrow_and_update().clone();
        let registered = self.relay.register(&self.user, &current).await;
        if registered.is_err() {
            bundle.mark_changed();
        }
        registered
    }

    /// A changed bundle is registered right behind a poll: the original's relay empties the inbox
    /// of a user who registers again.
    async fn poll_once(&self, bundle: &mut watch::Receiver<PublicKeyBundle>) -> Result<(), Error> {
        match self.relay.messages(&self.user).await? {
            Some(messages) => {
                for envelope in messages {
                    let _detached = self.inbox.send(Incoming::Message(envelope)).await;
                }
                match bundle.has_changed() {
                    Ok(true) => self.register(bundle).await,
                    Ok(false) | Err(_) => Ok(()),
                }
            }
            // The relay has lost its memory, or the user was erased.
            None => self.register(bundle).await,
        }
    }

    /// Sends one message after the other; one that the network swallows is tried again until its
    /// deadline.
    async fn send_all(self, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
        while let Some(message) = queue.recv().await {
            let mut backoff = Backoff::default();
            let error = loop {
                if message.deadline <= Instant::now() {
                    break Some(Error::relay_unavailable());
                }
                match self.relay.send(&message).await {
                    Ok(()) => break None,
                    Err(error) if error.code != Code::RelayUnavailable => break Some(error),
                    Err(error) => {
                        let next = Instant::now() + backoff.next();
                        if next >= message.deadline {
                            break Some(error);
                        }
                        sleep_until(next).await;
                    }
                }
            };
            let id = message.id;
            let outcome = match error {
                None => Incoming::Taken { id, status: SentStatus::Delivered },
                Some(error) => Incoming::Refused { id, error },
            };
            let _detached = self.inbox.send(outcome).await;
        }
    }
}
