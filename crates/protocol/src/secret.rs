//! Storage for secret bytes: shared by clones, wiped with the last owner, never printed.

use std::sync::Arc;

use zeroize::Zeroizing;

/// `N` secret bytes on the heap.
///
/// A clone or a move copies a pointer, never the secret, so a step that carries a key over into
/// the next state leaves no second copy behind. The type has no `Debug`, no `PartialEq` and no
/// serialisation: whoever wants the bytes has to ask for them by name.
#[derive(Clone)]
pub(crate) struct Secret<const N: usize>(Arc<Zeroizing<[u8; N]>>);

impl<const N: usize> Secret<N> {
    /// Allocates the secret and lets `write` fill it in place.
    pub(crate) fn filled(write: impl FnOnce(&mut [u8; N])) -> Self {
        let mut bytes = Arc::new(Zeroizing::new([0; N]));
        let sole: &mut Zeroizing<_> = Arc::make_mut(&mut bytes);
        write(sole); // the only owner yet: nothing is copied
        Self(bytes)
    }

    /// Copies `bytes`, which the caller wipes.
    pub(crate) fn copied_from(bytes: &[u8; N]) -> Self {
        Self::filled(|secret| secret.copy_from_slice(bytes))
    }

    /// The bytes themselves.
    pub(crate) fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}
