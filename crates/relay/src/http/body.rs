//! Reading a request's body: bounded in size, time and memory.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::answer::Failure;
use crate::hub::{Hub, Reservation};

/// Time for a body that is refused to be sent all the same: a client reads the answer after it.
const DRAIN: Duration = Duration::from_secs(2);

const TOO_LARGE: Failure =
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "Body larger than this relay allows")
        .code("PAYLOAD_TOO_LARGE")
        .close();
const TOO_SLOW: Failure =
    Failure::new(StatusCode::REQUEST_TIMEOUT, "Body not received in time").close();
const FULL: Failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "Server at capacity")
    .code("STORAGE_FULL")
    .close();
const BROKEN: Failure = Failure::new(StatusCode::BAD_REQUEST, "Body broke off").close();
const INVALID_JSON: Failure = Failure::new(StatusCode::BAD_REQUEST, "Invalid JSON");

/// Reads the body as JSON of that shape; no body at all is `{}`.
///
/// A body that is JSON but no object has none of the fields that any shape asks for, so that it
/// reads as `{}` too; `null`, over which the original stumbles, is refused as no JSON.
pub(super) async fn read<T: DeserializeOwned>(body: Incoming, hub: &Hub) -> Result<T, Failure> {
    let limits = &hub.config().limits;
    if body.size_hint().lower() > limits.max_frame_bytes as u64 {
        drain(body).await;
        return Err(TOO_LARGE);
    }
    let bytes = timeout(limits.body_timeout, collect(body, hub)).await.map_err(|_| TOO_SLOW)??;
    let text = bytes.trim_ascii();
    if text.first() == Some(&b'{') {
        return serde_json::from_slice(text).map_err(|_| INVALID_JSON);
    }
    if !text.is_empty() {
        serde_json::from_slice::<IgnoredAny>(text).map_err(|_| INVALID_JSON)?;
    }
    match text {
        b"null" => Err(INVALID_JSON),
        _ => serde_json::from_str("{}").map_err(|_| INVALID_JSON),
    }
}

async fn collect(mut body: Incoming, hub: &Hub) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut held = Reservation::new(hub);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BROKEN)?.into_data() else { continue };
        if bytes.len() + data.len() > hub.config().limits.max_frame_bytes {
            drop((bytes, held));
            drain(body).await;
            return Err(TOO_LARGE);
        }
        if !held.resize(bytes.len() + data.len()) {
            return Err(FULL);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Reads the rest of a body and forgets it.
async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DRAIN, rest).await;
}
