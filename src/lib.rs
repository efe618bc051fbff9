//! The addon: `#[napi]` classes that convert, call once and convert back. Decides nothing.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

mod app;
mod client;
mod content;
mod error;
mod events;
mod keys;
mod manager;
mod proofs;
mod random;
mod ratchet;
#[cfg(feature = "test-hooks")]
mod test_hooks;
