//! What client and relay say to each other: bundles, WebSocket frames, HTTP bodies.
//!
//! JSON shapes only. No cryptography, no I/O: the relay depends on this crate and on nothing that
//! could decrypt. docs/PROTOCOL.md, "Relay dialects", describes every shape in words.

mod bundle;
mod frame;
mod http;

pub use bundle::{MAX_V4_CHARS, OneTimePrekey, PublicKeyBundle};
pub use frame::{
    Announce, ClientFrame, Envelope, FEATURE_ACK, FEATURE_LEAVE, FEATURE_PREKEYS, FEATURES_HEADER,
    Handshake, HandshakeStatus, IncomingFrame, OutgoingMessage, Payload, RefusalCode, RelayFrame,
};
pub use http::{
    ErrorBody, FetchedMessage, Health, MessageBody, MessagesAnswer, PublicKeyAnswer, RegisterBody,
    UsageAnswer,
};
