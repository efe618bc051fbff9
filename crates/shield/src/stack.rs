//! Wiping what a computation leaves below its caller's frame.

use zeroize::zeroize_stack;

/// Runs `step` and wipes `DEPTH` bytes of the stack that it ran on.
///
/// Hashes, ciphers and moves leave copies of what they work on in their frames, where no destructor
/// reaches. What `step` returns is not wiped, so it must hold no secret in clear. `DEPTH` has to cover
/// the frames of everything that `step` calls; a step that panics leaves its frames as they are.
pub fn on_wiped_stack<const DEPTH: usize, T>(step: impl FnOnce() -> T) -> T {
    let result = below(step);
    zeroize_stack::<DEPTH>();
    result
}

/// Its frame and all below it begin where those of `zeroize_stack` begin.
#[inline(never)]
fn below<T>(step: impl FnOnce() -> T) -> T {
    step()
}
