//! Relays for tests: what the original's mock relay and the documentation's relay do on a
//! WebSocket, with faults that a test can order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Which relay to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Handshake, ack, queued, mailbox.
    Mock,
    /// The documentation's relay-server.mjs: none of these, announcements echoed.
    Documentation,
}

/// A relay on a free port, for as long as it lives.
pub(crate) struct FakeRelay {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    kick: watch::Sender<u64>,
}

type Frames = mpsc::UnboundedSender<Message>;

struct State {
    kind: Kind,
    next: u64,
    users: HashMap<String, (u64, Frames)>,
    keys: Vec<(String, Value)>,
    mailbox: HashMap<String, Vec<Value>>,
    /// Every `message` frame that arrived.
    seen: Vec<Value>,
    /// Who was announced, each time.
    announced: Vec<String>,
    /// The user whose messages are read and forgotten, unacknowledged.
    swallowed: Option<String>,
    refuse: bool,
    refused: usize,
}

impl FakeRelay {
    pub(crate) async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            kind,
            next: 0,
            users: HashMap::new(),
            keys: Vec::new(),
            mailbox: HashMap::new(),
            seen: Vec::new(),
            announced: Vec::new(),
            swallowed: None,
            refuse: false,
            refused: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let (kick, kicked) = watch::channel(0);
        tokio::spawn(accept(listener, state.clone(), kicked));
        Self { url: url(address), state, kick }
    }

    /// Closes every connection without a word.
    pub(crate) fn kick(&self) {
        self.kick.send_modify(|n| *n += 1);
    }

    /// From now on messages of this user are lost, and of everybody else they are not.
    pub(crate) fn swallow(&self, from: Option<&str>) {
        self.state.lock().unwrap().swallowed = from.map(str::to_owned);
    }

    /// Whether new connections are closed at once.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.state.lock().unwrap().refuse = refuse;
    }

    /// How many connections were closed at once.
    pub(crate) fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }

    /// The keys that a user announced last.
    pub(crate) fn keys_of(&self, user: &str) -> Value {
        let state = self.state.lock().unwrap();
        state.keys.iter().find(|(known, _)| known == user).unwrap().1.clone()
    }

    /// How often a user was announced.
    pub(crate) fn announcements_of(&self, user: &str) -> usize {
        self.state.lock().unwrap().announced.iter().filter(|known| *known == user).count()
    }

    /// Whether a user was ever announced.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.state.lock().unwrap().keys.iter().any(|(known, _)| known == user)
    }

    /// Every `message` frame so far.
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Every `message` frame of this user so far: contents, receipts, questions.
    pub(crate) fn seen_from(&self, user: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|frame| frame["from"] == user).cloned().collect()
    }

    /// Sends a frame to a user's connection, as only a hostile relay does.
    pub(crate) fn inject(&self, to: &str, frame: &Value) {
        let state = self.state.lock().unwrap();
        state.users[to].1.send(Message::text(frame.to_string())).unwrap();
    }
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}")
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, kicked: watch::Receiver<u64>) {
    while let Ok((stream, _)) = listener.accept().await {
        {
            let mut state = state.lock().unwrap();
            if state.refuse {
                state.refused += 1;
                continue;
            }
        }
        tokio::spawn(serve(stream, state.clone(), kicked.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, mut kicked: watch::Receiver<u64>) {
    let mut token = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    let note_token = |request: &Request, response: Response| {
        let header = request.headers().get("authorization");
        token = header.and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, note_token).await else { return };
    let (mut writer, mut reader) = socket.split();
    kicked.mark_unchanged();
    let (frames, mut queue) = mpsc::unbounded_channel();
    let me = {
        let mut state = state.lock().unwrap();
        state.next += 1;
        if state.kind == Kind::Mock {
            if token.starts_with("Bearer stvor_") {
                frames.send(text(&json!({"type": "handshake", "status": "ok"}))).unwrap();
            } else {
                let refusal = json!({"type": "handshake", "status": "error", "reason": "no"});
                frames.send(text(&refusal)).unwrap();
                let code = 4001.into();
                let close = CloseFrame { code, reason: "Unauthorized".into() };
                frames.send(Message::Close(Some(close))).unwrap();
            }
        }
        for (user, keys) in &state.keys {
            frames.send(text(&json!({"type": "announce", "user": user, "pub": keys}))).unwrap();
        }
        state.next
    };
    loop {
        tokio::select! {
            Some(frame) = queue.recv() => if writer.send(frame).await.is_err() { break },
            _ = kicked.changed() => return,
            frame = reader.next() => match frame {
                Some(Ok(Message::Text(frame))) => {
                    let frame = serde_json::from_str(&frame).unwrap();
                    state.lock().unwrap().frame(me, &frames, frame);
                }
                Some(Ok(_)) => {}
                _ => break,
            },
        }
    }
    state.lock().unwrap().users.retain(|_, (socket, _)| *socket != me);
}

fn text(frame: &Value) -> Message {
    Message::text(frame.to_string())
}

impl State {
    fn frame(&mut self, me: u64, frames: &Frames, frame: Value) {
        match frame["type"].as_str() {
            Some("announce") => self.announce(me, frames, &frame),
            Some("message") => self.message(frames, frame),
            other => panic!("a client of ours sent {other:?}"),
        }
    }

    fn announce(&mut self, me: u64, frames: &Frames, frame: &Value) {
        let user = frame["user"].as_str().unwrap().to_owned();
        self.announced.push(user.clone());
        self.users.insert(user.clone(), (me, frames.clone()));
        self.keys.retain(|(known, _)| *known != user);
        self.keys.push((user.clone(), frame["pub"].clone()));
        for (socket, to) in self.users.values() {
            if self.kind == Kind::Documentation || *socket != me {
                let _gone = to.send(text(frame));
            }
        }
        for waiting in self.mailbox.remove(&user).unwrap_or_default() {
            frames.send(text(&waiting)).unwrap();
        }
    }

    fn message(&mut self, frames: &Frames, frame: Value) {
        self.seen.push(frame.clone());
        if self.swallowed.as_deref() == frame["from"].as_str() {
            return;
        }
        let to = frame["to"].as_str().unwrap();
        let online = self.users.get(to).is_some_and(|(_, to)| to.send(text(&frame)).is_ok());
        if self.kind == Kind::Documentation {
            return;
        }
        let answer = if online {
            json!({"type": "ack", "id": frame["id"]})
        } else {
            self.mailbox.entry(to.to_owned()).or_default().push(frame.clone());
            json!({"type": "queued", "id": frame["id"], "to": to, "message": "later"})
        };
        frames.send(text(&answer)).unwrap();
    }
}

/// A relay of ours, in this process; stopped when dropped.
pub(crate) struct OurRelay {
    pub(crate) address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl OurRelay {
    pub(crate) async fn start(port: u16) -> Self {
        let localhost = ["127.0.0.1".parse().unwrap()];
        let listeners = stvor_relay::bind(&localhost, port).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let task =
            tokio::spawn(stvor_relay::run(listeners, stvor_relay::Config::default(), stopped));
        Self { address, stop: Some(stop), task }
    }

    pub(crate) fn url(&self) -> String {
        url(self.address)
    }

    /// Stops it, and with it everything it remembered.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}
