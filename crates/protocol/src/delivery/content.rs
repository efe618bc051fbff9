//! What an application sends: a kind and bytes.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// The longest content: padded, sealed and in base64url it stays under the 1 MiB that relays
/// accept, with room for the JSON around it.
pub const MAX_CONTENT_LENGTH: usize = 720 * 1024;

/// How the bytes of a content are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    /// UTF-8; checked when it arrives.
    Text,
    /// Bytes as they are.
    Bytes,
    /// One CBOR item (RFC 8949); neither made nor read here.
    Cbor,
}

impl ContentKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Bytes => 1,
            Self::Cbor => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Text, Self::Bytes, Self::Cbor].into_iter().find(|kind| kind.code() == code)
    }
}

/// A kind and bytes, which clones share and which are wiped with the last of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    kind: ContentKind,
    bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl Content {
    /// A text.
    pub fn text(text: String) -> Self {
        Self::new(ContentKind::Text, Zeroizing::new(text.into_bytes()))
    }

    /// Bytes as they are.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(ContentKind::Bytes, Zeroizing::new(bytes))
    }

    /// One CBOR item.
    pub fn cbor(item: Vec<u8>) -> Self {
        Self::new(ContentKind::Cbor, Zeroizing::new(item))
    }

    /// `bytes` must be what `kind` says: a peer refuses a text that is not UTF-8.
    pub fn new(kind: ContentKind, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { kind, bytes: Arc::new(bytes) }
    }

    /// How the bytes are to be read.
    pub fn kind(&self) -> ContentKind {
        self.kind
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, bytes } = self;
        f.debug_struct("Content").field("kind", kind).field("length", &bytes.len()).finish()
    }
}
