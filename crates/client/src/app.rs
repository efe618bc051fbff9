//! An app: one relay connection and the users who share it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_core::CryptoRng;
use stvor_protocol::metrics::Attestation;
use stvor_protocol::{IdentityKey, IdentityKeyPair, LocalKeys, Prekeys, UserRecord};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use tracing::{Instrument, Span, debug, error_span, info, warn};

use crate::attestation::Attester;
use crate::client::{Client, Inner};
use crate::clock::Clock;
use crate::config::{LegacyPeers, check_user_id};
use crate::events::Events;
use crate::link::{Attachment, INBOX, Link, Request};
use crate::metrics::{Counters, Metrics};
use crate::prometheus::Exposition;
use crate::random::OsRandom;
use crate::store::{Changes, IdentityStore, StoreErrorKind};
use crate::user::{Stock, UserTask, wire_bundle};
use crate::{Config, Error, Stores};

/// How long closing waits for the relay's goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// An app's connection to its relay. Clones are the same app.
#[derive(Clone)]
pub struct App {
    inner: Arc<AppInner>,
}

struct AppInner {
    timeout: Duration,
    legacy_peers: LegacyPeers,
    counters: Arc<Counters>,
    attester: Attester,
    /// What the app's log events are in.
    span: Span,
    attachments: AtomicU64,
    /// Of every user who has come, and from which store.
    identities: Mutex<HashMap<String, KnownIdentity>>,
    /// `None` once closed.
    open: Mutex<Option<Open>>,
}

/// An identity, and the store that gave it.
type KnownIdentity = (Arc<dyn IdentityStore>, IdentityKey);

struct Open {
    link: Link,
    task: JoinHandle<()>,
    /// A cell is filled by the first of several calls for the same user; the others wait for it.
    clients: HashMap<String, Arc<OnceCell<Client>>>,
}

impl Open {
    fn connected(&self) -> Vec<Client> {
        let clients = self.clients.values().filter_map(|cell| cell.get());
        clients.filter(|client| !client.is_closed()).cloned().collect()
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Reaches the relay. Runs on the caller's tokio runtime.
    ///
    /// # Errors
    ///
    /// `INVALID_APP_TOKEN`, `INVALID_ARGUMENT`, `AUTH_FAILED`; `RELAY_UNAVAILABLE`, at once if
    /// nothing listens.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let attester = Attester::new(&config);
        let config = config.check()?;
        let (timeout, legacy_peers) = (config.timeout, config.legacy_peers);
        let counters = Arc::new(Counters::default());
        let opened = Link::open(config, counters.clone()).await;
        let (link, task) = opened.inspect_err(|error| {
            warn!(code = error.code.as_str(), "relay not reached");
        })?;
        let open = Mutex::new(Some(Open { link, task, clients: HashMap::new() }));
        let inner = AppInner {
            timeout,
            legacy_peers,
            counters,
            attester,
            span: Span::current(),
            attachments: 1.into(),
            identities: Mutex::default(),
            open,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether a user is connected, and the relay is there.
    pub fn is_ready(&self) -> bool {
        let state = self.open_state();
        state.as_ref().is_some_and(|open| open.link.is_connected() && !open.connected().is_empty())
    }

    fn open_state(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing panics while holding it, and the map would still be whole.
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a user: loads or makes their keys, shows them to the relay, starts receiving.
    /// Resolves once the relay has them. A user who is connected already is returned as they are.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, `STORAGE_FAILED`, `AUTH_FAILED`, `RELAY_UNAVAILABLE`;
    /// `CLIENT_NOT_READY` after [`App::close`].
    pub async fn connect(
        &self,
        user_id: &str,
        stores: Stores,
        events: Arc<dyn Events>,
    ) -> Result<Client, Error> {
        check_user_id("userId", user_id)?;
        let (cell, link, leaving) = {
            let mut state = self.open_state();
            let open = state.as_mut().ok_or_else(Error::client_not_ready)?;
            let cell = open.clients.entry(user_id.to_owned()).or_default();
            let leaving = cell.get().filter(|client| client.is_closed()).cloned();
            if leaving.is_some() {
                *cell = Arc::default();
            }
            (cell.clone(), open.link.clone(), leaving)
        };
        let start = async || {
            if let Some(leaving) = leaving {
                leaving.gone().await; // two tasks must not own one user's records
            }
            let number = self.inner.attachments.fetch_add(1, Ordering::Relaxed);
            let span = error_span!(parent: &self.inner.span, "client", client = number);
            let start = self.start(Attachment(number), link, user_id, stores, events);
            start.instrument(span).await
        };
        let client = cell.get_or_try_init(start).await?;
        if self.open_state().is_none() {
            client.disconnect().await; // the app was closed meanwhile
            return Err(Error::client_not_ready());
        }
        Ok(client.clone())
    }

    async fn start(
        &self,
        attachment: Attachment,
        link: Link,
        user_id: &str,
        stores: Stores,
        events: Arc<dyn Events>,
    ) -> Result<Client, Error> {
        let identity_is_new = stores.identity.is_to_be_made(user_id);
        let identity = stores.identity.identity_key_pair(user_id).await;
        let identity = identity.map_err(|error| self.inner.counters.storage(&error))?;
        self.check_identity(user_id, &stores.identity, identity.public())?;
        let (clock, mut random) = (Clock::System, Box::new(OsRandom::default()));
        let (now_ms, counters) = (clock.now_ms(), &self.inner.counters);
        let own = own_record(&stores, user_id, &identity, now_ms, &mut *random, counters).await?;
        let id: Arc<str> = user_id.into();
        let (inbox, arrivals) = mpsc::channel(INBOX);
        let (done, attached) = oneshot::channel();
        let bundle = wire_bundle(own.prekeys(), user_id);
        link.request(Request::Attach { user: id.clone(), attachment, bundle, inbox, done });
        let (commands, queue) = mpsc::unbounded_channel();
        let (stay, stays) = watch::channel(());
        let identity = identity.public().clone();
        let task = UserTask {
            id: id.clone(),
            own,
            identity_made_ms: identity_is_new.then_some(now_ms),
            stores,
            link,
            events,
            counters: self.inner.counters.clone(),
            timeout: self.inner.timeout,
            legacy_peers: self.inner.legacy_peers,
            clock,
            random,
            stock: Stock::USUAL,
            attachment,
            stay,
        };
        // Before the relay has answered: mail that waited may come ahead of its answer.
        tokio::spawn(task.run(queue, arrivals).in_current_span());
        let fingerprint = identity.fingerprint();
        let inner = Inner {
            user_id: id,
            fingerprint,
            identity,
            timeout: self.inner.timeout,
            counters: self.inner.counters.clone(),
            commands,
            stay: stays,
        };
        let client = Client { inner: Arc::new(inner) };
        let failure = match timeout(self.inner.timeout, attached).await {
            Ok(Ok(Ok(()))) => {
                info!("user joined");
                debug!(user = user_id, "user's id");
                return Ok(client);
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) | Err(_) => Error::relay_unavailable(),
        };
        warn!(code = failure.code.as_str(), "user could not join");
        client.disconnect().await;
        Err(failure)
    }

    /// An identity store gives a user one identity for as long as the app lives, and no other
    /// user the same (I6).
    fn check_identity(
        &self,
        user_id: &str,
        store: &Arc<dyn IdentityStore>,
        identity: &IdentityKey,
    ) -> Result<(), Error> {
        let mut identities = self.inner.identities.lock().unwrap_or_else(PoisonError::into_inner);
        let before = identities.get(user_id).filter(|(from, _)| Arc::ptr_eq(from, store));
        if before.is_some_and(|(_, before)| before != identity) {
            return Err(Error::identity_conflict("it is not the one that this user had before"));
        }
        if identities.iter().any(|(user, (_, theirs))| user != user_id && theirs == identity) {
            return Err(Error::identity_conflict("another user of this app has the same"));
        }
        identities.insert(user_id.to_owned(), (store.clone(), identity.clone()));
        Ok(())
    }

    /// Disconnects one user; nothing happens if they are not connected.
    pub async fn disconnect_user(&self, user_id: &str) {
        let cell = self.open_state().as_ref().and_then(|open| open.clients.get(user_id).cloned());
        let Some(cell) = cell else { return };
        // Waits for a connect that is under way. The client stays in the map, closed, so that the
        // next connect can wait for it to be gone.
        let never = async || Err(Error::client_not_ready());
        if let Ok(client) = cell.get_or_try_init(never).await {
            client.disconnect().await;
        }
    }

    /// Disconnects every user and the relay. Further calls do nothing.
    pub async fn close(&self) {
        let Some(open) = self.open_state().take() else { return };
        let leaving = open.connected();
        futures_util::future::join_all(leaving.iter().map(Client::disconnect)).await;
        let Open { link, task, clients: _ } = open;
        drop(link);
        let _best_effort = timeout(FAREWELL, task).await;
    }

    /// Accepts `fingerprint` (64 lower-case hexadecimal characters) as that of `peer_id`'s
    /// identity key, for every connected user.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, `STORAGE_FAILED`; `CLIENT_NOT_READY` if nobody is connected.
    pub async fn trust(&self, peer_id: &str, fingerprint: &str) -> Result<(), Error> {
        let clients = self.open_state().as_ref().map(Open::connected).unwrap_or_default();
        if clients.is_empty() {
            return Err(Error::client_not_ready());
        }
        for client in clients.iter().filter(|client| client.user_id() != peer_id) {
            client.trust(peer_id, fingerprint).await?;
        }
        Ok(())
    }

    /// The app's counters and latencies, all users together.
    pub fn metrics(&self) -> Metrics {
        self.inner.counters.read()
    }

    /// The same as text for Prometheus, exposition format 0.0.4.
    pub fn prometheus(&self) -> String {
        Exposition(&self.metrics()).to_string()
    }

    /// The counters with a proof that they come from a holder of the app token, under the next
    /// sequence number. It is for a backend to verify: one that is withheld is missed there.
    pub fn create_attestation(&self) -> Attestation {
        self.inner.attester.create(self.metrics())
    }

    /// Sends an attestation to the backend at `url` (`http://` or `https://`), within `limit`.
    /// Returns what the backend has accepted.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`; `BACKEND_UNAVAILABLE`, when the next attestation makes up for this one;
    /// `METRICS_REJECTED`.
    pub async fn flush_metrics(&self, url: &str, limit: Duration) -> Result<Attestation, Error> {
        self.inner.attester.flush(url, limit, || self.metrics()).await
    }
}

/// How often another process may be the first to write a user's own record.
const MAX_RACES: usize = 8;

/// The user's own record: loaded, or made and saved. Nothing of it is shown before that.
pub(crate) async fn own_record(
    stores: &Stores,
    user_id: &str,
    identity: &IdentityKeyPair,
    now_ms: u64,
    random: &mut (dyn CryptoRng + Send),
    counters: &Counters,
) -> Result<UserRecord, Error> {
    let failed = |error: crate::StoreError| counters.storage(&error);
    stores.sessions.identify(user_id, identity);
    for _ in 0..MAX_RACES {
        if let Some(own) = stores.sessions.load_user(user_id).await.map_err(failed)? {
            if own.prekeys().local_keys().identity_key() == identity.public() {
                return Ok(own);
            }
            return Err(Error::identity_conflict(
                "it is not the one that the records were made with",
            ));
        }
        let keys = LocalKeys::with_new_prekey(identity.clone(), random);
        let own = UserRecord::new(Prekeys::new(&keys, now_ms, random));
        let changes = Changes { user: Some(own.clone()), ..Changes::default() };
        match stores.sessions.save(user_id, &changes).await {
            Ok(()) => return Ok(own),
            Err(error) if error.kind == StoreErrorKind::Conflict => {} // there is one now
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(crate::StoreError::of(StoreErrorKind::Conflict, "the user's own record")))
}
