//! Stores that are written in JavaScript. A question goes out as an event of the app, and the
//! facade answers it by its number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stvor_client::{
    IdentityStore, ReplayCache, SealedStore, StoreError, StoreErrorKind, TofuStore,
};
use stvor_protocol::IdentityKeyPair;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::events::{Queue, StoreRequest, StoreValue};

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The questions, as `lib/adapters.js` numbers them.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Identity = 0,
    Load = 1,
    Save = 2,
    Check = 3,
    Verify = 4,
    Pin = 5,
    Repin = 6,
}

impl Operation {
    /// The documented name of what is called.
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity.getIdentityKeyPair",
            Self::Load => "sessions.load",
            Self::Save => "sessions.save",
            Self::Check => "replay.checkAndMark",
            Self::Verify => "tofu.verifyFingerprint",
            Self::Pin | Self::Repin => "tofu.storeFingerprint",
        }
    }
}

/// What a store says.
pub(crate) enum Answer {
    Done,
    Loaded(Option<Vec<u8>>),
    Identity(Vec<u8>, Zeroizing<Vec<u8>>),
    Told(Vec<Option<bool>>),
    Failed(StoreError),
}

/// The facade's stores of all users of one app.
pub(crate) struct JsStores {
    queue: Arc<Queue>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    numbers: i64,
    answers: HashMap<i64, oneshot::Sender<Answer>>,
}

impl JsStores {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, waiting: Mutex::default() }
    }

    /// Takes an answer. One that comes too late is dropped.
    pub(crate) fn answer(&self, number: i64, answer: Answer) {
        if let Some(asker) = self.lock().answers.remove(&number) {
            let _gone = asker.send(answer);
        }
    }

    async fn ask(
        &self,
        operation: Operation,
        user_id: &str,
        rows: Vec<(String, StoreValue)>,
    ) -> Result<Answer, StoreError> {
        let (asker, answer) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            waiting.numbers += 1;
            let number = waiting.numbers;
            waiting.answers.insert(number, asker);
            number
        };
        let user_id = user_id.to_owned();
        self.queue.ask_store(number, StoreRequest { operation: operation as u32, user_id, rows });
        match timeout(PATIENCE, answer).await {
            Ok(Ok(Answer::Failed(error))) => Err(error),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(nonsense(operation)),
            Err(_) => {
                self.lock().answers.remove(&number);
                let seconds = PATIENCE.as_secs();
                let name = operation.name();
                Err(StoreError::failed(format!("{name} has not answered within {seconds} seconds")))
            }
        }
    }

    async fn pin(
        &self,
        operation: Operation,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        let rows = vec![(peer_id.to_owned(), StoreValue::Text(fingerprint.to_owned()))];
        self.ask(operation, user_id, rows).await.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not what was asked for.
fn nonsense(operation: Operation) -> StoreError {
    StoreError::failed(format!("{} gave something unusable", operation.name()))
}

#[async_trait]
impl IdentityStore for JsStores {
    async fn identity_key_pair(&self, user_id: &str) -> Result<IdentityKeyPair, StoreError> {
        match self.ask(Operation::Identity, user_id, Vec::new()).await? {
            Answer::Identity(public, private) => IdentityKeyPair::from_halves(&public, &private)
                .map_err(|error| {
                    let name = Operation::Identity.name();
                    let message = format!("{name} gave no key pair of P-256: {error}");
                    StoreError::of(StoreErrorKind::Failed, message)
                }),
            _ => Err(nonsense(Operation::Identity)),
        }
    }
}

#[async_trait]
impl SealedStore for JsStores {
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = vec![(peer_id.to_owned(), StoreValue::Nothing)];
        match self.ask(Operation::Load, user_id, rows).await? {
            Answer::Loaded(bytes) => Ok(bytes),
            _ => Err(nonsense(Operation::Load)),
        }
    }

    async fn save(&self, user_id: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let rows = rows.into_iter().map(|(peer, bytes)| (peer, StoreValue::Bytes(bytes)));
        self.ask(Operation::Save, user_id, rows.collect()).await.map(drop)
    }
}

#[async_trait]
impl ReplayCache for JsStores {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> Result<bool, StoreError> {
        let seen = self.check_and_mark_all(user_id, &[(peer_id.to_owned(), nonce)]).await?;
        seen.first().copied().ok_or_else(|| nonsense(Operation::Check))
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> Result<Vec<bool>, StoreError> {
        let rows = nonces.iter();
        let rows = rows.map(|(peer, nonce)| (peer.clone(), StoreValue::Bytes(nonce.to_vec())));
        match self.ask(Operation::Check, user_id, rows.collect()).await? {
            Answer::Told(seen) if seen.len() == nonces.len() => {
                let seen: Option<Vec<bool>> = seen.into_iter().collect();
                seen.ok_or_else(|| nonsense(Operation::Check))
            }
            _ => Err(nonsense(Operation::Check)),
        }
    }
}

#[async_trait]
impl TofuStore for JsStores {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.pin(Operation::Pin, user_id, peer_id, fingerprint).await
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.pin(Operation::Repin, user_id, peer_id, fingerprint).await
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError> {
        let rows = vec![(peer_id.to_owned(), StoreValue::Text(fingerprint.to_owned()))];
        match self.ask(Operation::Verify, user_id, rows).await? {
            Answer::Told(told) if told.len() == 1 => Ok(told[0]),
            _ => Err(nonsense(Operation::Verify)),
        }
    }
}
