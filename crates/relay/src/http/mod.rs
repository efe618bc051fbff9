//! HTTP on the relay's port: the original's HTTP relay and its mock relay's few endpoints.

mod answer;
mod body;
mod inbox;
mod project;
mod routes;

use std::time::{Duration, UNIX_EPOCH};

pub(crate) use answer::{Answer, Failure, bare};
pub(crate) use routes::answer;

/// UTC with milliseconds, as JavaScript writes it.
fn iso8601(milliseconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
    time.map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}
