//! Log events that JavaScript has not taken yet: a bounded number, with one wake-up for all.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Array, Env, Object, Result};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;

use crate::events::Wake;

/// Events that wait at most. While JavaScript is busy those that follow are dropped, and counted.
const MOST: usize = 1024;

/// One event.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) level: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
pub(crate) enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Wake,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    dropped: u32,
}

impl Queue {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { waiting: Mutex::default(), wake }
    }

    /// Wakes JavaScript only when nothing waits yet: it always takes everything.
    pub(crate) fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.entries.len() == MOST {
            waiting.dropped += 1;
            return;
        }
        let wakes = waiting.entries.is_empty();
        waiting.entries.push_back(entry);
        drop(waiting);
        if wakes {
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    pub(crate) fn take<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        let Waiting { entries, dropped } = std::mem::take(&mut *self.lock());
        let dropped = (dropped > 0).then(|| Entry {
            level: "warn",
            message: "log events dropped".to_owned(),
            fields: vec![("count", Value::Number(dropped.into()))],
        });
        let mut array = env.create_array(0)?;
        for (at, entry) in (0..).step_by(3).zip(entries.into_iter().chain(dropped)) {
            array.set(at, entry.level)?;
            array.set(at + 1, entry.message)?;
            array.set(at + 2, fields(env, entry.fields)?)?;
        }
        Ok(array)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fields<'env>(env: &'env Env, fields: Vec<(&'static str, Value)>) -> Result<Object<'env>> {
    let mut object = Object::new(env)?;
    for (name, value) in fields {
        match value {
            Value::Number(number) => object.set(name, number)?,
            Value::Bool(bool) => object.set(name, bool)?,
            Value::Text(text) => object.set(name, text)?,
        }
    }
    Ok(object)
}

/// As one line. Text is quoted: peers choose their names, and a line feed in one must not be the
/// beginning of another event.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, message, fields } = self;
        write!(f, "{level:5} {message}")?;
        fields.iter().try_for_each(|(name, value)| match value {
            Value::Number(number) => write!(f, " {name}={number}"),
            Value::Bool(bool) => write!(f, " {name}={bool}"),
            Value::Text(text) => write!(f, " {name}={text:?}"),
        })
    }
}
