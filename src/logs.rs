//! Log events on their way to an application: to the `logger` of the app that they belong to, and
//! to stderr if `STVOR_LOG` asks for it.
//!
//! `tracing` has one subscriber in a process. Ours is set when somebody asks for the first time, so
//! that nobody else pays for it, and serves every thread that has loaded the addon. Events happen
//! in the span of their app ([`span`]), whose number finds the logger.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Once, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use napi::bindgen_prelude::{Array, Env, Result};
use napi_derive::napi;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Span, Subscriber, error_span};
use tracing_core::span::Current;

use crate::events::Wake;
use crate::log_queue::{Entry, Queue, Value};

/// Least to most verbose; the facade numbers them.
const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

static LOGS: LazyLock<Logs> = LazyLock::new(Logs::default);
/// Of any span: no more is known of one than its id.
static SPAN: OnceLock<&'static Metadata<'static>> = OnceLock::new();
static SUBSCRIBED: Once = Once::new();
static APPS: AtomicU32 = AtomicU32::new(1);

thread_local! {
    /// The spans that the thread is in.
    static WITHIN: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// Does something with the spans that the thread is in. Tasks may be dropped when it has none any
/// more, at the end of the process.
fn within<T>(what: impl FnOnce(&mut Vec<Place>) -> T) -> Option<T> {
    WITHIN.try_with(|spans| what(&mut spans.borrow_mut())).ok()
}

#[derive(Default)]
struct Logs {
    /// By the number of the app.
    loggers: RwLock<HashMap<u32, Arc<Logger>>>,
    /// How many of [`LEVELS`] are printed.
    printed: AtomicUsize,
    /// How many of them anybody wants.
    wanted: AtomicUsize,
}

struct Logger {
    level: Level,
    queue: Queue,
}

/// An app and one of its users; the id of a span is nothing else, so that spans need no registry.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    app: u32,
    client: u32,
}

impl Place {
    fn id(self) -> Id {
        // No span has the id 0, and no app this number.
        let app = if self.app == 0 { u32::MAX } else { self.app };
        Id::from_u64(u64::from(app) << 32 | u64::from(self.client))
    }

    fn of(id: &Id) -> Self {
        let (id, mask) = (id.into_u64(), u64::from(u32::MAX));
        let app = (id >> 32) as u32;
        Self { app: if app == u32::MAX { 0 } else { app }, client: (id & mask) as u32 }
    }

    fn current() -> Self {
        within(|spans| spans.last().copied()).flatten().unwrap_or_default()
    }
}

impl Logs {
    /// Who wants what has changed.
    fn changed(&'static self) {
        // For writing: whoever comes last must have seen everything.
        let loggers = self.loggers.write().unwrap_or_else(PoisonError::into_inner);
        let levels = loggers.values().map(|logger| count_of(logger.level));
        let printed = self.printed.load(Ordering::Relaxed);
        self.wanted.store(levels.max().unwrap_or(0).max(printed), Ordering::Relaxed);
        drop(loggers);
        SUBSCRIBED.call_once(|| {
            // Refused if the process has one already; it then gets the events instead of us.
            let _refused = tracing::subscriber::set_global_default(ToLogs);
        });
        tracing_core::callsite::rebuild_interest_cache();
    }

    fn logger_of(&self, app: u32) -> Option<Arc<Logger>> {
        self.loggers.read().unwrap_or_else(PoisonError::into_inner).get(&app).cloned()
    }
}

/// How many of [`LEVELS`] a level takes in.
fn count_of(level: Level) -> usize {
    LEVELS.iter().take_while(|other| **other <= level).count()
}

fn level_at(number: u32) -> Level {
    LEVELS.get(number as usize).copied().unwrap_or(Level::TRACE)
}

struct ToLogs;

impl Subscriber for ToLogs {
    /// Only what this project says of itself: libraries write down requests whole, tokens included.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = LOGS.wanted.load(Ordering::Relaxed);
        metadata.target().starts_with("stvor") && count_of(*metadata.level()) <= wanted
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let wanted = LOGS.wanted.load(Ordering::Relaxed);
        let most = wanted.checked_sub(1).and_then(|at| LEVELS.get(at));
        Some(most.copied().map_or(LevelFilter::OFF, LevelFilter::from_level))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        SPAN.get_or_init(|| attributes.metadata());
        let mut place = match attributes.parent() {
            Some(parent) => Place::of(parent),
            None if attributes.is_root() => Place::default(),
            None => Place::current(),
        };
        attributes.record(&mut place);
        place.id()
    }

    /// What tasks take along that are begun within a span.
    fn current_span(&self) -> Current {
        match (within(|spans| spans.last().copied()).flatten(), SPAN.get()) {
            (Some(place), Some(metadata)) => Current::new(place.id(), metadata),
            _ => Current::none(),
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let place = Place::current();
        let logger = LOGS.logger_of(place.app).filter(|logger| level <= logger.level);
        let printed = count_of(level) <= LOGS.printed.load(Ordering::Relaxed);
        if logger.is_none() && !printed {
            return;
        }
        let mut entry = Entry { level: level_name(level), ..Entry::default() };
        event.record(&mut Reader(&mut entry));
        for (name, number) in [("app", place.app), ("client", place.client)] {
            if number != 0 {
                entry.fields.push((name, Value::Number(number.into())));
            }
        }
        if printed {
            print(&entry);
        }
        if let Some(logger) = logger {
            logger.queue.push(entry);
        }
    }

    fn enter(&self, span: &Id) {
        within(|spans| spans.push(Place::of(span)));
    }

    fn exit(&self, _: &Id) {
        within(Vec::pop);
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

impl Visit for Place {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = u32::try_from(value).unwrap_or(u32::MAX - 1);
        match field.name() {
            "app" => self.app = value,
            "client" => self.client = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

struct Reader<'a>(&'a mut Entry);

impl Reader<'_> {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.fields.push((field.name(), value));
    }
}

impl Visit for Reader<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Number(value as f64));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Number(value as f64));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Number(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.message = format!("{value:?}"),
            _ => self.add(field, Value::Text(format!("{value:?}"))),
        }
    }
}

/// One line on stderr, or none: nobody is to be held up by a log that cannot be written.
fn print(entry: &Entry) {
    let mut line = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let _infallible = writeln!(line, " {entry}");
    let _unwritten = std::io::stderr().lock().write_all(line.as_bytes());
}

/// The span of an app; without a logger it gets a number that only tells it from others.
pub(crate) fn span(logger: Option<u32>) -> Span {
    let number = logger.unwrap_or_else(|| APPS.fetch_add(1, Ordering::Relaxed));
    error_span!(target: "stvor", "app", app = number)
}

/// Prints events up to level `level` of the facade's on stderr, from now on, for the whole process.
#[napi(catch_unwind)]
pub fn log_to_stderr(level: u32) {
    let before = LOGS.printed.fetch_max(count_of(level_at(level)), Ordering::Relaxed);
    if before < LOGS.printed.load(Ordering::Relaxed) {
        LOGS.changed();
    }
}

/// Takes in the events of one app, for as long as it is not closed.
#[napi]
pub struct NativeLogger {
    app: u32,
    logger: Arc<Logger>,
}

#[napi]
impl NativeLogger {
    /// For events up to `level`; `wake` is called when there are any to take.
    #[napi(constructor, catch_unwind)]
    pub fn new(level: u32, wake: Wake) -> Self {
        let app = APPS.fetch_add(1, Ordering::Relaxed);
        let logger = Arc::new(Logger { level: level_at(level), queue: Queue::new(wake) });
        let mut loggers = LOGS.loggers.write().unwrap_or_else(PoisonError::into_inner);
        loggers.insert(app, logger.clone());
        drop(loggers);
        LOGS.changed();
        Self { app, logger }
    }

    /// What [`NativeApp::open`](crate::app::NativeApp::open) is to be given.
    #[napi(getter, catch_unwind)]
    pub fn number(&self) -> u32 {
        self.app
    }

    /// The events since the last call: level, message and fields of each, in one flat array.
    #[napi(catch_unwind, ts_return_type = "unknown[]")]
    pub fn take<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        self.logger.queue.take(env)
    }

    /// Takes in nothing from now on.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let mut loggers = LOGS.loggers.write().unwrap_or_else(PoisonError::into_inner);
        let known = loggers.remove(&self.app);
        drop(loggers);
        if known.is_some() {
            LOGS.changed();
        }
    }
}

impl Drop for NativeLogger {
    fn drop(&mut self) {
        self.close();
    }
}
