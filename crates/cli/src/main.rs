//! The stvor binary.
fn main() {}
