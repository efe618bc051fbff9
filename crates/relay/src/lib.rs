//! The relay as a library: it routes and stores ciphertext and can open none of it.
//!
//! One port serves WebSocket clients and the original's HTTP clients, and passes messages between
//! them. docs/RELAY.md describes endpoints, frames and limits. This crate depends on
//! `stvor-wire` and has no path to `stvor-protocol`, so it holds no code that could decrypt.
//!
//! ```no_run
//! # async fn example() -> Result<(), stvor_relay::BindError> {
//! let listeners = stvor_relay::bind(&["127.0.0.1".parse().unwrap()], 4444).await?;
//! let stop = async { drop(tokio::signal::ctrl_c().await) };
//! stvor_relay::run(listeners, stvor_relay::Config::default(), stop).await;
//! # Ok(()) }
//! ```

mod config;
mod connection;
mod deadline;
mod frames;
mod http;
mod hub;
mod server;
mod token;
mod websocket;

pub use config::{Config, Limits};
pub use server::{BindError, bind, run};
