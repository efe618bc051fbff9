//! Prekeys and bundles over a link: against a relay of ours, and against one that a test scripts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::Config;
use crate::config::LegacyPeers;

const OURS: &[&str] = &["ack", "leave", "prekeys"];

/// What a relay answers to a frame at once: before the pong to the ping behind it.
type Answers = fn(&Value) -> Option<Value>;

/// A relay that says what the test says. It answers pings by itself.
struct Scripted {
    url: String,
    connections: mpsc::UnboundedReceiver<Connection>,
}

/// One connection to it; dropping it breaks the connection.
struct Connection {
    frames: mpsc::UnboundedReceiver<Value>,
    answers: mpsc::UnboundedSender<Value>,
}

impl Scripted {
    /// Its first connection breaks, with nothing answered, on a frame of type `breaks_on`.
    async fn start(features: &'static [&'static str], breaks_on: &'static str) -> Self {
        Self::answering(features, breaks_on, |_| None).await
    }

    async fn answering(
        features: &'static [&'static str],
        breaks_on: &'static str,
        at_once: Answers,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (sender, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut breaks_on = breaks_on;
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, frames) = mpsc::unbounded_channel();
                let (answers, queue) = mpsc::unbounded_channel();
                let mut welcome = json!({"type": "handshake", "status": "ok"});
                if !features.is_empty() {
                    welcome["features"] = json!(features);
                }
                answers.send(welcome).unwrap();
                let breaks_on = std::mem::take(&mut breaks_on);
                tokio::spawn(converse(stream, breaks_on, at_once, seen, queue));
                let _over = sender.send(Connection { frames, answers });
            }
        });
        Self { url, connections }
    }

    async fn next(&mut self) -> Connection {
        soon(self.connections.recv()).await
    }
}

async fn converse(
    stream: TcpStream,
    breaks_on: &str,
    at_once: Answers,
    seen: mpsc::UnboundedSender<Value>,
    mut queue: mpsc::UnboundedReceiver<Value>,
) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    loop {
        tokio::select! {
            biased;
            answer = queue.recv() => match answer {
                Some(answer) => socket.send(Message::text(answer.to_string())).await.unwrap(),
                None => return,
            },
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    let (breaks, answer) = (frame["type"] == breaks_on, at_once(&frame));
                    let _over = seen.send(frame);
                    if breaks {
                        return;
                    }
                    if let Some(answer) = answer {
                        socket.send(Message::text(answer.to_string())).await.unwrap();
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

impl Connection {
    async fn next(&mut self) -> Value {
        soon(self.frames.recv()).await
    }

    fn say(&self, frame: Value) {
        self.answers.send(frame).unwrap();
    }
}

async fn soon<T>(next: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap()
}

async fn open(url: &str) -> Link {
    let config = Config {
        app_token: "stvor_dev_test".into(),
        relay_url: url.into(),
        timeout: Duration::from_secs(10),
        poll_interval: Duration::from_millis(5),
        ca: None,
        legacy_peers: LegacyPeers::Allow,
    };
    let (link, _task) = Link::open(config.check().unwrap(), Arc::default()).await.unwrap();
    link
}

fn bundle(identity: &str, v4: &str) -> PublicKeyBundle {
    PublicKeyBundle {
        identity_key: identity.into(),
        signed_pre_key: "s".into(),
        signed_pre_key_signature: "g".into(),
        one_time_pre_key: String::new(),
        v4: Some(v4.into()),
    }
}

/// A user of a link, as the user's task sees it.
struct User {
    link: Link,
    name: Arc<str>,
    inbox: mpsc::Receiver<Incoming>,
}

impl User {
    async fn attach(link: &Link, name: &str) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (done, attached) = oneshot::channel();
        let name: Arc<str> = name.into();
        link.request(Request::Attach {
            user: name.clone(),
            attachment: Attachment(1),
            bundle: bundle(&name, "first"),
            inbox: sender,
            done,
        });
        soon(async { attached.await.ok() }).await.unwrap();
        Self { link: link.clone(), name, inbox }
    }

    fn publish(&self, ids: std::ops::Range<u32>) {
        let prekeys = ids.map(|id| (id, format!("key {id}"))).collect();
        self.link.request(Request::Publish { user: self.name.clone(), prekeys });
    }

    fn look_up(&self, peer: &str) {
        self.link.request(Request::Lookup { user: self.name.clone(), peer: peer.into() });
    }

    fn announce(&self, v4: &str) {
        let bundle = bundle(&self.name, v4);
        self.link.request(Request::Announce { user: self.name.clone(), bundle });
    }

    fn watch(&self, peer: &str) {
        self.link.request(Request::Watch { user: self.name.clone(), peer: peer.into() });
    }

    /// What comes next but word of the connection itself.
    async fn next(&mut self) -> Incoming {
        loop {
            match soon(self.inbox.recv()).await {
                Incoming::Connected => {}
                incoming => return incoming,
            }
        }
    }

    async fn left(&mut self) -> usize {
        match self.next().await {
            Incoming::PrekeysLeft { left } => left,
            _ => panic!("something else than prekeys left"),
        }
    }

    /// What a look-up found: `v4` and the id of the prekey.
    async fn found(&mut self) -> Option<(String, Option<u32>)> {
        match self.next().await {
            Incoming::Found { bundle, prekey, .. } => {
                Some((bundle.v4.unwrap(), prekey.map(|(id, _)| id)))
            }
            Incoming::Unknown { .. } => None,
            _ => panic!("something else than the answer to a look-up"),
        }
    }

    async fn bundle(&mut self) -> String {
        match self.next().await {
            Incoming::Bundle { bundle, .. } => bundle.v4.unwrap(),
            _ => panic!("something else than a bundle"),
        }
    }
}

#[tokio::test]
async fn our_relay_hands_out_what_was_published_and_says_how_much_is_left() {
    let listeners = stvor_relay::bind(&["127.0.0.1".parse().unwrap()], 0).await.unwrap();
    let url = format!("ws://{}", listeners[0].local_addr().unwrap());
    let config = stvor_relay::Config::default();
    tokio::spawn(stvor_relay::run(listeners, config, std::future::pending()));

    let mut bob = User::attach(&open(&url).await, "bob").await;
    assert_eq!(bob.left().await, 0);
    bob.publish(0..26);
    assert_eq!(bob.left().await, 26);
    let mut alice = User::attach(&open(&url).await, "alice").await;
    assert_eq!(alice.left().await, 0);
    for id in 0..2 {
        alice.look_up("bob");
        assert_eq!(alice.found().await, Some(("first".into(), Some(id))));
    }
    assert_eq!(bob.left().await, 24);
    alice.look_up("nobody");
    assert_eq!(alice.found().await, None);

    alice.watch("bob");
    assert_eq!(alice.bundle().await, "first");
    bob.announce("second");
    assert_eq!(bob.left().await, 24);
    assert_eq!(alice.bundle().await, "second", "whoever watches is told");
    alice.look_up("bob");
    assert_eq!(alice.found().await, Some(("second".into(), Some(2))));
}

#[tokio::test]
async fn prekeys_that_the_relay_may_not_have_read_go_out_again_until_it_has() {
    let counts = |frame: &Value| {
        let left = frame["prekeys"].as_array().map_or(0, Vec::len);
        Some(json!({"type": "prekeys", "user": frame["user"], "left": left}))
    };
    let mut relay = Scripted::answering(OURS, "prekeys", counts).await;
    let link = open(&relay.url).await;
    let mut first = relay.next().await;
    let mut bob = User::attach(&link, "bob").await;
    assert_eq!(first.next().await["type"], "announce");
    assert_eq!(bob.left().await, 0);
    bob.publish(0..3);
    let upload = first.next().await;
    assert_eq!(upload["prekeys"][2], json!({"id": 2, "key": "key 2"}));

    let mut second = relay.next().await;
    assert_eq!(second.next().await["type"], "announce");
    assert_eq!(second.next().await, upload);
    assert_eq!(bob.left().await, 3, "and not 0 before: more were on their way");
    drop(second);

    let mut third = relay.next().await;
    assert_eq!(third.next().await["type"], "announce");
    bob.look_up("alice");
    assert_eq!(third.next().await, json!({"type": "lookup", "user": "alice"}), "no third time");
}

#[tokio::test]
async fn a_look_up_that_was_not_answered_is_asked_again() {
    let mut relay = Scripted::start(OURS, "lookup").await;
    let link = open(&relay.url).await;
    let mut first = relay.next().await;
    let mut alice = User::attach(&link, "alice").await;
    alice.look_up("bob");
    assert_eq!(first.next().await["type"], "announce");
    let lookup = first.next().await;
    let mut second = relay.next().await;
    assert_eq!(second.next().await["type"], "announce");
    assert_eq!(second.next().await, lookup);
    let keys = bundle("bob", "4");
    second
        .say(json!({"type": "found", "user": "bob", "pub": keys, "prekey": {"id": 7, "key": "k"}}));
    assert_eq!(alice.found().await, Some(("4".into(), Some(7))));
}

#[tokio::test]
async fn each_answer_goes_to_one_who_asked_in_order_of_asking() {
    let mut relay = Scripted::start(OURS, "").await;
    let link = open(&relay.url).await;
    let mut connection = relay.next().await;
    let found = |id: u32| {
        let prekey = json!({"id": id, "key": "k"});
        json!({"type": "found", "user": "carol", "pub": bundle("carol", "4"), "prekey": prekey})
    };
    connection.say(found(0)); // nobody has asked
    let mut alice = User::attach(&link, "alice").await;
    let mut bob = User::attach(&link, "bob").await;
    for user in [&alice, &alice, &bob] {
        user.look_up("carol"); // alice's second is the first
    }
    alice.look_up("dave");
    for expected in ["announce", "announce", "lookup", "lookup", "lookup"] {
        assert_eq!(connection.next().await["type"], expected);
    }
    for id in 1..4 {
        connection.say(found(id));
    }
    connection.say(json!({"type": "unknown", "user": "dave"}));
    assert_eq!(alice.found().await, Some(("4".into(), Some(1))));
    assert_eq!(alice.found().await, None);
    assert_eq!(bob.found().await, Some(("4".into(), Some(2))));
    assert!(bob.inbox.try_recv().is_err());
}

#[tokio::test]
async fn a_relay_without_prekeys_is_asked_nothing_and_look_ups_tell_what_was_announced() {
    let mut relay = Scripted::start(&["ack"], "").await;
    let link = open(&relay.url).await;
    let mut connection = relay.next().await;
    let mut alice = User::attach(&link, "alice").await;
    assert_eq!(connection.next().await["type"], "announce");
    alice.watch("bob");
    assert!(matches!(alice.next().await, Incoming::Unknown { .. }));
    alice.look_up("bob");
    assert_eq!(alice.found().await, None);
    connection.say(json!({"type": "announce", "user": "bob", "pub": bundle("bob", "4")}));
    assert_eq!(alice.bundle().await, "4");
    alice.publish(0..3);
    alice.look_up("bob");
    assert_eq!(alice.found().await, Some(("4".into(), None)));
    alice.announce("next");
    assert_eq!(connection.next().await["pub"]["v4"], "next", "nothing went before it");
}

#[tokio::test]
async fn a_changed_bundle_is_announced_at_once_and_on_the_next_connection() {
    let mut relay = Scripted::start(OURS, "").await;
    let link = open(&relay.url).await;
    let mut first = relay.next().await;
    let alice = User::attach(&link, "alice").await;
    assert_eq!(first.next().await["pub"], json!(bundle("alice", "first")));
    alice.announce("second");
    assert_eq!(first.next().await["pub"], json!(bundle("alice", "second")));
    drop(first);
    let mut second = relay.next().await;
    assert_eq!(second.next().await["pub"], json!(bundle("alice", "second")));
}

mod http {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use axum::{Json, Router};

    use super::*;

    /// What the original's relay knows, and what it was asked of a user, in order.
    #[derive(Default)]
    struct Relay {
        keys: HashMap<String, Value>,
        asked: Vec<&'static str>,
    }

    type Shared = State<Arc<Mutex<Relay>>>;

    async fn start() -> (String, Arc<Mutex<Relay>>) {
        let shared: Arc<Mutex<Relay>> = Arc::default();
        let app = Router::new()
            .route("/health", get(async || Json(json!({"status": "ok"}))))
            .route("/register", post(register))
            .route("/public-key/{id}", get(public_key))
            .route("/messages/{id}", get(messages))
            .with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (url, shared)
    }

    async fn register(State(relay): Shared, Json(body): Json<Value>) -> Json<Value> {
        let mut relay = relay.lock().unwrap();
        relay.asked.push("register");
        relay.keys.insert(body["user_id"].as_str().unwrap().into(), body["publicKeys"].clone());
        Json(json!({"status": "registered"}))
    }

    async fn public_key(
        State(relay): Shared,
        Path(id): Path<String>,
    ) -> Result<Json<Value>, StatusCode> {
        let keys = relay.lock().unwrap().keys.get(&id).cloned().ok_or(StatusCode::NOT_FOUND)?;
        Ok(Json(json!({"publicKeys": keys})))
    }

    async fn messages(State(relay): Shared) -> Json<Value> {
        relay.lock().unwrap().asked.push("messages");
        Json(json!({"messages": [], "count": 0}))
    }

    #[tokio::test]
    async fn over_http_look_ups_fetch_keys_and_changed_ones_are_registered_behind_a_poll() {
        let (url, relay) = start().await;
        let link = open(&url).await;
        let mut alice = User::attach(&link, "alice").await;
        alice.publish(0..3);
        alice.look_up("alice");
        assert_eq!(alice.found().await, Some(("first".into(), None)));
        alice.look_up("bob");
        assert_eq!(alice.found().await, None);
        alice.announce("second");
        loop {
            alice.look_up("alice");
            if alice.found().await == Some(("second".into(), None)) {
                break;
            }
        }
        let asked = relay.lock().unwrap().asked.clone();
        let registered = asked.iter().rposition(|asked| *asked == "register").unwrap();
        assert_eq!(asked[registered - 1], "messages", "its inbox is emptied by registering");
        assert_eq!(asked.iter().filter(|asked| **asked == "register").count(), 2);
    }
}
