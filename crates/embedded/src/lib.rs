//! The embedded store: everything a client keeps, in one sealed file that one process has open.
//!
//! [`Store::open`] makes or opens the file. What a method has returned is durable; what has
//! failed has changed nothing. Below are, from the top: [`Store`], which seals and names; the
//! writer, which commits for many at once; the engine, which is redb behind a guard; the volume,
//! which is the file behind its header and marks. `docs/STORAGE.md` specifies the file.

mod disk;
mod engine;
mod error;
mod file;
mod header;
mod key;
mod mark;
mod overlay;
mod replay;
mod seal;
mod store;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

pub use error::Error;
pub use key::Key;
pub use store::{MAX_VALUE, Options, Store};
