//! The embedded file as a user's stores, for the client and for JavaScript.

use std::sync::Arc;

use async_trait::async_trait;
use napi::bindgen_prelude::{Buffer, Result};
use napi_derive::napi;
use stvor_client::{
    IdentityStore, OsRandom, ReplayCache, SealedSessions, SealedStore, StoreError, StoreErrorKind,
    TofuStore,
};
use stvor_embedded::{Error, Key, Store};
use stvor_protocol::IdentityKeyPair;
use zeroize::Zeroizing;

use crate::error::{failure, invalid_argument};

/// Everything in one file. Nonces are marked for good at once.
struct Embedded(Store);

/// The same file where sessions are in it too: nonces are written with the records of their step.
struct Marks(Store);

fn failed(error: Error) -> StoreError {
    let kind = match error {
        Error::Damaged => StoreErrorKind::Damaged,
        _ => StoreErrorKind::Failed,
    };
    StoreError::of(kind, format!("the embedded file: {error}"))
}

#[async_trait]
impl IdentityStore for Embedded {
    async fn identity_key_pair(
        &self,
        user_id: &str,
    ) -> std::result::Result<IdentityKeyPair, StoreError> {
        let candidate = IdentityKeyPair::generate(&mut OsRandom::default()).to_bytes();
        let kept = self.0.identity(user_id, &*candidate).await.map_err(failed)?;
        IdentityKeyPair::from_bytes(&kept)
            .map_err(|_| StoreError::of(StoreErrorKind::Damaged, "the embedded file: no identity"))
    }
}

#[async_trait]
impl SealedStore for Embedded {
    async fn load(
        &self,
        user_id: &str,
        peer_id: &str,
    ) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        let record = self.0.load(user_id, peer_id).await.map_err(failed)?;
        Ok(record.map(|record| record.to_vec()))
    }

    async fn save(
        &self,
        user_id: &str,
        rows: Vec<(String, Vec<u8>)>,
    ) -> std::result::Result<(), StoreError> {
        self.0.save(user_id, rows).await.map_err(failed)
    }
}

#[async_trait]
impl ReplayCache for Embedded {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> std::result::Result<bool, StoreError> {
        self.0.check_and_mark(user_id, peer_id, &nonce).await.map_err(failed)
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> std::result::Result<Vec<bool>, StoreError> {
        let nonces = nonces.iter().map(|(peer, nonce)| (peer.as_str(), nonce));
        self.0.check_and_mark_many(user_id, nonces).await.map_err(failed)
    }
}

#[async_trait]
impl ReplayCache for Marks {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> std::result::Result<bool, StoreError> {
        Ok(self.0.mark_later(user_id, peer_id, &nonce))
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> std::result::Result<Vec<bool>, StoreError> {
        let mark = |(peer, nonce): &(String, [u8; 12])| self.0.mark_later(user_id, peer, nonce);
        Ok(nonces.iter().map(mark).collect())
    }
}

#[async_trait]
impl TofuStore for Embedded {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> std::result::Result<(), StoreError> {
        let stored = self.0.store_fingerprint(user_id, peer_id, fingerprint.as_bytes()).await;
        stored.map(drop).map_err(failed)
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> std::result::Result<(), StoreError> {
        let replaced = self.0.replace_fingerprint(user_id, peer_id, fingerprint.as_bytes()).await;
        replaced.map_err(failed)
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> std::result::Result<Option<bool>, StoreError> {
        let verified = self.0.verify_fingerprint(user_id, peer_id, fingerprint.as_bytes()).await;
        verified.map_err(failed)
    }
}

/// The stores that a user has in one file.
pub(crate) struct EmbeddedStores {
    store: Arc<Embedded>,
    pub(crate) sessions: Arc<SealedSessions>,
}

impl EmbeddedStores {
    pub(crate) fn identity(&self) -> Arc<dyn IdentityStore> {
        self.store.clone()
    }

    pub(crate) fn tofu(&self) -> Arc<dyn TofuStore> {
        self.store.clone()
    }

    /// Nonces; `with_sessions` says whether the same user's sessions are in the file too.
    pub(crate) fn replay(&self, with_sessions: bool) -> Arc<dyn ReplayCache> {
        match with_sessions {
            true => Arc::new(Marks(self.store.0.clone())),
            false => self.store.clone(),
        }
    }
}

/// One file, as JavaScript has it: the documented adapters' methods, each asynchronous.
#[napi]
pub struct NativeEmbedded {
    pub(crate) stores: Arc<EmbeddedStores>,
}

#[napi]
impl NativeEmbedded {
    /// Makes or opens the file, with 32 bytes or a passphrase.
    #[napi(factory)]
    pub async fn open(
        path: String,
        key: Option<Buffer>,
        passphrase: Option<String>,
    ) -> Result<Self> {
        let key = match (key, passphrase) {
            (Some(key), None) => {
                let key = Zeroizing::new(key.to_vec());
                let bytes: [u8; 32] = (&**key)
                    .try_into()
                    .map_err(|_| invalid_argument("key", "not 32 bytes long"))?;
                Key::from_bytes(bytes)
            }
            (None, Some(passphrase)) => Key::from_passphrase(passphrase),
            _ => return Err(invalid_argument("key", "one of key and passphrase is needed")),
        };
        let store = Store::open(path, key).await.map_err(to_js)?;
        let store = Arc::new(Embedded(store));
        let sessions = Arc::new(SealedSessions::new(store.clone()));
        Ok(Self { stores: Arc::new(EmbeddedStores { store, sessions }) })
    }

    fn store(&self) -> &Store {
        &self.stores.store.0
    }

    /// A user's identity, made at the first call: 65 public bytes, then 32 private ones. With a
    /// pair that was made elsewhere, of as many bytes, the first call keeps that.
    #[napi]
    pub async fn identity(
        &self,
        user_id: String,
        public_key: Option<Buffer>,
        private_key: Option<Buffer>,
    ) -> Result<Buffer> {
        let candidate = match (public_key, private_key) {
            (Some(public), Some(private)) => made_elsewhere(&public, &private)?,
            (None, None) => IdentityKeyPair::generate(&mut OsRandom::default()),
            _ => return Err(invalid_argument("keyPair", "both halves are needed")),
        };
        let kept = self.store().identity(&user_id, &*candidate.to_bytes()).await.map_err(to_js)?;
        let pair = IdentityKeyPair::from_bytes(&kept).map_err(|_| to_js(Error::Damaged))?;
        Ok([pair.public().as_bytes(), pair.to_bytes().as_slice()].concat().into())
    }

    #[napi]
    pub async fn load(&self, user_id: String, peer_id: String) -> Result<Option<Buffer>> {
        let record = self.store().load(&user_id, &peer_id).await.map_err(to_js)?;
        Ok(record.map(|record| record.to_vec().into()))
    }

    /// `records` are those of `peers`, in the same order: all are saved, or none.
    #[napi]
    pub async fn save(
        &self,
        user_id: String,
        peers: Vec<String>,
        records: Vec<Buffer>,
    ) -> Result<()> {
        let rows = peers.into_iter().zip(records);
        let rows: Vec<_> = rows.map(|(peer, record)| (peer, record.to_vec())).collect();
        self.store().save(&user_id, rows).await.map_err(to_js)
    }

    #[napi]
    pub async fn check_and_mark(
        &self,
        user_id: String,
        peers: Vec<String>,
        nonces: Vec<Buffer>,
    ) -> Result<Vec<bool>> {
        let nonces: Option<Vec<[u8; 12]>> =
            nonces.iter().map(|nonce| <[u8; 12]>::try_from(&**nonce).ok()).collect();
        let nonces = nonces.ok_or_else(|| invalid_argument("nonce", "not 12 bytes long"))?;
        let pairs = peers.iter().map(String::as_str).zip(&nonces);
        self.store().check_and_mark_many(&user_id, pairs).await.map_err(to_js)
    }

    /// Pins a fingerprint if there is none, or in place of any other.
    #[napi]
    pub async fn pin(
        &self,
        user_id: String,
        peer_id: String,
        fingerprint: String,
        replaces: bool,
    ) -> Result<()> {
        let (store, fingerprint) = (self.store(), fingerprint.as_bytes());
        match replaces {
            true => store.replace_fingerprint(&user_id, &peer_id, fingerprint).await,
            false => store.store_fingerprint(&user_id, &peer_id, fingerprint).await.map(drop),
        }
        .map_err(to_js)
    }

    #[napi]
    pub async fn verify(
        &self,
        user_id: String,
        peer_id: String,
        fingerprint: String,
    ) -> Result<Option<bool>> {
        let verified = self.store().verify_fingerprint(&user_id, &peer_id, fingerprint.as_bytes());
        verified.await.map_err(to_js)
    }

    #[napi]
    pub async fn close(&self) {
        self.store().close().await;
    }
}

/// A pair that is to be kept for ever: checked before it is.
fn made_elsewhere(public_key: &[u8], private_key: &[u8]) -> Result<IdentityKeyPair> {
    if private_key.len() != 32 {
        return Err(invalid_argument("privateKey", "not 32 bytes long"));
    }
    IdentityKeyPair::from_halves(public_key, private_key)
        .map_err(|error| invalid_argument("keyPair", error))
}

/// What each of the file's errors is to its owner.
fn to_js(error: Error) -> napi::Error {
    let full = error.is_disk_full();
    let (code, action) = match error {
        Error::Locked => (
            "STORAGE_LOCKED",
            "One process at a time may have it open: end the other, or use postgresStorage().",
        ),
        Error::WrongKey => {
            ("STORAGE_KEY", "Give the key or passphrase that the file was made with.")
        }
        Error::Damaged => (
            "STORAGE_DAMAGED",
            "Restore the file from a backup; do not start over with an empty one.",
        ),
        Error::Version { .. } => {
            ("STORAGE_DAMAGED", "Update @stvor/sdk to the version that made it.")
        }
        _ if full => ("STORAGE_FAILED", "Make room on the disk, then try again."),
        _ => ("STORAGE_FAILED", "Check that the directory is there and can be written to."),
    };
    failure(code, &format!("The embedded file cannot be used: {error}."), action)
}
