//! One schedule: what happens, drawn from a seed, and the pump that lets it happen.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::time::{Duration, Instant, sleep_until};
use tracing::debug;

use super::check::{self, Violation};
use super::party::{Outcome as Sent, Party};
use super::relay::{Manners, Relay};
use super::store::{Fault, Files};
use crate::clock::Clock;
use crate::link::Request;

/// Virtual time within which everything must have come to rest once the relay is honest: the
/// longest pause of a probe, several times over.
const REST: Duration = Duration::from_secs(2 * 60 * 60);

/// What clocks show at the beginning.
const START_MS: u64 = 1_790_000_000_000;

/// How far clocks go back, less than what peers take for nobody's clock.
const SET_BACK_MS: usize = 120_000;

/// What a schedule did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages sent, and of them those that the relay took.
    pub sent: usize,
    /// See `sent`.
    pub accepted: usize,
    /// Deaths of processes.
    pub crashes: usize,
    /// Records lost or brought back from an old copy.
    pub resets: usize,
    /// A fingerprint of every sealed message that was sent: the same each time that the schedule is run.
    pub trace: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.crashes += other.crashes;
        self.resets += other.resets;
        self.trace = self.trace.wrapping_add(other.trace);
    }
}

/// A send, in the order in which it was asked for.
pub(super) struct Attempt {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) text: String,
    pub(super) outcome: Arc<Sent>,
}

/// A party's records went back in time or were lost: before how many attempts.
pub(super) struct Reset {
    pub(super) party: usize,
    pub(super) at: usize,
    /// The party's clock went back with them.
    pub(super) clock_too: bool,
}

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { party, at, clock_too } = self;
        let clock = if *clock_too { " with its clock" } else { "" };
        write!(f, "party {party}{clock} before send {at}")
    }
}

pub(super) struct World {
    pub(super) parties: Vec<Party>,
    relay: Relay,
    random: ChaCha20Rng,
    /// Of each party.
    clocks: Vec<Clock>,
    /// Whether a clock may go wrong when its party loses its records.
    wrong_clocks: bool,
    backups: Vec<Option<Files>>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) resets: Vec<Reset>,
    crashes: usize,
}

/// Runs the schedule of `seed` to its end.
///
/// # Errors
///
/// The [`Violation`] found.
#[expect(clippy::missing_panics_doc, reason = "only where no runtime can be made")]
#[expect(clippy::unwrap_used, reason = "a simulation without a runtime has nothing to report")]
pub fn run(seed: u64, wrong_clocks: bool) -> Result<Outcome, Violation> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    // Made inside the runtime, whose time stands still: what a schedule does is to depend on its seed
    // alone, not on how long the keys of its parties took.
    runtime.block_on(async { World::new(seed, wrong_clocks).run().await })
}

/// Runs the schedule of `seed` again, of which `outcome` is known: a seed that does not do the same
/// each time cannot show again what it has found.
///
/// # Errors
///
/// The [`Violation`] found, or that something else has happened.
pub fn replay(seed: u64, wrong_clocks: bool, outcome: &Outcome) -> Result<(), Violation> {
    if run(seed, wrong_clocks)? == *outcome {
        return Ok(());
    }
    Err(Violation("it does something else each time".to_owned()))
}

impl World {
    fn new(seed: u64, wrong_clocks: bool) -> Self {
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let count = 2 + usize::from(random.next_u32().is_multiple_of(4));
        let names = ["alice", "bob", "carol"];
        let parties: Vec<Party> =
            names[..count].iter().map(|name| Party::new(name, &mut random)).collect();
        let manners = Manners::drawn(&mut random);
        let relay = Relay::new(manners, ChaCha20Rng::seed_from_u64(random.next_u64()));
        let clock = Clock::Virtual { start: Instant::now(), start_ms: START_MS };
        let clocks = vec![clock; parties.len()];
        let backups = parties.iter().map(|_| None).collect();
        let (attempts, resets) = (Vec::new(), Vec::new());
        let crashes = 0;
        Self { parties, relay, random, clocks, wrong_clocks, backups, attempts, resets, crashes }
    }

    async fn run(mut self) -> Result<Outcome, Violation> {
        for at in 0..self.parties.len() {
            self.start(at).await?;
        }
        let resets = self.random.next_u32().is_multiple_of(4);
        for _ in 0..10 + self.random.next_u32() % 30 {
            self.act(resets).await?;
            let pause = [0, 0, 1, 30, 400, 4000][self.random.next_u32() as usize % 6];
            self.pump(Instant::now() + Duration::from_millis(pause)).await;
        }
        self.come_to_rest().await?;
        self.say_goodbye();
        self.come_to_rest().await?;
        check::check(&self).map_err(|Violation(what)| {
            let resets: Vec<String> = self.resets.iter().map(Reset::to_string).collect();
            Violation(format!("{what}; went back: {}", resets.join(", ")))
        })?;
        let accepted =
            self.attempts.iter().filter(|a| a.outcome.accepted.load(Ordering::Relaxed)).count();
        let (sent, crashes, resets) = (self.attempts.len(), self.crashes, self.resets.len());
        for party in &mut self.parties {
            party.kill().await;
        }
        let trace = self.relay.trace();
        Ok(Outcome { sent, accepted, crashes, resets, trace })
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random.next_u32() as usize % below
    }

    async fn start(&mut self, at: usize) -> Result<(), Violation> {
        if self.parties[at].process.is_some() {
            return Ok(());
        }
        let peers: Vec<String> = self.parties.iter().map(|party| party.id.clone()).collect();
        let started = self.parties[at].start(self.clocks[at], &peers).await;
        started.map_err(|error| Violation(format!("{} cannot start: {error}", peers[at])))
    }

    /// Something happens to somebody.
    async fn act(&mut self, resets: bool) -> Result<(), Violation> {
        let at = self.draw(self.parties.len());
        // Of a party whose clock is wrong nothing more is taken: docs/PROTOCOL.md, 26.1, "Limits".
        let is_wrong = self.resets.iter().any(|reset| reset.party == at && reset.clock_too);
        let resets = resets && !is_wrong;
        match self.draw(20) {
            0..=10 => self.send(at),
            11 => {
                self.send(at);
                let faults =
                    [Fault::CrashBefore, Fault::CrashAfter, Fault::Error, Fault::ErrorAfter];
                let fault = faults[self.draw(4)];
                self.parties[at].disk.fail_next(fault);
            }
            12 => self.die(at).await,
            13 => self.offline(at),
            14 => self.relay.forget(),
            15 if resets => self.backups[at] = Some(self.parties[at].disk.backup()),
            16 if resets => self.go_back(at, 0).await,
            17 if resets && self.draw(3) == 0 => {
                self.backups[at] = Some(Files::new());
                let is_first = !self.resets.iter().any(|reset| reset.party == at);
                let may_go_wrong = usize::from(is_first && self.wrong_clocks);
                let set_back_ms = may_go_wrong * self.draw(2) * self.draw(SET_BACK_MS);
                self.go_back(at, set_back_ms as u64).await;
            }
            _ => {
                self.start(at).await?;
                let id = self.parties[at].id.clone();
                self.relay.reconnected(&id);
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize) {
        let others = self.parties.len() - 1;
        let to = (from + 1 + self.draw(others)) % self.parties.len();
        for _ in 0..=self.draw(4) {
            let receipt = self.draw(8) == 0;
            self.attempt(from, to, receipt);
        }
    }

    async fn die(&mut self, at: usize) {
        debug!(user = self.parties[at].id, "dies");
        self.crashes += usize::from(self.parties[at].process.is_some());
        self.parties[at].kill().await;
        let id = self.parties[at].id.clone();
        self.relay.absent(&id);
    }

    /// The connection breaks; the process lives and reconnects when it is looked at again.
    fn offline(&mut self, at: usize) {
        if let Some(process) = &self.parties[at].process {
            process.state.connected.store(false, Ordering::Relaxed);
            let id = self.parties[at].id.clone();
            self.relay.disconnected(&id);
        }
    }

    /// The party's records are replaced by older ones, or by none, and its clock goes wrong by so
    /// much, or is right again.
    async fn go_back(&mut self, at: usize, set_back_ms: u64) {
        let Some(files) = self.backups[at].clone() else { return };
        debug!(user = self.parties[at].id, set_back_ms, "the disk goes back");
        self.die(at).await;
        self.parties[at].disk.restore(files);
        // No disk is lost and replaced, and no process started on it, within the millisecond in which
        // the one before took a message: the numbers of that millisecond are not given twice.
        sleep_until(Instant::now() + Duration::from_millis(1)).await;
        if let Clock::Virtual { start_ms, .. } = &mut self.clocks[at] {
            *start_ms = START_MS - set_back_ms;
        }
        let clock_too = set_back_ms > 0;
        self.resets.push(Reset { party: at, at: self.attempts.len(), clock_too });
    }

    /// Everybody writes once more to whom they wrote before: two whose disks went back, and who
    /// have said nothing since, cannot know of each other's sessions.
    fn say_goodbye(&mut self) {
        let pairs: BTreeSet<_> = self.attempts.iter().map(|a| (a.from, a.to)).collect();
        for (from, to) in pairs {
            self.attempt(from, to, false);
        }
    }

    fn attempt(&mut self, from: usize, to: usize, receipt: bool) {
        let text = format!("{}", self.attempts.len());
        debug!(from = self.parties[from].id, to = self.parties[to].id, text, "sends");
        let outcome = self.parties[from].send(&self.parties[to].id, &text, receipt);
        self.attempts.push(Attempt { from, to, text, outcome });
    }

    /// The relay turns honest, everybody comes, and nothing is asked for any more.
    async fn come_to_rest(&mut self) -> Result<(), Violation> {
        debug!("everybody comes to rest");
        self.relay.manners = Manners::honest(self.relay.manners.keeps);
        // Nor does any disk fail now: a farewell that is not saved would be no farewell.
        self.parties.iter().for_each(|party| party.disk.fail_no_more());
        let end = Instant::now() + REST;
        loop {
            for at in 0..self.parties.len() {
                self.start(at).await?;
                let id = self.parties[at].id.clone();
                self.relay.reconnected(&id);
            }
            self.pump(Instant::now() + Duration::from_secs(5)).await;
            if check::is_at_rest(self) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Violation(format!("no rest: {}", check::unrest(self))));
            }
        }
    }

    /// Lets everything happen until `end`.
    async fn pump(&mut self, end: Instant) {
        loop {
            for at in 0..self.parties.len() {
                self.parties[at].handle();
                if self.parties[at].disk.take_crash() {
                    self.die(at).await;
                }
            }
            self.relay.land();
            let handled =
                self.parties.iter().filter_map(|party| party.process.as_ref()?.handles_at);
            let next = handled.chain(self.relay.next_landing()).min().unwrap_or(end).min(end);
            tokio::select! {
                biased;
                (at, request) = next_request(&mut self.parties) => self.requested(at, request),
                () = sleep_until(next) => if next >= end { return },
            }
        }
    }

    fn requested(&mut self, at: usize, request: Request) {
        if let Some(process) = &self.parties[at].process {
            self.relay.request(&process.state.clone(), request);
        }
    }
}

/// The next request of any process.
async fn next_request(parties: &mut [Party]) -> (usize, Request) {
    poll_fn(|context| {
        for (at, party) in parties.iter_mut().enumerate() {
            if let Some(process) = &mut party.process
                && let Poll::Ready(Some(request)) = process.requests.poll_recv(context)
            {
                return Poll::Ready((at, request));
            }
        }
        Poll::Pending
    })
    .await
}
