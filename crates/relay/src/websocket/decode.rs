//! Reading WebSocket frames as a server: tungstenite's reading, without a connection of its own.
//!
//! Sans-IO. Bytes go in as they arrive, whole messages come out. tungstenite keeps its buffer at
//! the size of the largest message it ever read, for as long as the connection lasts. So it is
//! given whole frames only, and shared by all connections of a thread: an idle connection holds
//! nothing. A fragmented message has a reader to itself until it is whole.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

pub(crate) use tokio_tungstenite::tungstenite::Message as Incoming;

/// Bytes that a reader takes at a time. It clears as many before each.
const READ_BYTES: usize = 4 << 10;

/// The reader that a thread's connections share, unless it has grown beyond what is kept.
const KEPT_BYTES: usize = 256 << 10;

thread_local! {
    static SHARED: Cell<Option<Box<WebSocketContext>>> = const { Cell::new(None) };
}

/// Why the peer's bytes cannot be read on. The connection is to be closed with [`code`](Self::code).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A rule of RFC 6455 is broken.
    #[error("not a WebSocket frame: {0}")]
    Protocol(String),
    /// A text message is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A message is larger than the relay allows.
    #[error("message larger than allowed")]
    TooLarge,
}

impl DecodeError {
    /// The close code of RFC 6455, section 7.4.1.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

impl From<Error> for DecodeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooLarge,
            Error::Utf8(_) => Self::NotUtf8,
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// The state between two reads.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message: usize,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// What the frames were that have gone on.
    seen: Seen,
    /// The reader that holds the fragments of a message so far.
    own: Option<Box<WebSocketContext>>,
}

/// Which frames have gone by.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Bytes of the fragments of a message whose end has not come.
    fragments: Option<usize>,
    /// The largest frame since the reader of these fragments was made.
    largest: usize,
}

impl Decoder {
    /// Messages longer than `max_message` bytes are refused before they are read.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, partial: Vec::new(), seen: Seen::default(), own: None }
    }

    /// Bytes kept until the rest of a frame or message arrives.
    pub(crate) fn buffered(&self) -> usize {
        let own = self.seen.fragments.map(|bytes| READ_BYTES + self.seen.largest + bytes);
        self.partial.len() + own.unwrap_or(0)
    }

    /// Takes bytes as they came from the socket and calls `on` for each whole message.
    ///
    /// # Errors
    ///
    /// Any [`DecodeError`]; messages before it have been handed out.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        on: impl FnMut(Incoming),
    ) -> Result<(), DecodeError> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, on)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let used = self.frames(&partial, on)?;
        if used < partial.len() {
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// Reads the whole frames at the beginning of `bytes`; returns how many bytes they took.
    fn frames(&mut self, bytes: &[u8], on: impl FnMut(Incoming)) -> Result<usize, DecodeError> {
        let before = self.seen.fragments;
        let (used, over) = self.whole(bytes);
        if used > 0 {
            let fragmented = before.or(self.seen.fragments).is_some();
            self.read(&bytes[..used], fragmented, on)?;
        }
        if over { Err(DecodeError::TooLarge) } else { Ok(used) }
    }

    /// Reads whole frames with the thread's reader, unless fragments of a message are among them.
    fn read(
        &mut self,
        bytes: &[u8],
        fragmented: bool,
        mut on: impl FnMut(Incoming),
    ) -> Result<(), DecodeError> {
        let mut reader = match self.own.take() {
            Some(own) => own,
            None if fragmented => reader(),
            None => SHARED.take().unwrap_or_else(reader),
        };
        let limit = Some(self.max_message);
        reader.set_config(|it| (it.max_frame_size, it.max_message_size) = (limit, limit));
        let mut source = Source(bytes);
        loop {
            match reader.read(&mut source) {
                Ok(close @ Incoming::Close(_)) => {
                    on(close);
                    return Ok(()); // whatever follows is not read
                }
                Ok(message) => on(message),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.seen.fragments.is_some() {
            self.own = Some(reader);
            return Ok(());
        }
        if !fragmented && self.seen.largest <= KEPT_BYTES {
            SHARED.set(Some(reader));
        }
        self.seen.largest = 0;
        Ok(())
    }

    /// How many bytes at the beginning are whole frames, and whether a frame follows that makes a
    /// message larger than allowed. What is no frame counts as whole: reading it tells why.
    fn whole(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        loop {
            let mut rest = Cursor::new(&bytes[used..]);
            let (header, len) = match FrameHeader::parse(&mut rest) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return (used, false),
                Err(_) => return (bytes.len(), false),
            };
            let before = match header.opcode {
                OpCode::Data(Data::Continue) => self.seen.fragments.unwrap_or(0),
                _ => 0,
            };
            let fits = |len: &usize| *len <= self.max_message.saturating_sub(before);
            let Some(len) = usize::try_from(len).ok().filter(fits) else { return (used, true) };
            let start = used + usize::try_from(rest.position()).unwrap_or(0);
            if bytes.len() - start < len {
                return (used, false);
            }
            used = start + len;
            self.seen.frame(&header, before + len);
        }
    }
}

impl Seen {
    /// A frame of a message that is `len` bytes with it.
    fn frame(&mut self, header: &FrameHeader, len: usize) {
        self.largest = self.largest.max(len);
        if let OpCode::Data(_) = header.opcode {
            self.fragments = (!header.is_final).then_some(len);
        }
    }
}

fn reader() -> Box<WebSocketContext> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(0);
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

/// What a reader reads from. What it would write is dropped: it answers pings and closes ahead of
/// everything that is queued, and ours are answered in their turn.
struct Source<'a>(&'a [u8]);

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => self.0.read(buffer),
        }
    }
}

impl Write for Source<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
