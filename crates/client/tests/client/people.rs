//! Users for tests: a client, and what it was told.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stvor_client::{
    App, Client, Config, Content, Error, Events, Receipt, Received, SendOptions, Sent, Stores,
};
use tokio::sync::{mpsc, oneshot};

pub(crate) fn config(url: &str) -> Config {
    Config {
        app_token: "stvor_test".into(),
        relay_url: url.into(),
        timeout: Duration::from_secs(10),
        poll_interval: Duration::from_millis(20),
        ca: None,
        legacy_peers: stvor_client::LegacyPeers::Allow,
    }
}

pub(crate) async fn open(url: &str) -> App {
    App::open(config(url)).await.unwrap()
}

pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) messages: mpsc::UnboundedReceiver<Received>,
    pub(crate) receipts: mpsc::UnboundedReceiver<Receipt>,
    pub(crate) errors: mpsc::UnboundedReceiver<Error>,
}

/// Whoever does not listen.
pub(crate) struct Deaf;

impl Events for Deaf {
    fn messages(&self, _: Vec<Received>) {}
    fn receipts(&self, _: Vec<Receipt>) {}
    fn error(&self, _: Error) {}
}

struct Ears {
    messages: mpsc::UnboundedSender<Received>,
    receipts: mpsc::UnboundedSender<Receipt>,
    errors: mpsc::UnboundedSender<Error>,
}

impl Events for Ears {
    fn messages(&self, batch: Vec<Received>) {
        batch.into_iter().for_each(|message| drop(self.messages.send(message)));
    }

    fn receipts(&self, batch: Vec<Receipt>) {
        batch.into_iter().for_each(|receipt| drop(self.receipts.send(receipt)));
    }

    fn error(&self, error: Error) {
        drop(self.errors.send(error));
    }
}

impl Person {
    pub(crate) async fn join(app: &App, user_id: &str) -> Self {
        Self::join_with(app, user_id, Stores::memory()).await
    }

    pub(crate) async fn join_with(app: &App, user_id: &str, stores: Stores) -> Self {
        let (message_sender, messages) = mpsc::unbounded_channel();
        let (receipt_sender, receipts) = mpsc::unbounded_channel();
        let (error_sender, errors) = mpsc::unbounded_channel();
        let ears =
            Ears { messages: message_sender, receipts: receipt_sender, errors: error_sender };
        let client = app.connect(user_id, stores, Arc::new(ears)).await.unwrap();
        Self { client, messages, receipts, errors }
    }

    /// Enqueued by the call itself, not by the first poll.
    pub(crate) fn send(
        &self,
        to: &str,
        text: &str,
    ) -> impl Future<Output = Result<Sent, Error>> + use<> {
        self.send_with(to, text, SendOptions::default())
    }

    pub(crate) fn send_with(
        &self,
        to: &str,
        text: &str,
        options: SendOptions,
    ) -> impl Future<Output = Result<Sent, Error>> + use<> {
        let (done, outcome) = oneshot::channel();
        self.client.send(to.into(), Content::text(text.to_owned()), options, move |sent| {
            drop(done.send(sent))
        });
        async { outcome.await.unwrap() }
    }

    /// The next message, handled: sender and text.
    pub(crate) async fn next(&mut self) -> (String, String) {
        let message = soon(self.messages.recv()).await;
        self.client.handled(vec![(message.sender_id.clone(), message.ticket)]);
        (message.sender_id, String::from_utf8(message.content.as_bytes().to_vec()).unwrap())
    }

    /// The next receipt for something that this user has sent.
    pub(crate) async fn receipt(&mut self) -> Receipt {
        soon(self.receipts.recv()).await
    }

    pub(crate) async fn error(&mut self) -> Error {
        soon(self.errors.recv()).await
    }
}

async fn soon<T>(next: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap()
}
