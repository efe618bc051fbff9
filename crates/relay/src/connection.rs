//! One connection: HTTP first, WebSocket from the upgrade on.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use stvor_wire::FEATURES_HEADER;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use crate::deadline::Deadline;
use crate::http::{self, Answer, Failure};
use crate::hub::Hub;
use crate::server;
use crate::websocket::{self, Opening, Upgrade};

/// Largest head of a request, and what hyper buffers of a body at a time.
const HEAD_BYTES: usize = 16 << 10;

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: TcpStream, hub: Arc<Hub>, stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    // Boxed, so that a WebSocket does not go on paying for the HTTP it began with.
    let upgraded = Box::pin(serve_http(stream, &hub, stopped)).await;
    if let Some((stream, opening)) = upgraded {
        websocket::serve(stream, opening, &hub).await;
    }
}

/// Answers that there are too many connections.
pub(crate) async fn refuse(mut stream: TcpStream) {
    const BODY: &str = r#"{"error":"Server at capacity","code":"TOO_MANY_CONNECTIONS"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         access-control-allow-origin: *\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        websocket::linger(&mut stream).await;
    }
}

/// An upgrade that was answered, until hyper lets go of the connection.
type Upgrading = Mutex<Option<(OnUpgrade, Opening)>>;

/// Serves HTTP. Returns the stream if the client has upgraded it.
async fn serve_http(
    stream: TcpStream,
    hub: &Hub,
    mut stopped: watch::Receiver<bool>,
) -> Option<(TcpStream, Opening)> {
    let upgrading = Upgrading::default();
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(match websocket::upgrade(&request) {
            Upgrade::No => http::answer(request, hub).await,
            Upgrade::Yes(accept) => switch(request, &accept, &upgrading),
            Upgrade::Bad(why) => Failure::new(StatusCode::BAD_REQUEST, why).answer(),
        })
    });
    let limits = &hub.config().limits;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Deadline::new(stream, limits.answer_timeout)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = server::stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection lost");
        return None;
    }
    let (upgrade, mut opening) = held(&upgrading).take()?;
    let parts = upgrade.await.ok().map(Upgraded::downcast::<TokioIo<Deadline>>)?.ok()?;
    opening.first_bytes = parts.read_buf;
    Some((parts.io.into_inner().into_inner(), opening))
}

/// Answers a good handshake and notes down what the request said.
fn switch(mut request: Request<Incoming>, accept: &str, upgrading: &Upgrading) -> Answer {
    let mut answer = http::bare(StatusCode::SWITCHING_PROTOCOLS, "".into());
    let Ok(accept) = HeaderValue::from_str(accept) else { return answer };
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept);
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes().to_vec());
    let opening = Opening {
        authorization: header(AUTHORIZATION.as_str()),
        features: header(FEATURES_HEADER).and_then(|bytes| String::from_utf8(bytes).ok()),
        first_bytes: "".into(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    *held(upgrading) = Some((upgrade, opening));
    answer
}

fn held(upgrading: &Upgrading) -> MutexGuard<'_, Option<(OnUpgrade, Opening)>> {
    upgrading.lock().unwrap_or_else(PoisonError::into_inner)
}
