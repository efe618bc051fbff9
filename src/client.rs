//! One connected user.

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::Result;
use napi_derive::napi;
use stvor_client::{Client, Content, SendOptions};
use stvor_protocol::IdentityKey;
use zeroize::Zeroizing;

use crate::content::kind_of;
use crate::error::{invalid_argument, to_js};
use crate::events::ClientEvents;
use crate::safety_number::NativeSafetyNumber;

/// How one message is sent; times in milliseconds.
#[napi(object, object_to_js = false)]
pub struct NativeSendOptions {
    pub timeout_ms: Option<u32>,
    pub wait_for_recipient: bool,
    pub receipt: bool,
}

#[napi]
pub struct NativeClient {
    client: Client,
    events: Arc<ClientEvents>,
}

impl NativeClient {
    pub(crate) fn new(client: Client, events: Arc<ClientEvents>) -> Self {
        Self { client, events }
    }
}

#[napi]
impl NativeClient {
    /// Lower-case hex SHA-256 of the identity key.
    #[napi(catch_unwind)]
    pub fn fingerprint(&self) -> String {
        self.client.fingerprint().to_owned()
    }

    /// Enqueues a message at once; an event of the app settles send `number` later. `kind` is that
    /// of `content.rs`.
    #[napi(catch_unwind)]
    pub fn send(
        &self,
        number: i64,
        to: String,
        kind: u32,
        content: &[u8],
        options: NativeSendOptions,
    ) -> Result<()> {
        let kind = kind_of(kind).ok_or_else(|| invalid_argument("content", "of no known kind"))?;
        // Copied here, on the JS thread: the caller may reuse its buffer once this returns.
        let content = Content::new(kind, Zeroizing::new(content.to_vec()));
        let NativeSendOptions { timeout_ms, wait_for_recipient, receipt } = options;
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let options = SendOptions { timeout, wait_for_recipient, receipt };
        let queue = self.events.queue.clone();
        self.client.send(to, content, options, move |outcome| queue.settle(number, outcome));
        Ok(())
    }

    /// Says that the handlers of the next `count` messages have completed, in the order in which
    /// the messages were taken.
    #[napi(catch_unwind)]
    pub fn handled(&self, count: u32) {
        self.client.handled(self.events.next_handled(count));
    }

    /// Whether receipts are to become events. They do until this is called.
    #[napi(catch_unwind)]
    pub fn want_receipts(&self, wanted: bool) {
        self.events.want_receipts(wanted);
    }

    #[napi]
    pub async fn wait_for_user(&self, user_id: String, timeout_ms: u32) -> Result<bool> {
        let timeout = Duration::from_millis(timeout_ms.into());
        self.client.wait_for_user(&user_id, timeout).await.map_err(to_js)
    }

    /// Of the accepted identity of `peer_id`, which is looked up if it is not known.
    #[napi]
    pub async fn safety_number(&self, peer_id: String) -> Result<NativeSafetyNumber> {
        let (number, theirs) = self.client.safety_number(&peer_id).await.map_err(to_js)?;
        Ok(NativeSafetyNumber::new(number, &theirs))
    }

    /// Of any identity key, as an event of a change carries it.
    #[napi(catch_unwind)]
    pub fn safety_number_with(&self, peer_id: String, key: &[u8]) -> Result<NativeSafetyNumber> {
        let theirs =
            IdentityKey::parse(key).map_err(|error| invalid_argument("identityKey", error))?;
        let number = self.client.safety_number_with(&peer_id, &theirs);
        Ok(NativeSafetyNumber::new(number, &theirs))
    }

    #[napi]
    pub async fn disconnect(&self) {
        self.client.disconnect().await;
    }
}
