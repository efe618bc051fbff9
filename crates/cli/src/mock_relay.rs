//! `stvor mock-relay`: starts the relay, says where it listens, stops it when told to.

use std::future::pending;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use stvor_relay::BindError;
use tokio::io::{AsyncReadExt, stdin};
use tokio::net::TcpListener;
use tracing::Level;

use crate::arguments::{MockRelay, Output};

/// Runs the relay until a signal, or the end of standard input, stops it.
pub(crate) fn run(options: MockRelay) -> ExitCode {
    let level = if options.verbose { Level::DEBUG } else { Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
    // As many connections as the system lets this process have, not the 1,024 it starts with.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    // One thread: the relay's work is copying between sockets, and waking a second thread for
    // each message costs more than it would do.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let code = runtime.block_on(serve(options));
    // Does not wait for the thread that may still be blocked reading standard input.
    runtime.shutdown_background();
    code
}

async fn serve(options: MockRelay) -> ExitCode {
    let listeners = match stvor_relay::bind(&options.hosts, options.port).await {
        Ok(listeners) => listeners,
        Err(BindError::PortInUse(address)) => {
            let port = address.port();
            return fail(&format!(
                "port {port} is in use: stop the program that listens on {address}, or choose \
                 another port with --port or STVOR_MOCK_PORT (--port 0 finds a free one)"
            ));
        }
        Err(error) => return fail(&error.to_string()),
    };
    // Before the announcement: who reads it may signal at once.
    let stop = match stop(options.exit_on_stdin_close) {
        Ok(stop) => stop,
        Err(error) => return fail(&format!("cannot listen for signals: {error}")),
    };
    if let Err(error) = announce(options.output, &listeners) {
        return fail(&format!("cannot print where it listens: {error}"));
    }
    stvor_relay::run(listeners, options.config, stop).await;
    ExitCode::SUCCESS
}

fn fail(line: &str) -> ExitCode {
    eprintln!("stvor: {line}");
    ExitCode::FAILURE
}

fn announce(output: Output, listeners: &[TcpListener]) -> io::Result<()> {
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let Some(first) = addresses.first() else { return Ok(()) };
    let text = match output {
        Output::Json => format!("{}\n", listening(*first, &addresses)),
        Output::Text => banner(*first, &addresses),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The line for programs.
fn listening(first: SocketAddr, addresses: &[SocketAddr]) -> String {
    let (port, url) = (first.port(), reachable(first));
    let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let addresses = addresses.join(",");
    format!(r#"{{"event":"listening","port":{port},"url":"ws://{url}","addresses":[{addresses}]}}"#)
}

/// What a client on this machine connects to: not "all addresses", but one of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) | IpAddr::V6(_) => (Ipv4Addr::LOCALHOST, address.port()).into(),
    }
}

fn banner(first: SocketAddr, addresses: &[SocketAddr]) -> String {
    let reachable = reachable(first);
    let host = match reachable.ip().is_loopback() {
        true => format!("localhost:{}", first.port()),
        false => reachable.to_string(),
    };
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "STVOR mock relay for development: routes encrypted messages, keeps them in memory.

  WebSocket     ws://{host}
  Health        http://{host}/health
  Listening on  {}

Use it:

  import {{ createApp }} from '@stvor/sdk';
  const app = await createApp({{ appToken: 'stvor_dev_test123', relayUrl: 'ws://{host}' }});
  const alice = await app.connect('alice');

Press Ctrl+C to stop.
",
        addresses.join(", ")
    )
}

/// Listens from now on for what stops the relay; the future resolves once it has come.
fn stop(on_stdin_close: bool) -> io::Result<impl Future<Output = ()>> {
    let signal = signal()?;
    Ok(async move {
        tokio::select! {
            () = signal => {}
            () = stdin_closed(), if on_stdin_close => {}
        }
    })
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
    let (mut interrupt, mut stop, mut close) = (ctrl_c()?, ctrl_break()?, ctrl_close()?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = stop.recv() => {}
            _ = close.recv() => {}
        }
    })
}

async fn stdin_closed() {
    let mut buffer = [0; 256];
    let mut stdin = stdin();
    loop {
        match stdin.read(&mut buffer).await {
            Ok(0) => return,
            Ok(_) => {}
            // It cannot be read, so neither can its end.
            Err(_) => pending().await,
        }
    }
}
