//! Contents by number: what `lib/content.js` and the addon call the kinds of a content.

use napi_derive::napi;
use stvor_client::ContentKind;

/// Largest content of a message in bytes.
#[napi]
pub const MAX_CONTENT_BYTES: u32 = stvor_client::MAX_CONTENT as u32;

/// The kind that `number` stands for.
pub(crate) fn kind_of(number: u32) -> Option<ContentKind> {
    match number {
        0 => Some(ContentKind::Text),
        1 => Some(ContentKind::Bytes),
        2 => Some(ContentKind::Cbor),
        _ => None,
    }
}

/// The number that stands for `kind`.
pub(crate) fn number_of(kind: ContentKind) -> u32 {
    match kind {
        ContentKind::Text => 0,
        ContentKind::Bytes => 1,
        ContentKind::Cbor => 2,
    }
}
