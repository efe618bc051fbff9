//! Runs schedules of the simulation and says what they found.
//!
//! `simulate --schedules 10000 [--first 0]`; with `SIM_SEED=7` in the environment it runs that one
//! schedule, and with `SIM_LOG=1` besides it tells on standard error what happens in it. With
//! `--clocks wrong` the clocks of users who lose their records may go wrong at the same time, which
//! docs/PROTOCOL.md (26.1, "Limits") does not promise to be harmless. Exits with 1 at the first
//! violation, naming the seed that finds it again.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use stvor_client::simulation::{Outcome, Violation, replay, run};

fn main() -> ExitCode {
    let (first, schedules, wrong_clocks) = match asked() {
        Ok(asked) => asked,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    if schedules == 1 && std::env::var_os("SIM_LOG").is_some() {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        log.with_ansi(false).without_time().with_writer(std::io::stderr).init();
    }
    let start = Instant::now();
    let (next, failed) = (AtomicU64::new(first), Mutex::new(None));
    let total = Mutex::new(Outcome::default());
    let end = first.saturating_add(schedules);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&next, end, wrong_clocks, &failed, &total));
        }
    });
    if let Some((seed, what)) = failed.into_inner().ok().flatten() {
        eprintln!("SIM_SEED={seed}: {what}");
        return ExitCode::FAILURE;
    }
    let Outcome { sent, accepted, crashes, resets, trace } = total.into_inner().unwrap_or_default();
    println!(
        "{schedules} schedules from seed {first}: {sent} sends, {accepted} accepted, all of them \
         delivered once and in order; {crashes} crashes, {resets} disks set back; trace {trace:016x}; \
         {:.1} s",
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

type Failure = Mutex<Option<(u64, String)>>;

fn work(next: &AtomicU64, end: u64, wrong_clocks: bool, failed: &Failure, total: &Mutex<Outcome>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || failed.lock().is_ok_and(|failed| failed.is_some()) {
            return;
        }
        match run_one(seed, wrong_clocks) {
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

/// Every hundredth schedule is run twice, unless it is to tell what happens.
fn run_one(seed: u64, wrong_clocks: bool) -> Result<Outcome, Violation> {
    let outcome = run(seed, wrong_clocks)?;
    if seed.is_multiple_of(100) && std::env::var_os("SIM_LOG").is_none() {
        replay(seed, wrong_clocks, &outcome)?;
    }
    Ok(outcome)
}

/// The first seed, how many, and whether clocks may go wrong.
fn asked() -> Result<(u64, u64, bool), String> {
    const USAGE: &str = "usage: simulate [--schedules <number>] [--first <seed>] [--clocks wrong]";
    let (mut first, mut schedules, mut wrong_clocks) = (0, 10_000, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (name.as_str(), value.as_str(), value.parse().ok()) {
            ("--clocks", "wrong", _) => wrong_clocks = true,
            ("--schedules", _, Some(value)) => schedules = value,
            ("--first", _, Some(value)) => first = value,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if let Ok(seed) = std::env::var("SIM_SEED") {
        first = seed.parse().map_err(|_| "SIM_SEED is a number".to_owned())?;
        schedules = 1;
    }
    Ok((first, schedules, wrong_clocks))
}
