//! What the command prints and how it ends.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;
use support::http::Request;
use support::websocket::Client;
use support::{Relay, command};

/// Exit code, standard output, standard error.
fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the binary to run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_banner_says_where_it_listens_and_how_to_use_it() {
    let mut child = command(&[]).stdout(Stdio::piped()).spawn().expect("the binary to run");
    let stdout = BufReader::new(child.stdout.take().expect("its output"));
    let lines: Vec<String> = stdout.lines().map_while(Result::ok).take(12).collect();
    child.kill().expect("to stop it");
    child.wait().expect("its end");
    let text = lines.join("\n");
    let port = text.split("ws://localhost:").nth(1).and_then(|rest| rest.lines().next());
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("the port");
    assert_eq!(text.replace(&port.to_string(), "PORT"), BANNER.replace(", [::1]:PORT", &ipv6()));
}

const BANNER: &str =
    "STVOR mock relay for development: routes encrypted messages, keeps them in memory.

  WebSocket     ws://localhost:PORT
  Health        http://localhost:PORT/health
  Listening on  127.0.0.1:PORT, [::1]:PORT

Use it:

  import { createApp } from '@stvor/sdk';
  const app = await createApp({ appToken: 'stvor_dev_test123', relayUrl: 'ws://localhost:PORT' });
  const alice = await app.connect('alice');
";

/// Machines without IPv6 list one address.
fn ipv6() -> String {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => ", [::1]:PORT".to_owned(),
        Err(_) => String::new(),
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_with_the_remedy() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("its address").port();
    let mut command = command(&[]);
    command.env("PORT", port.to_string()).args(["--port", &port.to_string()]);
    // The last --port counts for nobody: repeating it is a mistake of its own.
    assert_eq!(run(command).0, Some(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_stvor"));
    command.arg("mock-relay").env("STVOR_MOCK_PORT", port.to_string()).env_remove("PORT");
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        format!(
            "stvor: port {port} is in use: stop the program that listens on 127.0.0.1:{port}, or \
             choose another port with --port or STVOR_MOCK_PORT (--port 0 finds a free one)\n"
        )
    );
}

#[test]
fn mistakes_are_told_in_one_line_and_end_with_code_2() {
    let cases = [
        (
            vec!["--prot", "1"],
            "stvor: unexpected argument '--prot' found; 'stvor mock-relay --help' lists the options\n",
        ),
        (
            vec!["--output", "xml"],
            "stvor: invalid value 'xml' for '--output <OUTPUT>'; 'stvor mock-relay --help' lists the options\n",
        ),
    ];
    for (flags, expected) in cases {
        let (code, stdout, stderr) = run(command(&flags));
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(2), "", expected));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_stvor"));
    command.arg("mock-relay").env("STVOR_MOCK_PORT", "many");
    let (code, _, stderr) = run(command);
    let expected = "stvor: STVOR_MOCK_PORT=many is not a port: give a number from 0 to 65535\n";
    assert_eq!((code, stderr.as_str()), (Some(2), expected));
    let (code, _, stderr) = run(Command::new(env!("CARGO_BIN_EXE_stvor")));
    let expected = "stvor: which command? 'stvor --help' lists them\n";
    assert_eq!((code, stderr.as_str()), (Some(2), expected));
}

#[test]
fn help_lists_every_option_and_is_no_mistake() {
    let (code, stdout, stderr) = run(command(&["--help"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in [
        "STVOR_MOCK_PORT",
        "STVOR_MOCK_VERBOSE",
        "--port",
        "--host",
        "--verbose",
        "--token-prefix",
        "--output",
        "--exit-on-stdin-close",
        "--max-frame-bytes",
        "--max-mailbox-messages",
        "--max-users",
    ] {
        assert!(stdout.contains(word), "{word} in {stdout}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn signals_close_the_sockets_and_end_it_with_code_0() {
    for signal in ["TERM", "INT"] {
        let relay = Relay::start(&[]);
        let mut client = Client::open(relay.port, "stvor_x", false).await;
        relay.signal(signal);
        assert_eq!(client.closed().await, (1001, "Relay is shutting down".to_owned()));
        drop(client);
        assert_eq!(relay.wait(), (Some(0), String::new()), "nothing after the one line of JSON");
    }
}

#[tokio::test]
async fn the_end_of_standard_input_stops_it_if_asked_to() {
    let mut relay = Relay::start(&["--exit-on-stdin-close"]);
    let mut client = Client::open(relay.port, "stvor_x", false).await;
    relay.close_stdin();
    assert_eq!(client.closed().await.0, 1001);
    drop(client);
    assert_eq!(relay.wait().0, Some(0));
    let mut relay = Relay::start(&[]);
    relay.close_stdin();
    Client::open(relay.port, "stvor_x", false).await.expect_nothing().await;
}

#[tokio::test]
async fn token_prefixes_decide_who_is_let_in() {
    let relay = Relay::start(&["--token-prefix", "sk_", "--token-prefix", "demo_"]);
    Client::open(relay.port, "demo_token", true).await;
    Client::open(relay.port, "sk_live_xxx", false).await;
    let mut refused = Client::connect(relay.port, "/", &[("Authorization", "stvor_x")]).await;
    let reason = r#"Invalid AppToken. Token must start with "sk_" or "demo_"."#;
    let expected = json!({"type": "handshake", "status": "error", "reason": reason});
    assert_eq!(refused.receive().await, expected);
    assert_eq!(refused.closed().await, (4001, "Unauthorized".to_owned()));
    let usage = Request::new("GET", "/usage", "stvor_x", &json!(null)).send(relay.port).await;
    assert_eq!(usage.status, 401);
}

#[tokio::test]
async fn verbose_logs_name_users_but_no_contents_and_no_keys() {
    let mut child = command(&["--verbose", "--output", "json", "--exit-on-stdin-close"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary to run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let port = listening["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
    let mut alice = Client::open(port, "stvor_secret_token", true).await;
    alice.announce("alice", json!("keys-of-alice")).await;
    alice
        .send(json!({"type": "message", "to": "bob", "from": "alice", "payload": "contents"}))
        .await;
    alice.receive_type("queued").await;
    drop(alice);
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("its end");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(log.contains("alice") && log.contains("bob"), "{log}");
    for secret in ["contents", "keys-of-alice", "secret_token"] {
        assert!(!log.contains(secret), "{log}");
    }
}
