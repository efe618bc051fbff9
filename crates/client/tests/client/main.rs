//! Clients of ours against relays of every kind, through the crate's public names.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod adapters;
mod conflicts;
mod conversations;
mod http_relay;
mod identities;
mod identity;
mod limits;
mod our_relay;
mod people;
mod relays;
mod round_trips;
mod setbacks;
mod stores;
mod strangers;
mod tls;
