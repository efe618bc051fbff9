//! The addon: `#[napi]` classes that convert, call once and convert back. Decides nothing.
#![deny(unsafe_code)]
