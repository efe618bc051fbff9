//! What happens in the background, handed to JavaScript in batches: one wake-up for any number of
//! events, and no object or promise made per event.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::Status;
use napi::bindgen_prelude::{Array, BufferSlice, Env, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use stvor_client::{ContentKind, Error, Events, IdentityChange, Receipt, Received, Sent};

use crate::content::number_of;
use crate::error::pack;

/// Calls the facade without arguments. Weak: the facade decides how long the process lives.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Kinds of event in the array of [`Queue::take`]; `lib/link.js` reads it.
const MESSAGE: u32 = 0;
const SENT: u32 = 1;
const FAILED: u32 = 2;
const ERROR: u32 = 3;
const RECEIPT: u32 = 4;
const STORE: u32 = 5;
const IDENTITY: u32 = 6;

enum Event {
    Message { client: i64, message: Received },
    Sent { number: i64, sent: Sent },
    Failed { number: i64, error: Error },
    Error { client: i64, error: Error },
    Receipt { client: i64, receipt: Receipt },
    Identity { client: i64, change: Box<IdentityChange> },
    Store { number: i64, request: StoreRequest },
}

/// What a store written in JavaScript is asked.
pub(crate) struct StoreRequest {
    /// Which method; `stores.rs` numbers them.
    pub(crate) operation: u32,
    pub(crate) user_id: String,
    /// Peers, and what is said about each.
    pub(crate) rows: Vec<(String, StoreValue)>,
}

pub(crate) enum StoreValue {
    Nothing,
    Text(String),
    Bytes(Vec<u8>),
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

    /// Asks a store; the answer comes to [`JsStores`](crate::stores::JsStores) under `number`.
    pub(crate) fn ask_store(&self, number: i64, request: StoreRequest) {
        self.push([Event::Store { number, request }]);
    }

    /// Wakes JavaScript only when nothing waits yet: it always takes everything.
    fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = lock(&self.events);
        let had_none = waiting.is_empty();
        waiting.extend(events);
        let wakes = had_none && !waiting.is_empty();
        drop(waiting);
        if wakes {
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Everything that waits, as one flat array: a kind, then as many values as the kind has.
    pub(crate) fn take<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        let events = std::mem::take(&mut *lock(&self.events));
        let mut out = Flat { env, array: env.create_array(0)?, length: 0 };
        for event in events {
            out.event(event)?;
        }
        Ok(out.array)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
                self.push(sent.status.as_str())
            }
            Event::Failed { number, error } => {
                self.head(FAILED, number)?;
                self.push(pack(&error))
            }
            Event::Error { client, error } => {
                self.head(ERROR, client)?;
                self.push(pack(&error))
            }
            Event::Receipt { client, receipt } => {
                self.head(RECEIPT, client)?;
                self.push(receipt.id)?;
                self.push(receipt.recipient_id)
            }
            Event::Identity { client, change } => {
                let IdentityChange { peer_id, previous, identity } = *change;
                self.head(IDENTITY, client)?;
                self.push(peer_id)?;
                self.push(previous.map(|previous| previous.fingerprint()))?;
                self.push(identity.fingerprint())?;
                self.push(BufferSlice::copy_from(self.env, identity.as_bytes())?)
            }
            Event::Store { number, request } => self.store(number, request),
        }
    }

    fn message(&mut self, client: i64, message: Received) -> Result<()> {
        let Received { id, sender_id, content, ticket: _, timestamp_ms } = message;
        self.head(MESSAGE, client)?;
        self.push(id)?;
        self.push(sender_id)?;
        self.push(number_of(content.kind()))?;
        match content.kind() {
            ContentKind::Text => self.push(&*String::from_utf8_lossy(content.as_bytes()))?,
            ContentKind::Bytes | ContentKind::Cbor => {
                self.push(BufferSlice::copy_from(self.env, content.as_bytes())?)?
            }
        }
        self.push(timestamp_ms as f64)
    }

    fn store(&mut self, number: i64, request: StoreRequest) -> Result<()> {
        let StoreRequest { operation, user_id, rows } = request;
        self.head(STORE, number)?;
        self.push(operation)?;
        self.push(user_id)?;
        let mut flat = Flat { env: self.env, array: self.env.create_array(0)?, length: 0 };
        for (peer_id, value) in rows {
            flat.push(peer_id)?;
            match value {
                StoreValue::Nothing => flat.push(())?,
                StoreValue::Text(text) => flat.push(text)?,
                StoreValue::Bytes(bytes) => flat.push(BufferSlice::copy_from(self.env, &bytes)?)?,
            }
        }
        self.push(flat.array)
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

/// The events of one client, numbered by the facade.
pub(crate) struct ClientEvents {
    client: i64,
    pub(crate) queue: Arc<Queue>,
    /// Sender and ticket of the messages that JavaScript has not handled, in the order in which it
    /// takes them: it counts, and knows neither.
    unhandled: Mutex<VecDeque<(String, u64)>>,
    wants_receipts: AtomicBool,
}

impl ClientEvents {
    pub(crate) fn new(client: i64, queue: Arc<Queue>) -> Self {
        Self { client, queue, unhandled: Mutex::default(), wants_receipts: AtomicBool::new(true) }
    }

    /// Whether JavaScript has anybody to tell of receipts.
    pub(crate) fn want_receipts(&self, wanted: bool) {
        self.wants_receipts.store(wanted, Ordering::Relaxed);
    }

    /// Sender and ticket of the next `count` messages, which are handled now.
    pub(crate) fn next_handled(&self, count: u32) -> Vec<(String, u64)> {
        let mut unhandled = lock(&self.unhandled);
        let count = unhandled.len().min(count as usize);
        unhandled.drain(..count).collect()
    }
}

impl Events for ClientEvents {
    fn messages(&self, batch: Vec<Received>) {
        let tickets = batch.iter().map(|message| (message.sender_id.clone(), message.ticket));
        lock(&self.unhandled).extend(tickets);
        let client = self.client;
        self.queue.push(batch.into_iter().map(|message| Event::Message { client, message }));
    }

    fn receipts(&self, batch: Vec<Receipt>) {
        let client = self.client;
        self.queue.push(batch.into_iter().map(|receipt| Event::Receipt { client, receipt }));
    }

    fn wants_receipts(&self) -> bool {
        self.wants_receipts.load(Ordering::Relaxed)
    }

    fn error(&self, error: Error) {
        self.queue.push([Event::Error { client: self.client, error }]);
    }

    fn identity_changed(&self, change: IdentityChange) {
        let change = Box::new(change);
        self.queue.push([Event::Identity { client: self.client, change }]);
    }
}
