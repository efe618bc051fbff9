//! What the application has not handled and no number of the peer names: what came in wire 3, and
//! what came from an identity that another has taken the place of.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::codec::{Malformed, Reader, Write};
use crate::delivery::queue::{Numbered, Queue};
use crate::delivery::{Content, ContentKind, InboxItem, MAX_INBOX_BYTES, MAX_INBOX_MESSAGES};

/// Tickets have this bit; numbers of wire 4 never do.
const TICKET: u64 = 1 << 63;
/// Tickets made of a number of wire 4 have this one too.
const FORMER: u64 = 1 << 62;

/// What an inbox and the inboxes of former identities may hold together; more was not written by
/// us.
const MAX_ITEMS: usize = 16 * MAX_INBOX_MESSAGES;

/// A message that waits to be handled and has no number.
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

    /// The ticket of a message that had a number once.
    pub(super) fn former_ticket(seq: u64) -> u64 {
        TICKET | FORMER | seq
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

/// An item in its place: tickets do not ascend.
#[derive(Debug, Clone)]
struct Placed {
    place: u64,
    item: Arc<LegacyItem>,
}

impl Numbered for Placed {
    fn seq(&self) -> u64 {
        self.place
    }
}

/// In order of arrival, as bounded as the inbox of wire 4. A clone shares it, and a step copies
/// only the pointers near the one that it adds or takes.
#[derive(Debug, Clone, Default)]
pub(super) struct LegacyInbox {
    items: Queue<Placed>,
    bytes: usize,
    next: u64,
}

impl LegacyInbox {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LegacyItem> {
        self.items.iter().map(|placed| &*placed.item)
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
        let mut inbox = self.adopting([item.clone()]);
        inbox.next = (self.next + 1) & !(TICKET | FORMER);
        Some((inbox, item))
    }

    /// With these as well, whatever room there is: they were admitted before.
    pub(super) fn adopting(&self, adopted: impl IntoIterator<Item = LegacyItem>) -> Self {
        let mut inbox = self.clone();
        let first = inbox.items.back().map_or(0, |last| last.place + 1);
        for (place, item) in (first..).zip(adopted) {
            inbox.bytes += item.content.len();
            inbox.items.insert(Placed { place, item: Arc::new(item) });
        }
        inbox
    }

    /// Those items of an inbox of wire 4, for which there are no numbers any more.
    pub(super) fn former(
        items: Vec<InboxItem>,
        id: impl Fn(u64) -> String,
    ) -> impl Iterator<Item = LegacyItem> {
        items.into_iter().map(move |InboxItem { seq, content, timestamp_ms, .. }| LegacyItem {
            ticket: LegacyItem::former_ticket(seq),
            id: id(seq),
            content,
            timestamp_ms,
        })
    }

    pub(super) fn contains(&self, ticket: u64) -> bool {
        self.iter().any(|item| item.ticket == ticket)
    }

    pub(super) fn without(&self, ticket: u64) -> Self {
        let mut next = self.clone();
        let found = self.items.iter().find(|placed| placed.item.ticket == ticket);
        if let Some(Placed { item, .. }) = found.and_then(|found| next.items.remove(found.place)) {
            next.bytes -= item.content.len();
        }
        next
    }

    pub(super) fn write(&self, out: &mut impl Write) {
        out.put_u64(self.next);
        out.put_varint(self.items.len() as u64);
        for LegacyItem { ticket, id, content, timestamp_ms } in self.iter() {
            out.put_u64(*ticket);
            out.put_field(id.as_bytes());
            out.put_u64(*timestamp_ms);
            out.put_u8(content.kind().code());
            out.put_field(content.as_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let next = reader.u64()?;
        let count = reader.length()?;
        if count > MAX_ITEMS || next & (TICKET | FORMER) != 0 {
            return Err(Malformed);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            let ticket = reader.u64()?;
            if !LegacyItem::is_ticket(ticket) {
                return Err(Malformed);
            }
            let id = std::str::from_utf8(reader.field()?).map_err(|_| Malformed)?.to_owned();
            let timestamp_ms = reader.u64()?;
            let kind = ContentKind::from_code(reader.u8()?).ok_or(Malformed)?;
            let bytes = Zeroizing::new(reader.field()?.to_vec());
            items.push(LegacyItem { ticket, id, content: Content::new(kind, bytes), timestamp_ms });
        }
        Ok(Self { next, ..Self::default() }.adopting(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(count: u64) -> LegacyInbox {
        (0..count).fold(LegacyInbox::default(), |inbox, n| {
            inbox.with(n.to_string(), Zeroizing::new(vec![b'x']), n).unwrap().0
        })
    }

    #[test]
    fn a_step_copies_little_of_what_waits() {
        let before = full(2_000);
        let front = &before.items.front().unwrap().item;
        assert_eq!(Arc::strong_count(front), 1);
        let (after, item) = before.with("last".into(), Zeroizing::default(), 0).unwrap();
        let without = after.without(item.ticket());
        assert_eq!(Arc::strong_count(front), 1, "three inboxes share one list");
        assert_eq!([&before, &after, &without].map(|i| i.iter().count()), [2_000, 2_001, 2_000]);
    }

    #[test]
    fn what_waits_stays_in_order_of_arrival_whatever_its_tickets() {
        let former = |seq| InboxItem {
            seq,
            timestamp_ms: 0,
            content: Content::text("y".into()),
            prompt: false,
        };
        let adopted = LegacyInbox::former(vec![former(9), former(5)], |seq| format!("f{seq}"));
        let inbox = full(2).adopting(adopted);
        let inbox = inbox.with("2".into(), Zeroizing::default(), 0).unwrap().0;
        let ids = |inbox: &LegacyInbox| inbox.iter().map(|i| i.id().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&inbox), ["0", "1", "f9", "f5", "2"]);
        let inbox = inbox.without(LegacyItem::former_ticket(9)).without(TICKET);
        assert_eq!(ids(&inbox), ["1", "f5", "2"]);
        let mut bytes = Vec::new();
        inbox.write(&mut bytes);
        assert_eq!(ids(&LegacyInbox::read(&mut Reader::new(&bytes)).unwrap()), ids(&inbox));
        assert_eq!(inbox.bytes, 2);
    }
}
