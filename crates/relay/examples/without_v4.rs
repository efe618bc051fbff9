//! A relay that takes `v4` out of the bundles which its clients announce, so that clients of ours
//! speak wire 3 to each other: what benchmarks compare wire 4 with.
//!
//! ```text
//! without_v4 [--keep]
//! ```
//!
//! The relay itself is the one of this crate, unchanged. Connections to it go through a front in
//! the same process, which rewrites the first `announce` frame of each and copies everything else.
//! With `--keep` it copies that too, so that what the front costs falls on both wires alike.
//! Prints `{"url":…,"pid":…}` and serves until standard input ends.
#![expect(clippy::expect_used, reason = "a tool for benchmarks: an error ends it")]
#![expect(clippy::print_stdout, reason = "its address is what it is asked for")]

use std::io;

use tokio::io::{
    AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, stdin,
};
use tokio::net::{TcpListener, TcpStream};

/// Frames in which a client may not have announced itself.
const PATIENCE: usize = 16;

/// What the copying reads at a time.
const BUFFER: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let keep = std::env::args().any(|arg| arg == "--keep");
    let local = "127.0.0.1".parse().expect("an address");
    let relays = stvor_relay::bind(&[local], 0).await.expect("to listen");
    let relay = relays[0].local_addr().expect("an address");
    let front = TcpListener::bind((local, 0)).await.expect("to listen");
    let url = format!("ws://{}", front.local_addr().expect("an address"));
    println!(r#"{{"url":"{url}","pid":{}}}"#, std::process::id());
    tokio::spawn(async move {
        loop {
            let (client, _) = front.accept().await.expect("a connection");
            let relay = TcpStream::connect(relay).await.expect("the relay");
            tokio::spawn(pass(client, relay, keep));
        }
    });
    let mut rest = Vec::new();
    let closed = async { drop(stdin().read_to_end(&mut rest).await) };
    stvor_relay::run(relays, stvor_relay::Config::default(), closed).await;
}

async fn pass(client: TcpStream, relay: TcpStream, keep: bool) -> io::Result<()> {
    client.set_nodelay(true)?;
    relay.set_nodelay(true)?;
    let ((from_client, mut to_client), (mut from_relay, mut to_relay)) =
        (client.into_split(), relay.into_split());
    let mut from_client = BufReader::with_capacity(BUFFER, from_client);
    let up = async {
        if !keep {
            announce_wire_3(&mut from_client, &mut to_relay).await?;
        }
        copy_buf(&mut from_client, &mut to_relay).await?;
        to_relay.shutdown().await
    };
    let down = async {
        copy_buf(&mut BufReader::with_capacity(BUFFER, &mut from_relay), &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}

/// Passes on everything up to the announcement, which loses its `v4`.
async fn announce_wire_3(
    client: &mut (impl AsyncBufRead + Unpin),
    relay: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    relay.write_all(&head).await?;
    for _ in 0..PATIENCE {
        let frame = Frame::read(client).await?;
        let announced = frame.without_v4();
        let is_announced = announced.is_some();
        relay.write_all(&announced.unwrap_or(frame).to_bytes()).await?;
        if is_announced {
            break;
        }
    }
    Ok(())
}

/// A frame of a client, unmasked. Spec: RFC 6455, section 5.2.
struct Frame {
    /// `FIN`, reserved bits, opcode.
    first: u8,
    payload: Vec<u8>,
}

impl Frame {
    async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Self> {
        let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
        assert!(second & 0x80 != 0, "clients mask what they send");
        let length = match second & 0x7f {
            126 => usize::from(stream.read_u16().await?),
            127 => usize::try_from(stream.read_u64().await?).expect("a length"),
            length => usize::from(length),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Self { first, payload })
    }

    /// An announcement as an original client makes it; `None` for any other frame.
    fn without_v4(&self) -> Option<Self> {
        let mut frame: serde_json::Value = serde_json::from_slice(&self.payload).ok()?;
        if frame.get("type")? != "announce" {
            return None;
        }
        frame.get_mut("pub")?.as_object_mut()?.remove("v4");
        Some(Self { first: self.first, payload: frame.to_string().into_bytes() })
    }

    /// Under a mask of zeros, which changes nothing.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        match u16::try_from(self.payload.len()) {
            Ok(length @ 0..126) => bytes.push(0x80 | length as u8),
            Ok(length) => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0x80 | 127);
                bytes.extend((self.payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(&self.payload);
        bytes
    }
}
