//! Runs schedules of the simulation and says what they found.
//!
//! `simulate --schedules 10000 [--first 0]`; with `SIM_SEED=7` in the environment it runs that one
//! schedule. Exits with 1 at the first violation, naming the seed that finds it again.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use stvor_client::simulation::{Outcome, run};

fn main() -> ExitCode {
    let (first, schedules) = match asked() {
        Ok(asked) => asked,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let (next, failed) = (AtomicU64::new(first), Mutex::new(None));
    let total = Mutex::new(Outcome::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&next, first.saturating_add(schedules), &failed, &total));
        }
    });
    if let Some((seed, what)) = failed.into_inner().ok().flatten() {
        eprintln!("SIM_SEED={seed}: {what}");
        return ExitCode::FAILURE;
    }
    let Outcome { sent, accepted, crashes, resets } = total.into_inner().unwrap_or_default();
    println!(
        "{schedules} schedules from seed {first}: {sent} sends, {accepted} accepted, all of them \
         delivered once and in order; {crashes} crashes, {resets} disks set back; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

type Failure = Mutex<Option<(u64, String)>>;

fn work(next: &AtomicU64, end: u64, failed: &Failure, total: &Mutex<Outcome>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || failed.lock().is_ok_and(|failed| failed.is_some()) {
            return;
        }
        match run(seed) {
            Ok(outcome) => {
                if let Ok(mut total) = total.lock() {
                    *total += outcome;
                }
            }
            Err(violation) => {
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert((seed, violation.to_string()));
                }
            }
        }
    }
}

/// The first seed and how many.
fn asked() -> Result<(u64, u64), String> {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return seed.parse().map(|seed| (seed, 1)).map_err(|_| "SIM_SEED is a number".to_owned());
    }
    let (mut first, mut schedules) = (0, 10_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (name.as_str(), value) {
            ("--schedules", Some(value)) => schedules = value,
            ("--first", Some(value)) => first = value,
            _ => return Err("usage: simulate [--schedules <number>] [--first <seed>]".to_owned()),
        }
    }
    Ok((first, schedules))
}
