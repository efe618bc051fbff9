//! The protocol of `@stvor/sdk`, sans-IO: keys, key agreement, ratchet, sessions, records.
//!
//! No I/O, no clock, no global randomness and no logging: a step is a function from a state and
//! its input to the next state and its output. Randomness is an argument, any
//! [`CryptoRng`](rand_core::CryptoRng). What a step draws from it, and in which order, is part of
//! its documentation, so that recorded conversations can be replayed byte for byte.
//!
//! ```
//! # use rand_core::SeedableRng as _;
//! use stvor_protocol::{LocalKeys, Record};
//! # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//!
//! let (alice, bob) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
//! let to_bob = Record::new(&alice, bob.bundle().verify()?, &mut rng)?;
//! let to_alice = Record::new(&bob, alice.bundle().verify()?, &mut rng)?;
//!
//! let sealed = to_bob.encrypt(b"hello", &mut rng)?;
//! let opened = to_alice.decrypt(&bob, &sealed.header, &sealed.ciphertext, &mut rng)?;
//! assert_eq!(*opened.plaintext, b"hello");
//! // Store `sealed.record` and `opened.record` in place of the old ones.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layers, each built on those before it: [keys](LocalKeys) and [bundles](PrekeyBundle);
//! [`x3dh_symmetric`]; [`Session`], one Double Ratchet; [`Record`], all sessions with one peer.
//! That is wire 3. Wire 4, which two of our clients speak, has the same ratchet under a handshake
//! and associated data of its own: [`Prekeys`] and [`VerifiedV4`], and [`Sessions`] with a peer.
//! [`StorageKey`] seals what is kept before it leaves.
//! `docs/PROTOCOL.md` specifies the bytes. Root keys are shielded by `stvor-shield`, whose key comes
//! from the operating system; no output depends on it.

mod aead;
mod bundle;
mod chain;
mod chain_key;
mod codec;
mod curve;
pub mod delivery;
mod fingerprint;
mod header;
mod kdf;
mod kem;
mod keys;
mod message_key;
pub mod metrics;
mod peer;
mod record;
mod root_key;
mod safety_number;
mod sealed;
mod secret;
mod session;
mod skipped;
#[cfg(test)]
mod test_vectors;
mod wire4;
mod x3dh;

pub use bundle::{BundleError, PrekeyBundle, VerifiedBundle};
pub use delivery::{Content, ContentKind, message_id};
pub use fingerprint::fingerprint;
pub use header::{HEADER_LENGTH, Header, HeaderError, NONCE_LENGTH};
pub use keys::{
    IdentityKey, IdentityKeyPair, KeyError, LocalKeys, RatchetKeyPair, RatchetPublicKey,
    SignedPrekey, SignedPrekeyPair,
};
pub use peer::{
    ImportError, LegacyItem, MAX_FORMER_IDENTITIES, OpenError, OpenedMessage, PeerKeys, PeerRecord,
    SealedMessage, StoredError, UserRecord,
};
pub use record::{MAX_INITIATIONS, MAX_OLDER_SESSIONS, Opened, Record, Sealed};
pub use safety_number::{SAFETY_NUMBER_LENGTH, SafetyNumber};
pub use sealed::{SEALED_OVERHEAD, SealedError, StorageKey};
pub use session::{
    DecryptError, Decrypted, EncryptError, Encrypted, EstablishError, SavedRecordError,
    SavedSessionError, Session, SessionState,
};
pub use skipped::{MAX_SKIP, MAX_SKIPPED_KEYS};
pub use wire4::{
    Decrypt4Error, HeaderField, MAX_CLOCK_SKEW_MS, MAX_ONE_TIME_PREKEYS, MAX_SESSIONS, MAX_SKIP_4,
    Message4, OneTimePrekey, Opened4, Parties, Prekeys, Sealed4, SessionId, Sessions, V4Error,
    VerifiedV4, header_field, parse_header_field,
};
pub use x3dh::{SharedSecret, x3dh_symmetric};
