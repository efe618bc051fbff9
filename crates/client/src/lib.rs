//! The client on tokio: users, their stores, and the relay they share.
//!
//! [`App::open`] reaches a relay, [`App::connect`] connects a user to it, [`Client::send`] seals
//! and sends; what arrives goes to the user's [`Events`]. The protocol's steps are taken in
//! `user`, what relays speak is known in `link`, and neither knows JavaScript.
//!
//! Events for logs go through `tracing`, in the span that was current when the app was opened; see
//! docs/OBSERVABILITY.md. User ids are in those of level `debug` and below only: others say
//! `client`, the number of a user's stay.

mod app;
mod attestation;
mod client;
mod clock;
mod config;
mod error;
mod events;
mod histogram;
mod link;
mod memory;
mod metrics;
mod printable;
mod prometheus;
mod random;
mod sealed;
#[cfg(feature = "simulation")]
pub mod simulation;
mod store;
mod user;

pub use app::App;
pub use client::Client;
pub use config::{Config, LegacyPeers};
pub use error::{Code, Error};
pub use events::{
    Content, ContentKind, Events, IdentityChange, Receipt, Received, SendOptions, Sent, SentStatus,
};
pub use histogram::Histogram;
pub use metrics::Metrics;
pub use random::OsRandom;
pub use sealed::{SealedSessions, SealedStore};
pub use store::{
    Changes, IdentityStore, ReplayCache, SessionStore, StoreError, StoreErrorKind, Stores,
    TofuStore,
};

/// Largest content of a message in bytes: with base64 and JSON around it, what every relay
/// carries (the original's refuses bodies over a million characters).
pub const MAX_CONTENT: usize = 720 << 10;
