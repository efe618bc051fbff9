//! Short connections beside the one that serves: to see whom a relay knows, and to leave it.
//!
//! Relays other than ours tell of known users only when a connection begins, and believe a user
//! gone only when the user's connection is. Closing the one that serves would lose what arrives
//! meanwhile; a second one disturbs nobody.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use stvor_wire::ClientFrame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::socket::{self, Established, Known};
use crate::config::Checked;

/// How to reach the relay.
pub(super) struct Way {
    pub(super) url: Url,
    pub(super) config: Arc<Checked>,
    pub(super) connector: Connector,
}

/// Hands `found` everybody whom the relay knows. A relay that cannot be reached is met again by
/// the connection that serves.
pub(super) fn look(way: Way, found: mpsc::UnboundedSender<Known>) {
    tokio::spawn(async move {
        let Way { url, config, connector } = way;
        if let Ok(mut aside) = socket::establish(&url, &config, &connector).await {
            let _link_gone = found.send(std::mem::take(&mut aside.known));
            let _gone_anyway = timeout(config.timeout, aside.writer.close()).await;
        }
    });
}

/// Takes a user along: announces them on a connection of their own, which takes over, and closes
/// it. `done` is dropped or sent when that is over.
pub(super) fn leave(way: Way, announce: ClientFrame, done: oneshot::Sender<()>) {
    tokio::spawn(async move {
        let Way { url, config, connector } = way;
        let Ok(aside) = socket::establish(&url, &config, &connector).await else { return };
        let Established { mut writer, mut reader, .. } = aside;
        let Ok(text) = serde_json::to_string(&announce) else { return };
        let taken_along = async {
            writer.send(Message::text(text)).await?;
            writer.close().await?;
            while let Some(Ok(_)) = reader.next().await {}
            Ok::<(), tokio_tungstenite::tungstenite::Error>(())
        };
        let _best_effort = timeout(config.timeout, taken_along).await;
        let _nobody_waits = done.send(());
    });
}
