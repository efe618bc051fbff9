//! Load for any relay that speaks the WebSocket frames of docs/RELAY.md, with or without
//! handshake and acknowledgements: what arrives at the recipients is what counts.
//!
//! ```text
//! load pairs --url ws://127.0.0.1:4444 [--pairs 4] [--in-flight 64] [--seconds 5]
//!            [--bytes 107] [--ack] [--eager] [--pid PID]
//! load idle  --url ws://127.0.0.1:4444 [--connections 1000] [--announce]
//! ```
//!
//! `pairs` connects senders and recipients, keeps that many messages of each pair under way and
//! prints `{"messages":…,"seconds":…}`, with `"cpuSeconds"` of the process `--pid` on Linux. With
//! `--ack` the clients ask for the feature, with `--eager` they write each message by itself.
//! `idle` opens connections, prints `{"connections":…}` and holds them until standard input ends.
#![expect(clippy::expect_used, reason = "a tool for benchmarks: an error ends it")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, stdin};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A bundle's worth of announcement: four base64url strings.
const KEYS: usize = 340;

struct Options(Vec<String>);

impl Options {
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).map_or(default, |text| text.parse().expect("a number"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| word == name)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options(std::env::args().skip(1).collect());
    match options.0.first().map(String::as_str) {
        Some("pairs") => pairs(&options).await,
        Some("idle") => idle(&options).await,
        _ => eprintln!("load pairs|idle --url ws://…: see the head of examples/load.rs"),
    }
}

async fn connect(options: &Options) -> Socket {
    let url = options.text("--url").expect("--url");
    let mut request = url.into_client_request().expect("a URL");
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer stvor_load"));
    if options.has("--ack") {
        request.headers_mut().insert("stvor-features", HeaderValue::from_static("ack"));
    }
    // What may be sent at once is written at once, unless each message is to be a write of its own.
    let buffer = if options.has("--eager") { 0 } else { 64 << 10 };
    let config = WebSocketConfig::default().read_buffer_size(16 << 10).write_buffer_size(buffer);
    let connected = connect_async_with_config(request, Some(config), true).await;
    connected.expect("the relay to accept the connection").0
}

fn announcement(user: &str) -> Message {
    let keys = "k".repeat(KEYS);
    format!(r#"{{"type":"announce","user":"{user}","pub":"{keys}"}}"#).into()
}

/// Announces the user and waits until a message to itself comes back: then the relay knows it.
async fn announce(socket: &mut Socket, user: &str) {
    socket.send(announcement(user)).await.expect("to announce");
    let probe = format!(r#"{{"type":"message","id":"probe","to":"{user}","payload":"probe"}}"#);
    socket.send(probe.into()).await.expect("to send a probe");
    loop {
        let text = next_text(socket).await;
        if text.contains(r#""payload":"probe""#) {
            if let Some(delivery) = delivery(&text) {
                let received = format!(r#"{{"type":"received","deliveries":[{delivery}]}}"#);
                socket.send(received.into()).await.expect("to acknowledge");
            }
            return;
        }
    }
}

async fn next_text(socket: &mut Socket) -> String {
    loop {
        match socket.next().await.expect("an open connection").expect("a frame") {
            Message::Text(text) => return text.to_string(),
            _ => continue,
        }
    }
}

/// The number in a `deliver` frame.
fn delivery(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(r#"{"type":"deliver","delivery":"#)?;
    rest[..rest.find(',')?].parse().ok()
}

async fn pairs(options: &Options) {
    let in_flight = options.number("--in-flight", 64);
    let bytes = options.number("--bytes", 107);
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for pair in 0..options.number("--pairs", 4) {
        let (from, to) = (format!("sender-{pair}"), format!("recipient-{pair}"));
        let (mut sender, mut recipient) = (connect(options).await, connect(options).await);
        announce(&mut sender, &from).await;
        announce(&mut recipient, &to).await;
        let window = Arc::new(Semaphore::new(usize::try_from(in_flight).expect("a window")));
        let (sink, stream) = sender.split();
        tasks.spawn(drain(stream));
        tasks.spawn(send(sink, from, to, bytes, window.clone()));
        tasks.spawn(receive(recipient, window, received.clone()));
    }
    sleep(Duration::from_millis(500)).await; // what is measured is the steady state
    let pid = options.text("--pid");
    let (start, before, cpu) = (Instant::now(), received.load(Ordering::Relaxed), cpu_seconds(pid));
    sleep(Duration::from_secs(options.number("--seconds", 5))).await;
    let messages = received.load(Ordering::Relaxed) - before;
    let seconds = start.elapsed().as_secs_f64();
    match cpu_seconds(pid).zip(cpu) {
        Some((after, before)) => println!(
            r#"{{"messages":{messages},"seconds":{seconds:.3},"cpuSeconds":{:.3}}}"#,
            after - before
        ),
        None => println!(r#"{{"messages":{messages},"seconds":{seconds:.3}}}"#),
    }
}

/// Sends as long as fewer messages than allowed are under way.
async fn send(
    mut sink: SplitSink<Socket, Message>,
    from: String,
    to: String,
    bytes: u64,
    window: Arc<Semaphore>,
) {
    let ciphertext = "c".repeat(usize::try_from(bytes).expect("a size"));
    let header = "h".repeat(114); // 85 bytes in base64url
    for number in 0u64.. {
        if window.available_permits() == 0 {
            sink.flush().await.expect("to send");
        }
        window.acquire().await.expect("an open window").forget();
        let message = format!(
            r#"{{"type":"message","id":"{number:032x}","to":"{to}","from":"{from}","payload":{{"ciphertext":"{ciphertext}","header":"{header}"}},"timestamp":1760000000000}}"#
        );
        sink.feed(message.into()).await.expect("to send");
    }
}

async fn drain(mut stream: SplitStream<Socket>) {
    while let Some(Ok(_)) = stream.next().await {}
}

async fn receive(mut socket: Socket, window: Arc<Semaphore>, received: Arc<AtomicU64>) {
    let mut deliveries = Vec::new();
    loop {
        // Everything that is there already is acknowledged together.
        let frame = tokio::select! {
            biased;
            frame = socket.next() => frame,
            () = std::future::ready(()), if !deliveries.is_empty() => {
                let frame = format!(r#"{{"type":"received","deliveries":{deliveries:?}}}"#);
                deliveries.clear();
                socket.send(frame.into()).await.expect("to acknowledge");
                continue;
            }
        };
        let Message::Text(text) = frame.expect("an open connection").expect("a frame") else {
            continue;
        };
        let number = delivery(&text);
        if number.is_some() || text.starts_with(r#"{"type":"message""#) {
            deliveries.extend(number);
            received.fetch_add(1, Ordering::Relaxed);
            window.add_permits(1);
        }
    }
}

async fn idle(options: &Options) {
    let connections = options.number("--connections", 1000);
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let mut socket = connect(options).await;
        if options.has("--announce") {
            announce(&mut socket, &format!("idle-{number}")).await;
        }
        tasks.spawn(drain(socket.split().1));
    }
    println!(r#"{{"connections":{connections}}}"#);
    let mut buffer = [0; 64];
    while stdin().read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Processor time of a process so far, user and system: /proc/PID/stat, fields 14 and 15.
fn cpu_seconds(pid: Option<&str>) -> Option<f64> {
    const TICKS: f64 = 100.0; // a second has as many on every Linux we meet
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}
