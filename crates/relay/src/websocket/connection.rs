//! The life of one WebSocket connection after its handshake.
//!
//! Reads and writes go through buffers that belong to the thread, not to the connection: one
//! that is idle holds nothing but its socket. All that waits for it is laid out behind one
//! another and written at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::debug;

use super::decode::{DecodeError, Decoder, Incoming};
use super::encode::Frame;
use crate::frames::{self, Refusal};
use crate::hub::{Batch, Connected, Hub, Reservation, SocketKey};
use crate::token::{self, Namespace};

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Batches written before others get their turn.
const BATCHES: usize = 16;

/// Capacity that the thread's write buffer keeps.
const KEPT_CAPACITY: usize = 256 << 10;

/// Frames that a connection keeps room for between two batches.
const KEPT_FRAMES: usize = 64;

/// Time for the peer to close after we have.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What the request for the upgrade said.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The `Authorization` header.
    pub(crate) authorization: Option<Vec<u8>>,
    /// The features that the client names.
    pub(crate) features: Option<String>,
    /// Bytes that came right behind the request.
    pub(crate) first_bytes: Bytes,
}

/// Serves the connection until it is closed by either side.
pub(crate) async fn serve(mut stream: TcpStream, opening: Opening, hub: &Hub) {
    let config = hub.config();
    match token::of_websocket(config, opening.authorization.as_deref()) {
        Some(namespace) => serve_client(&mut stream, opening, namespace, hub).await,
        None => {
            let mut out = Vec::new();
            Frame::Text(frames::unauthorized(&config.token_prefixes)).encode(&mut out);
            Frame::Close(Some(4001), "Unauthorized").encode(&mut out);
            if stream.write_all(&out).await.is_ok() {
                linger(&mut stream).await;
            }
        }
    }
}

async fn serve_client(stream: &mut TcpStream, opening: Opening, namespace: Namespace, hub: &Hub) {
    let connected = hub.connect(namespace, opening.features.as_deref());
    let key = connected.key;
    let decoder = Decoder::new(hub.config().limits.max_frame_bytes);
    let (reader, writer) = stream.split();
    let held = Reservation::new(hub);
    let out = Outgoing::new(writer);
    let mut connection = Connection { hub, connected, reader, decoder, held, out, closing: false };
    // Dropping the guard takes the users offline, however the connection ends.
    let _guard = Disconnect { hub, key };
    let result = connection.run(opening.first_bytes).await;
    let closing = connection.closing;
    drop(connection);
    match result {
        Ok(()) if closing => linger(stream).await,
        Ok(()) => {}
        Err(error) => debug!(%error, "connection lost"),
    }
}

/// Ends our half and reads what the peer still sends until it closes too: closing with unread bytes would reset
/// the connection and could destroy our last frames on their way.
pub(crate) async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let drain = async {
        while let Ok((1.., buffer)) = read(&mut stream.split().0).await {
            READ_BUFFER.set(buffer);
        }
    };
    let _ = timeout(LINGER, drain).await;
}

struct Disconnect<'a> {
    hub: &'a Hub,
    key: SocketKey,
}

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.hub.disconnect(self.key);
    }
}

struct Connection<'a> {
    hub: &'a Hub,
    connected: Connected,
    reader: ReadHalf<'a>,
    decoder: Decoder,
    /// Memory for frames that have not arrived whole.
    held: Reservation<'a>,
    out: Outgoing<'a>,
    /// A close frame is queued or written; nothing is read any more.
    closing: bool,
}

impl Connection<'_> {
    async fn run(&mut self, first_bytes: Bytes) -> io::Result<()> {
        self.take_in(&first_bytes);
        loop {
            let wrote = self.out.flush(self.hub, self.connected.key)?;
            if matches!(wrote, Wrote::Close | Wrote::Doomed) {
                self.closing |= wrote == Wrote::Close;
                return Ok(());
            }
            tokio::select! {
                biased;
                read = read(&mut self.reader), if !self.closing => {
                    let (len, buffer) = read?;
                    self.take_in(&buffer[..len]);
                    READ_BUFFER.set(buffer);
                    if len == 0 {
                        return Ok(());
                    }
                }
                () = self.connected.wake.notified() => {}
                writable = self.out.writer.writable(), if self.out.is_blocked() => writable?,
                () = yield_now(), if wrote == Wrote::Share => {}
            }
        }
    }

    /// Handles bytes from the peer.
    fn take_in(&mut self, bytes: &[u8]) {
        let (hub, key) = (self.hub, self.connected.key);
        let mut close = None;
        let result = self.decoder.feed(bytes, |incoming| match incoming {
            _ if close.is_some() => {}
            Incoming::Text(text) => hub.frame(key, &text),
            Incoming::Binary(bytes) => hub.frame(key, std::str::from_utf8(&bytes).unwrap_or("")),
            // Copied: a piece of the reader's buffer would keep all of it.
            Incoming::Ping(bytes) => hub.send(key, Frame::Pong(Bytes::copy_from_slice(&bytes))),
            Incoming::Pong(_) | Incoming::Frame(_) => {}
            Incoming::Close(frame) => {
                close = Some(Frame::Close(frame.map(|frame| frame.code.into()), ""));
            }
        });
        hub.alive(key);
        if let Err(error) = result {
            debug!(%error, "unreadable");
            if error == DecodeError::TooLarge {
                hub.send(key, Frame::Text(frames::error(None, &Refusal::FRAME_TOO_LARGE)));
            }
            close = Some(Frame::Close(Some(error.code()), ""));
        }
        if !self.held.resize(self.decoder.buffered()) {
            close = Some(Frame::Close(Some(1013), "Relay is out of memory"));
        }
        if let Some(close) = close {
            self.closing = true;
            hub.close(key, close);
        }
    }
}

/// What is on its way out.
struct Outgoing<'a> {
    writer: WriteHalf<'a>,
    /// Frames that the socket has not taken: none while it takes everything. Their contents are
    /// shared with the mailbox and with other sockets, never copied for one that does not read.
    batch: Batch,
    /// Frames of the batch that are gone, and bytes of the one after them.
    sent: (usize, usize),
    /// A close frame is on its way: nothing follows it.
    closed: bool,
}

/// How far writing got.
#[derive(Debug, PartialEq, Eq)]
enum Wrote {
    /// All that waited, or all that the socket takes for now.
    Enough,
    /// A fair share; there is more.
    Share,
    /// The close frame went out.
    Close,
    /// The hub wants the connection dropped.
    Doomed,
}

impl<'a> Outgoing<'a> {
    fn new(writer: WriteHalf<'a>) -> Self {
        Self { writer, batch: Batch::default(), sent: (0, 0), closed: false }
    }

    fn is_blocked(&self) -> bool {
        !self.batch.frames.is_empty()
    }

    /// Writes what waits, as far as the socket takes it.
    fn flush(&mut self, hub: &Hub, key: SocketKey) -> io::Result<Wrote> {
        for _ in 0..BATCHES {
            let resumed = self.is_blocked();
            if !resumed {
                self.take(hub, key);
            }
            if self.batch.doomed || resumed && hub.is_doomed(key) {
                return Ok(Wrote::Doomed);
            }
            if !self.is_blocked() {
                return Ok(if self.closed { Wrote::Close } else { Wrote::Enough });
            }
            if self.write()? && resumed {
                hub.alive(key);
            }
            if self.is_blocked() {
                return Ok(Wrote::Enough);
            }
            hub.written(&mut self.batch.leaving);
            // What was queued while it was blocked has woken nobody.
            if !resumed && !self.batch.more && !self.closed {
                return Ok(Wrote::Enough);
            }
        }
        Ok(Wrote::Share)
    }

    /// Takes the next batch, up to a close frame.
    fn take(&mut self, hub: &Hub, key: SocketKey) {
        if self.closed {
            return;
        }
        hub.take(key, &mut self.batch);
        let frames = &mut self.batch.frames;
        if let Some(close) = frames.iter().position(|frame| matches!(frame, Frame::Close(..))) {
            frames.truncate(close + 1);
            self.closed = true;
        }
    }

    /// Lays out what is left of the batch and offers it to the socket. True if it took something.
    fn write(&mut self) -> io::Result<bool> {
        let frames = &mut self.batch.frames;
        let (mut first, mut skip) = self.sent;
        let mut out = WRITE_BUFFER.take();
        frames[first..].iter().for_each(|frame| frame.encode(&mut out));
        let result = offer(&self.writer, &out[skip..]);
        out.clear();
        out.shrink_to(KEPT_CAPACITY);
        WRITE_BUFFER.set(out);
        let sent = result?;
        skip += sent;
        while let Some(len) = frames.get(first).map(Frame::encoded_len).filter(|len| *len <= skip) {
            skip -= len;
            first += 1;
        }
        self.sent = (first, skip);
        if first == frames.len() {
            self.sent = (0, 0);
            frames.clear();
            frames.shrink_to(KEPT_FRAMES);
        }
        Ok(sent > 0)
    }
}

/// Writes as much as the socket takes at once; returns how much that was.
fn offer(writer: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match writer.try_write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Reads what is there into the thread's buffer. No bytes: the peer has closed.
async fn read(reader: &mut ReadHalf<'_>) -> io::Result<(usize, Vec<u8>)> {
    poll_fn(|cx| {
        let mut buffer = READ_BUFFER.take();
        buffer.resize(READ_BYTES, 0);
        let mut filled = ReadBuf::new(&mut buffer);
        let result = Pin::new(&mut *reader).poll_read(cx, &mut filled);
        let len = filled.filled().len();
        match result {
            Poll::Ready(Ok(())) => Poll::Ready(Ok((len, buffer))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                READ_BUFFER.set(buffer);
                Poll::Pending
            }
        }
    })
    .await
}
