//! Deterministic simulation: real users' tasks and the real protocol, under a clock and a relay
//! that do what a seed says.
//!
//! One schedule is two or three users who write to each other over a relay that drops, duplicates,
//! delays, reorders, corrupts and replays, while the users crash at any save, lose their records,
//! or come back with old ones. Then the relay turns honest, and what must hold is checked
//! ([`check`]). A schedule is a function of its seed: the same seed fails the same way.

mod check;
mod party;
mod relay;
mod schedule;
mod store;

pub use check::Violation;
pub use schedule::{Outcome, replay, run};
