//! Writing WebSocket frames as a server: unmasked, unfragmented.

use bytes::Bytes;

/// A frame on its way out. Text is shared, never copied before it is laid out for the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A text message.
    Text(Bytes),
    /// `{"type":"deliver"}` around a message that is passed on as it came.
    Deliver {
        /// Number of this delivery on the connection.
        delivery: u64,
        /// The sender's frame.
        message: Bytes,
    },
    /// Asks for a sign of life.
    Ping,
    /// Answers a ping.
    Pong(Bytes),
    /// Says goodbye: nothing is written after it. Without a code: the empty close frame.
    Close(Option<u16>, &'static str),
}

impl Frame {
    /// Bytes of its content.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Deliver { message: bytes, .. } | Self::Pong(bytes) => {
                bytes.len()
            }
            Self::Ping | Self::Close(..) => 0,
        }
    }

    /// Bytes that [`encode`](Self::encode) appends.
    pub(crate) fn encoded_len(&self) -> usize {
        let content = match self {
            Self::Text(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Deliver { delivery, message } => {
                let digits = delivery.checked_ilog10().unwrap_or(0) as usize + 1;
                DELIVER.len() + digits + MESSAGE.len() + message.len() + 1
            }
            Self::Ping | Self::Close(None, _) => 0,
            Self::Close(Some(_), reason) => 2 + reason.len(),
        };
        content
            + if content < 126 {
                2
            } else if content <= 0xffff {
                4
            } else {
                10
            }
    }

    /// Appends the frame as it goes onto the socket.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => frame(out, 0x81, &[text]),
            Self::Deliver { delivery, message } => {
                let head = format!("{DELIVER}{delivery}{MESSAGE}");
                frame(out, 0x81, &[head.as_bytes(), message, b"}"]);
            }
            Self::Ping => frame(out, 0x89, &[]),
            Self::Pong(bytes) => frame(out, 0x8a, &[bytes]),
            Self::Close(None, _) => frame(out, 0x88, &[]),
            Self::Close(Some(code), reason) => {
                frame(out, 0x88, &[&code.to_be_bytes(), reason.as_bytes()]);
            }
        }
    }
}

const DELIVER: &str = r#"{"type":"deliver","delivery":"#;
const MESSAGE: &str = r#","message":"#;

fn frame(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.push(first);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}
