//! Reading WebSocket frames as a server: RFC 6455, section 5, without extensions.
//!
//! Sans-IO. Bytes go in as they arrive, whole messages come out. Nothing is kept between reads
//! unless a frame is incomplete, so an idle connection holds no buffer.

use super::mask::unmask;

/// What arrived, borrowed from the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// An answer to our ping.
    Pong,
    /// The peer closes; with its status code, if it gave one.
    Close(Option<u16>),
}

/// Why the peer's bytes cannot be read on. The connection is to be closed with [`code`](Self::code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A rule of RFC 6455 is broken.
    #[error("not a WebSocket frame: {0}")]
    Protocol(&'static str),
    /// A text message is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A message is larger than the relay allows.
    #[error("message larger than allowed")]
    TooLarge,
}

impl DecodeError {
    /// The close code of RFC 6455, section 7.4.1.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The state between two reads.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message: usize,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// The fragments of a message so far, and its opcode.
    fragments: Option<(u8, Vec<u8>)>,
}

impl Decoder {
    /// Messages longer than `max_message` bytes are refused before they are read.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, partial: Vec::new(), fragments: None }
    }

    /// Bytes kept until the rest of a frame or message arrives.
    pub(crate) fn buffered(&self) -> usize {
        self.partial.len() + self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Takes bytes as they came from the socket and calls `on` for each whole message.
    ///
    /// `bytes` is unmasked in place.
    ///
    /// # Errors
    ///
    /// Any [`DecodeError`]; messages before it have been handed out.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        mut on: impl FnMut(Incoming<'_>),
    ) -> Result<(), DecodeError> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, &mut on)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let used = self.frames(&mut partial, &mut on)?;
        if used < partial.len() {
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// Handles the whole frames at the beginning of `bytes`; returns how many bytes they took.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, DecodeError> {
        let mut used = 0;
        while let Some(header) = Header::parse(&bytes[used..])? {
            if !header.is_control() && header.payload + self.fragment_len() > self.max_message {
                return Err(DecodeError::TooLarge);
            }
            let start = used + header.len;
            let Some(payload) = bytes.get_mut(start..start + header.payload) else { break };
            unmask(payload, header.mask);
            self.frame(&header, payload, on)?;
            used = start + header.payload;
        }
        Ok(used)
    }

    fn fragment_len(&self) -> usize {
        self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), DecodeError> {
        match header.opcode {
            TEXT | BINARY if self.fragments.is_some() => {
                Err(DecodeError::Protocol("a new message inside a fragmented one"))
            }
            TEXT | BINARY if header.fin => deliver(header.opcode, payload, on),
            TEXT | BINARY => {
                self.fragments = Some((header.opcode, payload.to_vec()));
                Ok(())
            }
            CONTINUATION => {
                let (opcode, mut message) =
                    self.fragments.take().ok_or(DecodeError::Protocol("nothing to continue"))?;
                message.extend_from_slice(payload);
                if header.fin {
                    return deliver(opcode, &message, on);
                }
                self.fragments = Some((opcode, message));
                Ok(())
            }
            CLOSE => close(payload, on),
            PING => {
                on(Incoming::Ping(payload));
                Ok(())
            }
            _ => {
                on(Incoming::Pong);
                Ok(())
            }
        }
    }
}

fn deliver(
    opcode: u8,
    payload: &[u8],
    on: &mut impl FnMut(Incoming<'_>),
) -> Result<(), DecodeError> {
    on(match opcode {
        TEXT => Incoming::Text(std::str::from_utf8(payload).map_err(|_| DecodeError::NotUtf8)?),
        _ => Incoming::Binary(payload),
    });
    Ok(())
}

fn close(payload: &[u8], on: &mut impl FnMut(Incoming<'_>)) -> Result<(), DecodeError> {
    let code = match payload {
        [] => None,
        [high, low, reason @ ..] => {
            std::str::from_utf8(reason).map_err(|_| DecodeError::NotUtf8)?;
            Some(u16::from_be_bytes([*high, *low]))
        }
        _ => return Err(DecodeError::Protocol("half a close code")),
    };
    // 1004 to 1006 and 1015 are for use inside an implementation only.
    if code.is_some_and(|c| !matches!(c, 1000..=1003 | 1007..=1014 | 3000..=4999)) {
        return Err(DecodeError::Protocol("a close code that may not be sent"));
    }
    on(Incoming::Close(code));
    Ok(())
}

/// A frame's header, RFC 6455, section 5.2.
struct Header {
    fin: bool,
    opcode: u8,
    /// Bytes of the header itself.
    len: usize,
    /// Bytes that follow it.
    payload: usize,
    mask: [u8; 4],
}

impl Header {
    /// `None` when more bytes are needed.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(DecodeError::Protocol("reserved bits are set"));
        }
        if !matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG) {
            return Err(DecodeError::Protocol("reserved opcode"));
        }
        if second & 0x80 == 0 {
            return Err(DecodeError::Protocol("a client's frame without a mask"));
        }
        if opcode >= CLOSE && (!fin || second & 0x7f > 125) {
            return Err(DecodeError::Protocol("a control frame in pieces or over 125 bytes"));
        }
        let (payload, extended) = match second & 0x7f {
            126 => match rest {
                [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 2),
                _ => return Ok(None),
            },
            127 => match rest {
                [a, b, c, d, e, f, g, h, ..] => {
                    (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8)
                }
                _ => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let Some(&[a, b, c, d]) = rest.get(extended..extended + 4) else { return Ok(None) };
        // What does not fit half the address space is over any limit.
        let payload = usize::try_from(payload).ok().filter(|n| *n <= usize::MAX / 4);
        let payload = payload.ok_or(DecodeError::TooLarge)?;
        Ok(Some(Self { fin, opcode, len: 2 + extended + 4, payload, mask: [a, b, c, d] }))
    }

    fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
