//! What happens in the background, handed to JavaScript in batches: one wake-up for any number of
//! events, and no object or promise made per event.

use std::sync::{Mutex, MutexGuard, PoisonError};

use napi::Status;
use napi::bindgen_prelude::{Array, BufferSlice, Env, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use stvor_client::{Error, Events, Receipt, Received, Sent, SentStatus};

use crate::error::pack;

/// Calls the facade without arguments. Weak: the facade decides how long the process lives.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Kinds of event in the array of [`Queue::take`]; `lib/link.js` reads it.
const MESSAGE: u32 = 0;
const SENT: u32 = 1;
const FAILED: u32 = 2;
const ERROR: u32 = 3;

enum Event {
    Message { client: i64, message: Received },
    Sent { number: i64, sent: Sent },
    Failed { number: i64, error: Error },
    Error { client: i64, error: Error },
}

/// The events of one app that JavaScript has not taken yet.
pub(crate) struct Queue {
    events: Mutex<Vec<Event>>,
    wake: Wake,
}

impl Queue {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { events: Mutex::default(), wake }
    }

    /// Settles send `number`.
    pub(crate) fn settle(&self, number: i64, outcome: std::result::Result<Sent, Error>) {
        self.push([match outcome {
            Ok(sent) => Event::Sent { number, sent },
            Err(error) => Event::Failed { number, error },
        }]);
    }

    /// Wakes JavaScript only when nothing waits yet: it always takes everything.
    fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.lock();
        let had_none = waiting.is_empty();
        waiting.extend(events);
        let wakes = had_none && !waiting.is_empty();
        drop(waiting);
        if wakes {
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits, as one flat array: a kind, then as many values as the kind has.
    pub(crate) fn take<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        let events = std::mem::take(&mut *self.lock());
        let mut out = Flat { env, array: env.create_array(0)?, length: 0 };
        for event in events {
            out.event(event)?;
        }
        Ok(out.array)
    }
}

struct Flat<'env> {
    env: &'env Env,
    array: Array<'env>,
    length: u32,
}

impl Flat<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Message { client, message } => self.message(client, message),
            Event::Sent { number, sent } => {
                self.head(SENT, number)?;
                self.push(sent.id)?;
                self.push(status(sent.status))
            }
            Event::Failed { number, error } => {
                self.head(FAILED, number)?;
                self.push(pack(&error))
            }
            Event::Error { client, error } => {
                self.head(ERROR, client)?;
                self.push(pack(&error))
            }
        }
    }

    fn message(&mut self, client: i64, message: Received) -> Result<()> {
        self.head(MESSAGE, client)?;
        self.push(message.id)?;
        self.push(message.sender_id)?;
        match std::str::from_utf8(&message.content.bytes) {
            Ok(text) => self.push(text)?,
            Err(_) => {
                self.push(BufferSlice::copy_from(self.env, message.content.bytes.as_slice())?)?
            }
        }
        self.push(message.timestamp_ms as f64)
    }

    fn head(&mut self, kind: u32, number: i64) -> Result<()> {
        self.push(kind)?;
        self.push(number)
    }

    fn push<T: napi::bindgen_prelude::ToNapiValue>(&mut self, value: T) -> Result<()> {
        self.array.set(self.length, value)?;
        self.length += 1;
        Ok(())
    }
}

fn status(status: SentStatus) -> &'static str {
    match status {
        SentStatus::Delivered => "delivered",
        SentStatus::Queued => "queued",
        SentStatus::Sent => "sent",
        SentStatus::Received => "received",
    }
}

/// The events of one client, numbered by the facade.
pub(crate) struct ClientEvents {
    pub(crate) client: i64,
    pub(crate) queue: std::sync::Arc<Queue>,
}

impl Events for ClientEvents {
    fn messages(&self, batch: Vec<Received>) {
        let client = self.client;
        self.queue.push(batch.into_iter().map(|message| Event::Message { client, message }));
    }

    fn receipts(&self, _: Vec<Receipt>) {}

    fn error(&self, error: Error) {
        self.queue.push([Event::Error { client: self.client, error }]);
    }
}
