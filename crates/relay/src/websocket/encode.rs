//! Writing WebSocket frames as a server: unmasked, unfragmented, with headers by tungstenite.

use std::io::Write;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

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
        let (header, content) = (self.header(), self.content_len());
        header.len(content as u64) + content
    }

    /// Appends the frame as it goes onto the socket.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // Writing into memory cannot fail.
        let _ = self.header().format(self.content_len() as u64, out);
        match self {
            Self::Text(bytes) | Self::Pong(bytes) => out.extend_from_slice(bytes),
            Self::Deliver { delivery, message } => {
                let _ = write!(out, "{DELIVER}{delivery}{MESSAGE}");
                out.extend_from_slice(message);
                out.push(b'}');
            }
            Self::Ping | Self::Close(None, _) => {}
            Self::Close(Some(code), reason) => {
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(reason.as_bytes());
            }
        }
    }

    fn header(&self) -> FrameHeader {
        let opcode = match self {
            Self::Text(_) | Self::Deliver { .. } => OpCode::Data(Data::Text),
            Self::Ping => OpCode::Control(Control::Ping),
            Self::Pong(_) => OpCode::Control(Control::Pong),
            Self::Close(..) => OpCode::Control(Control::Close),
        };
        FrameHeader { opcode, ..FrameHeader::default() }
    }

    fn content_len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Deliver { delivery, message } => {
                let digits = delivery.checked_ilog10().unwrap_or(0) as usize + 1;
                DELIVER.len() + digits + MESSAGE.len() + message.len() + 1
            }
            Self::Ping | Self::Close(None, _) => 0,
            Self::Close(Some(_), reason) => 2 + reason.len(),
        }
    }
}

const DELIVER: &str = r#"{"type":"deliver","delivery":"#;
const MESSAGE: &str = r#","message":"#;
