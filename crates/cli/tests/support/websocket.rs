//! A WebSocket client that reads frame by frame and can prove that none is outstanding: a pong
//! comes behind everything that was queued before its ping.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    frames: VecDeque<Value>,
    pings: u64,
}

/// How a connection ended: the close frame's code, 1005 if it had none, and its reason.
pub type Closed = (u16, String);

impl Client {
    pub async fn connect(port: u16, path: &str, headers: &[(&str, &str)]) -> Self {
        let url = format!("ws://127.0.0.1:{port}{path}");
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header"));
        }
        let (socket, _) = connect_async(request).await.expect("a connection");
        Self { socket, frames: VecDeque::new(), pings: 0 }
    }

    /// Connects as a client that acknowledges deliveries, or as the original's.
    pub async fn open(port: u16, token: &str, acknowledges: bool) -> Self {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("Authorization", authorization.as_str())];
        let mut welcome = json!({"type": "handshake", "status": "ok"});
        if acknowledges {
            headers.push(("stvor-features", "ack"));
            welcome["features"] = json!(["ack"]);
        }
        let mut client = Self::connect(port, "/", &headers).await;
        assert_eq!(client.receive().await, welcome);
        client
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("to send");
    }

    /// Announces the user; returns once the relay has taken it.
    pub async fn announce(&mut self, user: &str, keys: Value) {
        self.send(json!({"type": "announce", "user": user, "pub": keys})).await;
        self.sync().await;
    }

    /// The next frame, in order.
    pub async fn receive(&mut self) -> Value {
        if let Some(frame) = self.frames.pop_front() {
            return frame;
        }
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("expected a text frame, not {other:?}"),
        }
    }

    /// The next frame of that type; frames of other types before it are dropped.
    pub async fn receive_type(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.receive().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Returns once the relay has handled all that was sent; keeps the frames that came.
    pub async fn sync(&mut self) {
        self.pings += 1;
        let payload = self.pings.to_string();
        self.send_raw(Message::Ping(payload.clone().into())).await;
        loop {
            match self.next().await {
                Message::Pong(pong) if pong == payload.as_bytes() => return,
                Message::Text(text) => {
                    self.frames.push_back(serde_json::from_str(&text).expect("JSON"));
                }
                other => panic!("expected a pong, not {other:?}"),
            }
        }
    }

    /// Fails if a frame has come that nobody has received. Sync every client first.
    pub async fn expect_nothing(&mut self) {
        self.sync().await;
        assert_eq!(self.frames, [] as [Value; 0], "frames that nobody expected");
    }

    /// Closes, and says how the relay answered.
    pub async fn close(&mut self) -> Closed {
        self.socket.close(None).await.expect("to close");
        self.closed().await
    }

    /// Waits for the connection's end.
    pub async fn closed(&mut self) -> Closed {
        assert_eq!(self.frames, [] as [Value; 0], "frames that nobody expected");
        match self.next().await {
            Message::Close(None) => (1005, String::new()),
            Message::Close(Some(close)) => (close.code.into(), close.reason.to_string()),
            other => panic!("expected a close frame, not {other:?}"),
        }
    }

    /// The connection breaks, without a goodbye.
    pub async fn vanish(self) {
        let MaybeTlsStream::Plain(stream) = self.socket.into_inner() else { return };
        stream.set_zero_linger().expect("to reset");
    }

    /// Whatever comes next but a ping, which is answered underneath.
    async fn next(&mut self) -> Message {
        loop {
            let message = self.socket.next().await.expect("an open connection").expect("a frame");
            if !message.is_ping() {
                return message;
            }
        }
    }
}
