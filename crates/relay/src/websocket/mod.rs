//! WebSocket: the opening handshake, the framing and the life of one connection.

mod connection;
mod decode;
mod encode;
mod handshake;

pub(crate) use connection::{Opening, linger, serve};
pub(crate) use encode::Frame;
pub(crate) use handshake::{Upgrade, upgrade};
