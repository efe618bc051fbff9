//! What a relay accepts and how much of it.

use std::time::Duration;

/// Settings of one relay. [`Default`] is the mock relay for development.
#[derive(Debug, Clone)]
pub struct Config {
    /// A token is accepted when it begins with one of these; the empty string accepts any.
    pub token_prefixes: Vec<String>,
    /// How much a client may ask of the relay.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { token_prefixes: vec!["stvor_".to_owned()], limits: Limits::default() }
    }
}

/// Bounds on everything that a client could make the relay hold. Each is refused by name:
/// docs/RELAY.md, "Limits".
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest WebSocket message and largest HTTP body, in bytes.
    pub max_frame_bytes: usize,
    /// Messages waiting for one user.
    pub max_mailbox_messages: usize,
    /// Bytes waiting for one user.
    pub max_mailbox_bytes: usize,
    /// Longest user id, in bytes of UTF-8.
    pub max_user_id_bytes: usize,
    /// Users known at a time, those included whose mail waits for their first announcement.
    pub max_users: usize,
    /// Largest public key bundle of one user, in bytes of JSON. Every client is told of all users
    /// when it connects; a bundle takes about 400 bytes, and 2.5 KiB with post-quantum keys.
    pub max_keys_bytes: usize,
    /// All mailboxes, all keys, and all frames and bodies that have arrived in part, in bytes.
    pub max_stored_bytes: usize,
    /// Acknowledgements and announcements that wait for one socket to read them, in bytes.
    /// Messages do not count: they wait in the mailbox.
    pub max_queue_bytes: usize,
    /// Connections at a time, WebSocket and HTTP together.
    pub max_connections: usize,
    /// How many messages are remembered for recognising one that is sent again.
    pub max_remembered: usize,
    /// Time for a request's head to arrive, also the longest pause between two requests.
    pub header_timeout: Duration,
    /// Time for a request's body to arrive.
    pub body_timeout: Duration,
    /// Time for an answer to be read, from the moment in which writing it had to wait.
    pub answer_timeout: Duration,
    /// A socket that was silent for this long is pinged; silent for as long again, it is closed.
    pub ping_interval: Duration,
    /// Time for sockets to close when the relay stops.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        Self {
            max_frame_bytes: MIB,
            max_mailbox_messages: 10_000,
            max_mailbox_bytes: 64 * MIB,
            max_user_id_bytes: 256,
            max_users: 10_000,
            max_keys_bytes: 4 * KIB,
            max_stored_bytes: 1024 * MIB,
            max_queue_bytes: 8 * MIB,
            max_connections: 10_000,
            max_remembered: 65_536,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(1),
        }
    }
}
