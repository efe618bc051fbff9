//! One connected user.

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::Result;
use napi_derive::napi;
use stvor_client::{Client, Content, ContentKind, SendOptions};
use zeroize::Zeroizing;

use crate::error::to_js;
use crate::events::Queue;

#[napi]
pub struct NativeClient {
    client: Client,
    queue: Arc<Queue>,
}

impl NativeClient {
    pub(crate) fn new(client: Client, queue: Arc<Queue>) -> Self {
        Self { client, queue }
    }
}

#[napi]
impl NativeClient {
    /// Lower-case hex SHA-256 of the identity key.
    #[napi(catch_unwind)]
    pub fn fingerprint(&self) -> String {
        self.client.fingerprint().to_owned()
    }

    /// Enqueues a message at once; an event of the app settles send `number` later.
    #[napi(catch_unwind)]
    pub fn send(
        &self,
        number: i64,
        to: String,
        content: &[u8],
        timeout_ms: Option<u32>,
        wait_for_recipient: bool,
    ) {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let options = SendOptions { timeout, wait_for_recipient, receipt: false };
        let queue = self.queue.clone();
        // Copied here, on the JS thread: the caller may reuse its buffer once this returns.
        let bytes = Zeroizing::new(content.to_vec());
        let kind =
            if str::from_utf8(&bytes).is_ok() { ContentKind::Text } else { ContentKind::Bytes };
        let content = Content { kind, bytes };
        self.client.send(to, content, options, move |outcome| queue.settle(number, outcome));
    }

    #[napi]
    pub async fn wait_for_user(&self, user_id: String, timeout_ms: u32) -> Result<bool> {
        let timeout = Duration::from_millis(timeout_ms.into());
        self.client.wait_for_user(&user_id, timeout).await.map_err(to_js)
    }

    #[napi]
    pub async fn disconnect(&self) {
        self.client.disconnect().await;
    }
}
