//! One app: a relay connection and its users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::Error;
use napi::bindgen_prelude::{Array, Buffer, Env, Result};
use napi_derive::napi;
use stvor_client::{App, Config, LegacyPeers, SealedSessions, StoreError, StoreErrorKind, Stores};
use stvor_protocol::metrics::Attestation;
use tracing::Instrument;
use zeroize::Zeroizing;

use crate::client::NativeClient;
use crate::embedded::{EmbeddedStores, NativeEmbedded};
use crate::error::to_js;
use crate::events::{ClientEvents, Queue, Wake};
use crate::logs;
use crate::metrics::NativeMetrics;
use crate::stores::{Answer, JsStores};

/// A checked configuration; times in milliseconds, `ca` in PEM.
#[napi(object, object_to_js = false)]
pub struct NativeConfig {
    pub app_token: String,
    pub relay_url: String,
    pub timeout_ms: u32,
    pub poll_interval_ms: u32,
    pub ca: Option<Buffer>,
    pub refuse_legacy_peers: bool,
}

/// Where each of a user's stores is: 0 in memory, 1 an adapter of the facade's, 2 the embedded file.
#[napi(object, object_to_js = false)]
pub struct NativeChoice {
    pub identity: u32,
    pub sessions: u32,
    pub replay: u32,
    pub tofu: u32,
}

const ADAPTER: u32 = 1;
const EMBEDDED: u32 = 2;

enum Place<'a> {
    Memory,
    Adapter,
    Embedded(&'a EmbeddedStores),
}

#[napi]
pub struct NativeApp {
    app: App,
    queue: Arc<Queue>,
    /// Of the app, so that a user who connects again is who they were.
    memory: Stores,
    /// Those that the facade has.
    adapters: Arc<JsStores>,
    adapter_sessions: Arc<SealedSessions>,
    /// What users keep their things in who do not keep them in memory.
    chosen: Mutex<HashMap<String, Stores>>,
}

#[napi]
impl NativeApp {
    /// Reaches the relay. `wake` is called when there are events to take; `logger` is the number
    /// of a [`NativeLogger`](crate::logs::NativeLogger), which is then this app's.
    #[napi(factory)]
    pub async fn open(config: NativeConfig, wake: Wake, logger: Option<u32>) -> Result<Self> {
        let legacy_peers =
            if config.refuse_legacy_peers { LegacyPeers::Refuse } else { LegacyPeers::Allow };
        let config = Config {
            app_token: config.app_token,
            relay_url: config.relay_url,
            timeout: Duration::from_millis(config.timeout_ms.into()),
            poll_interval: Duration::from_millis(config.poll_interval_ms.into()),
            ca: config.ca.map(|pem| pem.to_vec()),
            legacy_peers,
        };
        let opening = App::open(config).instrument(logs::span(logger));
        let app = opening.await.map_err(to_js)?;
        let queue = Arc::new(Queue::new(wake));
        let adapters = Arc::new(JsStores::new(queue.clone()));
        let adapter_sessions = Arc::new(SealedSessions::new(adapters.clone()));
        let (memory, chosen) = (Stores::memory(), Mutex::default());
        Ok(Self { app, queue, memory, adapters, adapter_sessions, chosen })
    }

    /// Says where a user's things are kept from the next [`connect`](Self::connect) on.
    #[napi(catch_unwind)]
    pub fn choose_stores(
        &self,
        user_id: String,
        choice: NativeChoice,
        file: Option<&NativeEmbedded>,
    ) {
        let file = file.map(|file| &*file.stores);
        let place = |number: u32| match (number, file) {
            (ADAPTER, _) => Place::Adapter,
            (EMBEDDED, Some(file)) => Place::Embedded(file),
            _ => Place::Memory,
        };
        let memory = &self.memory;
        let sessions = place(choice.sessions);
        let with_sessions = matches!(sessions, Place::Embedded(_));
        let stores = Stores {
            identity: match place(choice.identity) {
                Place::Memory => memory.identity.clone(),
                Place::Adapter => self.adapters.clone(),
                Place::Embedded(file) => file.identity(),
            },
            sessions: match sessions {
                Place::Memory => memory.sessions.clone(),
                Place::Adapter => self.adapter_sessions.clone(),
                Place::Embedded(file) => file.sessions.clone(),
            },
            replay: match place(choice.replay) {
                Place::Memory => memory.replay.clone(),
                Place::Adapter => self.adapters.clone(),
                Place::Embedded(file) => file.replay(with_sessions),
            },
            tofu: match place(choice.tofu) {
                Place::Memory => memory.tofu.clone(),
                Place::Adapter => self.adapters.clone(),
                Place::Embedded(file) => file.tofu(),
            },
        };
        self.lock_chosen().insert(user_id, stores);
    }

    fn lock_chosen(&self) -> MutexGuard<'_, HashMap<String, Stores>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stores_of(&self, user_id: &str) -> Stores {
        self.lock_chosen().get(user_id).unwrap_or(&self.memory).clone()
    }

    /// A store of the facade did what it was asked under `number`.
    #[napi(catch_unwind)]
    pub fn store_done(&self, number: i64) {
        self.adapters.answer(number, Answer::Done);
    }

    /// What a store of the facade keeps, if it keeps anything there.
    #[napi(catch_unwind)]
    pub fn store_loaded(&self, number: i64, bytes: Option<Buffer>) {
        self.adapters.answer(number, Answer::Loaded(bytes.map(|bytes| bytes.to_vec())));
    }

    /// The halves of an identity.
    #[napi(catch_unwind)]
    pub fn store_identity(&self, number: i64, public_key: &[u8], private_key: &[u8]) {
        let private_key = Zeroizing::new(private_key.to_vec());
        self.adapters.answer(number, Answer::Identity(public_key.to_vec(), private_key));
    }

    /// A yes, no or neither for each question.
    #[napi(catch_unwind)]
    pub fn store_told(&self, number: i64, answers: Vec<Option<bool>>) {
        self.adapters.answer(number, Answer::Told(answers));
    }

    /// A store of the facade failed; `message` says how, and the facade knows `cause`. `saved` are
    /// the peers whose records a save has replaced all the same.
    #[napi(catch_unwind)]
    pub fn store_failed(
        &self,
        number: i64,
        message: String,
        is_conflict: bool,
        cause: Option<i64>,
        saved: Vec<String>,
    ) {
        let kind = if is_conflict { StoreErrorKind::Conflict } else { StoreErrorKind::Failed };
        let cause = cause.and_then(|cause| u64::try_from(cause).ok());
        self.adapters.answer(number, Answer::Failed(StoreError { kind, message, cause, saved }));
    }

    #[napi(catch_unwind)]
    pub fn is_ready(&self) -> bool {
        self.app.is_ready()
    }

    /// Connects a user whose events carry `number`.
    #[napi]
    pub async fn connect(&self, user_id: String, number: i64) -> Result<NativeClient> {
        let events = Arc::new(ClientEvents::new(number, self.queue.clone()));
        let connecting = self.app.connect(&user_id, self.stores_of(&user_id), events.clone());
        let client = connecting.await.map_err(to_js)?;
        Ok(NativeClient::new(client, events))
    }

    #[napi]
    pub async fn close(&self) {
        self.app.close().await;
    }

    #[napi]
    pub async fn trust(&self, peer_id: String, fingerprint: String) -> Result<()> {
        self.app.trust(&peer_id, &fingerprint).await.map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn metrics(&self) -> NativeMetrics {
        self.app.metrics().into()
    }

    /// The same as text for Prometheus.
    #[napi(catch_unwind)]
    pub fn prometheus(&self) -> String {
        self.app.prometheus()
    }

    /// The counters with a proof, as JSON.
    #[napi(catch_unwind)]
    pub fn create_attestation(&self) -> Result<String> {
        attestation_json(&self.app.create_attestation())
    }

    /// Sends an attestation to a backend within `limit_ms`; resolves to it, as JSON.
    #[napi]
    pub async fn flush_metrics(&self, backend_url: String, limit_ms: u32) -> Result<String> {
        let limit = Duration::from_millis(limit_ms.into());
        let sent = self.app.flush_metrics(&backend_url, limit).await.map_err(to_js)?;
        attestation_json(&sent)
    }

    /// The events since the last call; see `events.rs` for the form.
    #[napi(catch_unwind, ts_return_type = "unknown[]")]
    pub fn take_events<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        self.queue.take(env)
    }
}

fn attestation_json(attestation: &Attestation) -> Result<String> {
    serde_json::to_string(attestation).map_err(|error| Error::from_reason(error.to_string()))
}
