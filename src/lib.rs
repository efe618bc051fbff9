//! The addon: `#[napi]` classes that convert, call once and convert back. Decides nothing.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

mod app;
mod client;
mod content;
mod embedded;
mod error;
mod events;
mod import;
mod keys;
mod log_queue;
mod logs;
mod manager;
mod metrics;
mod proofs;
mod random;
mod ratchet;
mod safety_number;
mod stores;
#[cfg(feature = "test-hooks")]
mod test_hooks;
