//! What has been shielded, for a test that looks for it in the memory of the process.
//!
//! Everything is given [masked](MASK), so that asking does not put into memory what must not be
//! there.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Each byte of a secret is combined with this one, by exclusive or.
pub const MASK: u8 = 0xa5;

/// A secret that is or was shielded.
#[derive(Clone)]
pub struct Noted {
    /// The secret, masked.
    pub masked: Vec<u8>,
    alive: Weak<dyn Send + Sync>,
}

impl Noted {
    /// Whether something still holds it.
    pub fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

static NOTED: Mutex<Vec<Noted>> = Mutex::new(Vec::new());

pub(crate) fn note<const N: usize, T: Send + Sync + 'static>(secret: &[u8; N], holder: &Arc<T>) {
    let alive: Weak<T> = Arc::downgrade(holder);
    let noted = Noted { masked: masked(secret), alive };
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
}

/// Each secret that the process has shielded so far, oldest first.
pub fn noted() -> Vec<Noted> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `bytes`, masked, or of masked ones the bytes in clear.
pub fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ MASK).collect()
}
