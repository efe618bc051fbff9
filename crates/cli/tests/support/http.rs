//! HTTP requests exactly as written: no path is normalised, no header added but the necessary.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON; an empty one is the empty string, as in the recordings.
    pub fn json(&self) -> Value {
        match self.body.is_empty() {
            true => "".into(),
            false => serde_json::from_slice(&self.body).expect("a JSON body"),
        }
    }
}

impl<'a> Request<'a> {
    /// A request under a token, with a JSON body unless it is null.
    pub fn new(method: &'a str, path: &'a str, token: &str, body: &Value) -> Self {
        let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { method, path, headers, body }
    }

    pub async fn send(&self, port: u16) -> Response {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: relay\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.body.len();
        head.push_str(&format!("Connection: close\r\nContent-Length: {length}\r\n\r\n"));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("to send the head");
        // The relay may refuse by the head alone, and close.
        let _ = stream.write_all(&self.body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        parse(&bytes)
    }
}

pub fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    Response {
        status: status.parse().expect("a number"),
        headers: headers.map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect(),
        body: bytes[end + 4..].to_vec(),
    }
}
