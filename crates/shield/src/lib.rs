//! Secrets at rest in memory, encrypted under a key of the process.
//!
//! A [`Shielded`] secret lies in memory as ciphertext and is in clear only while
//! [`with`](Shielded::with) runs. The key lies in one page of its own, which is neither swapped nor
//! written to a core dump, where the system allows that (`process_key`). So what ends in a swap file,
//! a crash report or a copy of the heap is of no use without that page.
//!
//! It does not protect from whoever reads all of the process's memory, or runs code in it: key and
//! ciphertext are both there. What is promised, and what not, is in `SECURITY.md`.

mod process_key;
mod shielded;
mod stack;
#[cfg(feature = "test-hooks")]
pub mod test_hooks;

pub use shielded::Shielded;
pub use stack::on_wiped_stack;
