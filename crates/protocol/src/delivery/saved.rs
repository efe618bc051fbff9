//! A delivery as bytes: what must outlive the process.
//!
//! Timers, what the peer is known to have received, and what is to be sealed again do not: asking
//! brings them back. Spec: docs/PROTOCOL.md, "Saved delivery".

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::content::{Content, ContentKind, MAX_CONTENT_LENGTH};
use super::inbox::{Inbox, InboxItem, MAX_INBOX_MESSAGES, MAX_PENDING_MESSAGES, Pending};
use super::outbox::{Entry, MAX_OUTBOX_MESSAGES, Outbox};
use super::queue::{Numbered, Queue};
use super::timer::Timer;
use super::{Delivery, MAX_SEQ};
use crate::codec::{Malformed, Reader, Write};
use crate::session::SavedRecordError;

const OWES_RECEIPT: u8 = 1;
const OWES_RESEND_ALL: u8 = 1 << 1;
const UNHEARD: u8 = 1 << 2;

const PROMPT: u8 = 1 << 7;

impl Delivery {
    /// The state as bytes, to be sealed: they hold contents in clear. Wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        self.write(&mut bytes);
        bytes
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) has made, and [resumes](Self::resume) it.
    ///
    /// # Errors
    ///
    /// [`SavedRecordError::Malformed`]
    pub fn from_bytes(bytes: &[u8], now_ms: u64) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        let delivery = Self::read(&mut reader, now_ms)?;
        reader.end()?;
        Ok(delivery)
    }

    /// Appends the state. The bytes hold contents in clear.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self { outbox, inbox, owed, gap: _, probing: _, passes: _, asked_ms: _ } = self;
        let owes_receipt = if owed.timer.is_some() { OWES_RECEIPT } else { 0 };
        let owes_all = if owed.resend_all { OWES_RESEND_ALL } else { 0 };
        let unheard = if outbox.is_heard() { 0 } else { UNHEARD };
        out.put_u8(owes_receipt | owes_all | unheard);
        out.put_u64(outbox.next());
        out.put_u64(outbox.sealed());
        write_all(outbox.entries(), out, |entry, out| {
            write_content(&entry.content, entry.prompt, out);
        });
        out.put_u64(inbox.last());
        write_all(inbox.items(), out, write_item);
        write_all(inbox.pending(), out, |Pending { item, prev }, out| {
            out.put_varint(item.seq - prev);
            write_item(item, out);
        });
    }

    /// Reads what [`write`](Self::write) has written, and no further, and
    /// [resumes](Self::resume) it.
    pub(crate) fn read(reader: &mut Reader<'_>, now_ms: u64) -> Result<Self, Malformed> {
        let flags = reader.u8()?;
        let (next, sealed) = (reader.u64()?, reader.u64()?);
        if flags & !(OWES_RECEIPT | OWES_RESEND_ALL | UNHEARD) != 0
            || next == 0
            || next > MAX_SEQ + 1
        {
            return Err(Malformed);
        }
        if sealed >= next {
            return Err(Malformed);
        }
        let outbox = read_all(reader, MAX_OUTBOX_MESSAGES, 1..=next - 1, |seq, reader| {
            let (content, prompt) = read_content(reader)?;
            Ok(Entry { seq, name: seq, content, prompt })
        })?;
        let last = reader.u64()?;
        if last > MAX_SEQ {
            return Err(Malformed);
        }
        // What was pending when an inbox was full may have joined it.
        let max_items = MAX_INBOX_MESSAGES + MAX_PENDING_MESSAGES;
        let items = read_all(reader, max_items, 1..=last, read_item)?;
        let pending = read_all(reader, MAX_PENDING_MESSAGES, last + 1..=MAX_SEQ, |seq, reader| {
            let prev = seq.checked_sub(reader.varint()?).filter(|prev| *prev < seq);
            let prev = prev.ok_or(Malformed)?;
            Ok(Pending { item: read_item(seq, reader)?, prev })
        })?;
        if pending.front().is_some_and(|first| first.prev <= last) {
            return Err(Malformed); // it would be in the inbox
        }

        let mut delivery = Self::new(now_ms);
        delivery.outbox = Outbox::restored(outbox, next, sealed, flags & UNHEARD == 0);
        delivery.inbox = Inbox::restored(last, items, pending);
        delivery.owed.timer = (flags & OWES_RECEIPT != 0).then(|| Timer::after(now_ms, 0));
        delivery.owed.resend_all = flags & OWES_RESEND_ALL != 0;
        Ok(delivery.resume(now_ms))
    }
}

fn write_all<T: Numbered + Clone, W: Write>(
    queue: &Queue<T>,
    out: &mut W,
    write: impl Fn(&T, &mut W),
) {
    out.put_varint(queue.len() as u64);
    let mut previous = 0;
    for thing in queue.iter() {
        out.put_varint(thing.seq() - previous);
        write(thing, out);
        previous = thing.seq();
    }
}

fn read_all<T: Numbered + Clone>(
    reader: &mut Reader<'_>,
    max: usize,
    seqs: RangeInclusive<u64>,
    read: impl Fn(u64, &mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Queue<T>, Malformed> {
    let count = reader.length()?;
    if count > max {
        return Err(Malformed);
    }
    let mut previous = 0_u64;
    (0..count)
        .map(|_| {
            let seq = previous.checked_add(reader.varint()?).ok_or(Malformed)?;
            if seq == previous || !seqs.contains(&seq) {
                return Err(Malformed);
            }
            previous = seq;
            read(seq, reader)
        })
        .collect()
}

fn write_item(item: &InboxItem, out: &mut impl Write) {
    out.put_u64(item.timestamp_ms);
    write_content(&item.content, item.prompt, out);
}

fn read_item(seq: u64, reader: &mut Reader<'_>) -> Result<InboxItem, Malformed> {
    let timestamp_ms = reader.u64()?;
    let (content, prompt) = read_content(reader)?;
    Ok(InboxItem { seq, timestamp_ms, content, prompt })
}

fn write_content(content: &Content, prompt: bool, out: &mut impl Write) {
    out.put_u8(content.kind().code() | if prompt { PROMPT } else { 0 });
    out.put_field(content.as_bytes());
}

fn read_content(reader: &mut Reader<'_>) -> Result<(Content, bool), Malformed> {
    let code = reader.u8()?;
    let kind = ContentKind::from_code(code & !PROMPT).ok_or(Malformed)?;
    let bytes = reader.field()?;
    if bytes.len() > MAX_CONTENT_LENGTH {
        return Err(Malformed);
    }
    Ok((Content::new(kind, Zeroizing::new(bytes.to_vec())), code & PROMPT != 0))
}
