//! What came in wire 3 and the application has not handled: wire 3 has no numbers of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::codec::{Malformed, Reader, Write};
use crate::delivery::{Content, ContentKind, MAX_INBOX_BYTES, MAX_INBOX_MESSAGES};

/// Tickets of wire 3 have this bit; numbers of wire 4 never do.
const TICKET: u64 = 1 << 63;

/// A message of wire 3 that waits to be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyItem {
    ticket: u64,
    id: String,
    content: Content,
    timestamp_ms: u64,
}

impl LegacyItem {
    pub(super) fn is_ticket(ticket: u64) -> bool {
        ticket & TICKET != 0
    }

    /// Names it to [`PeerRecord::handled`](super::PeerRecord::handled).
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// The id under which it travelled; not authenticated.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Text if it is UTF-8: wire 3 says nothing of kinds.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Milliseconds since the Unix epoch; not authenticated.
    pub fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }
}

/// In order of arrival, as bounded as the inbox of wire 4.
#[derive(Debug, Clone, Default)]
pub(super) struct LegacyInbox {
    items: Arc<VecDeque<Arc<LegacyItem>>>,
    bytes: usize,
    next: u64,
}

impl LegacyInbox {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LegacyItem> {
        self.items.iter().map(|item| &**item)
    }

    /// With one more; `None` if there is no room.
    pub(super) fn with(
        &self,
        id: String,
        bytes: Zeroizing<Vec<u8>>,
        timestamp_ms: u64,
    ) -> Option<(Self, LegacyItem)> {
        let length = self.bytes + bytes.len();
        if self.items.len() >= MAX_INBOX_MESSAGES || length > MAX_INBOX_BYTES {
            return None;
        }
        let is_text = std::str::from_utf8(&bytes).is_ok();
        let kind = if is_text { ContentKind::Text } else { ContentKind::Bytes };
        let ticket = TICKET | self.next;
        let item = LegacyItem { ticket, id, content: Content::new(kind, bytes), timestamp_ms };
        let mut items = self.items.clone();
        Arc::make_mut(&mut items).push_back(Arc::new(item.clone()));
        let next = (self.next + 1) & !TICKET;
        Some((Self { items, bytes: length, next }, item))
    }

    pub(super) fn without(&self, ticket: u64) -> Self {
        let Some(at) = self.items.iter().position(|item| item.ticket == ticket) else {
            return self.clone();
        };
        let mut next = self.clone();
        if let Some(item) = Arc::make_mut(&mut next.items).remove(at) {
            next.bytes -= item.content.len();
        }
        next
    }

    pub(super) fn write(&self, out: &mut impl Write) {
        out.put_u64(self.next);
        out.put_varint(self.items.len() as u64);
        for item in self.iter() {
            out.put_u64(item.ticket);
            out.put_field(item.id.as_bytes());
            out.put_u64(item.timestamp_ms);
            out.put_field(item.content.as_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let next = reader.u64()?;
        let count = reader.length()?;
        if count > MAX_INBOX_MESSAGES || LegacyItem::is_ticket(next) {
            return Err(Malformed);
        }
        let mut inbox = Self::default();
        for _ in 0..count {
            let ticket = reader.u64()?;
            if !LegacyItem::is_ticket(ticket) {
                return Err(Malformed);
            }
            inbox.next = ticket & !TICKET;
            let id = std::str::from_utf8(reader.field()?).map_err(|_| Malformed)?.to_owned();
            let timestamp_ms = reader.u64()?;
            let bytes = Zeroizing::new(reader.field()?.to_vec());
            inbox = inbox.with(id, bytes, timestamp_ms).ok_or(Malformed)?.0;
        }
        inbox.next = next;
        Ok(inbox)
    }
}
