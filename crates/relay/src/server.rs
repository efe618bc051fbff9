//! Listening: who gets a connection, and how it all ends.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use crate::Config;
use crate::connection;
use crate::hub::Hub;

/// Pause after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a free port is looked for that all hosts have free.
const PORT_ATTEMPTS: usize = 16;

/// Why a relay cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program listens there.
    #[error("port {} is in use", .0.port())]
    PortInUse(SocketAddr),
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// Where it was tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// None of the hosts is an address of this machine.
    #[error("none of the hosts is an address of this machine")]
    NoHost,
}

/// Listens on `port` of each host; port 0 finds one that is free on all of them.
///
/// A host that this machine does not have, `::1` where IPv6 is off for example, is left out as
/// long as there is another.
///
/// # Errors
///
/// [`BindError`], with nothing left open.
pub async fn bind(hosts: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, BindError> {
    let mut attempt = 1;
    loop {
        match bind_all(hosts, port).await {
            Err(BindError::PortInUse(_)) if port == 0 && attempt < PORT_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

async fn bind_all(hosts: &[IpAddr], mut port: u16) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::new();
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        let refused = |source| BindError::Refused { address, source };
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener.local_addr().map_err(refused)?.port();
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::PortInUse(address));
            }
            Err(error) if is_missing(&error) => debug!(%address, "no such address here"),
            Err(error) => return Err(refused(error)),
        }
    }
    if listeners.is_empty() { Err(BindError::NoHost) } else { Ok(listeners) }
}

/// The machine does not have the address or the address family.
fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: [i32; 3] = [97, 47, 10047]; // Linux, macOS, Windows
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error().is_some_and(|code| EAFNOSUPPORT.contains(&code))
}

/// Serves until `shutdown` resolves, then closes every WebSocket with code 1001 and returns once
/// they are closed, after [`shutdown_timeout`](crate::Limits::shutdown_timeout) at the latest.
///
/// What is stored is in memory and ends with the relay.
pub async fn run(listeners: Vec<TcpListener>, config: Config, shutdown: impl Future<Output = ()>) {
    let limits = config.limits.clone();
    let hub = Arc::new(Hub::new(config));
    let (stop, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(listener, hub.clone(), places.clone(), stopped.clone()));
    }
    let mut ticks = interval(limits.ping_interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = ticks.tick() => hub.sweep(),
        }
    }
    stop.send_replace(true);
    hub.close_all();
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(limits.shutdown_timeout, all).await;
    tasks.shutdown().await;
}

/// Accepts connections until the relay stops, then waits for them to end.
async fn accept(
    listener: TcpListener,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let told = stopped.clone();
    loop {
        tokio::select! {
            () = stop(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (hub, stopped) = (hub.clone(), told.clone());
                    match places.clone().try_acquire_owned() {
                        Ok(place) => connections.spawn(async move {
                            connection::serve(stream, hub, stopped).await;
                            drop(place);
                        }),
                        Err(_) => connections.spawn(connection::refuse(stream)),
                    };
                }
                Err(error) => {
                    warn!(%error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Resolves when the relay stops.
pub(crate) async fn stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
