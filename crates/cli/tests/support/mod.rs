//! The real binary, started on a free port, and clients that prove what does not arrive.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod http;
pub mod websocket;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running relay; killed when dropped.
pub struct Relay {
    child: Child,
    pub port: u16,
}

impl Relay {
    pub fn start(flags: &[&str]) -> Self {
        let mut child = command(flags)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the relay to start");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let listening: Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(listening["event"], "listening");
        let port = listening["port"].as_u64().and_then(|port| port.try_into().ok());
        Self { child, port: port.expect("a port") }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(status.success());
    }

    /// Waits until it has ended; its exit code and what else it wrote to standard output.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        let mut stdout = self.child.stdout.take().expect("its output");
        stdout.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("its end").code(), rest)
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `stvor mock-relay --port 0` with those flags and none of the environment's settings.
pub fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stvor"));
    command.arg("mock-relay").args(["--port", "0"]).args(flags).stdin(Stdio::piped());
    for name in ["STVOR_MOCK_PORT", "STVOR_MOCK_VERBOSE", "PORT"] {
        command.env_remove(name);
    }
    command
}
