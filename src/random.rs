//! The randomness of synchronous calls: one buffered generator for each JavaScript thread.

use std::cell::RefCell;

use stvor_client::OsRandom;

thread_local! {
    static RANDOM: RefCell<OsRandom> = RefCell::default();
}

/// Runs `step` with this thread's generator.
pub(crate) fn with_random<T>(step: impl FnOnce(&mut OsRandom) -> T) -> T {
    RANDOM.with_borrow_mut(step)
}
