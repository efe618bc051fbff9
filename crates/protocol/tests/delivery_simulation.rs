//! Random schedules of two parties over a network that does its worst, with restarts, states
//! restored from long ago, and states lost. Everything random comes from one seed for each
//! schedule, which a failure prints: `DELIVERY_SEED=… cargo test -p stvor-protocol --test
//! delivery_simulation` runs that schedule alone and tells what happens in it.
//! `DELIVERY_SCHEDULES=…` says how many to run.
//!
//! The law: once the network is fair, both sides fall silent; then every message that was pushed,
//! neither withdrawn nor forgotten with its sender's state, has been handled, once and in order.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use stvor_protocol::delivery::{Content, Delivery, PushError};

const SCHEDULES: u64 = 20_000;

/// Rounds of a fair network in which everything is over. No schedule of a million took 30.
const FAIR_ROUNDS: usize = 60;

/// What a fair network may take in milliseconds: some rounds of receipts and of asking again, after
/// the longest time between two probes.
const FAIR_MS: u64 = 300_000 + 30_000;

/// Messages are named by the order in which they were pushed, whatever their sender forgets.
type Label = u64;

/// What a party would find again in its store, or would have lost with it.
#[derive(Clone)]
struct Stored {
    delivery: Vec<u8>,
    books: Books,
}

/// What the application of a party knows.
#[derive(Clone, Default)]
struct Books {
    pushed: Vec<Label>,
    handled: Vec<Label>,
}

struct Party {
    delivery: Delivery,
    books: Books,
    backups: Vec<Stored>,
    /// Over all of its lives.
    ever_withdrawn: BTreeSet<Label>,
    ever_handled: BTreeSet<Label>,
    /// Payloads on their way to it.
    arriving: Vec<Vec<u8>>,
}

/// What happens in a schedule, and how often.
#[derive(Debug, Clone, Copy)]
struct Weather {
    actions: u64,
    loss: u64,
    repetition: u64,
    reordering: bool,
    withdrawals: u64,
    restarts: u64,
    rollbacks: u64,
    lost_states: u64,
    one_way: bool,
}

struct World {
    rng: ChaCha20Rng,
    now_ms: u64,
    next_label: Label,
    parties: [Party; 2],
    tells: bool,
}

impl World {
    fn new(seed: u64, tells: bool) -> Self {
        let now_ms = 1_800_000_000_000;
        let party = || Party {
            delivery: Delivery::new(now_ms),
            books: Books::default(),
            backups: Vec::new(),
            ever_withdrawn: BTreeSet::new(),
            ever_handled: BTreeSet::new(),
            arriving: Vec::new(),
        };
        let rng = ChaCha20Rng::seed_from_u64(seed);
        Self { rng, now_ms, next_label: 1, parties: [party(), party()], tells }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn tell(&self, who: usize, what: impl Fn() -> String) {
        if self.tells {
            println!("{:>9} {} {}", self.now_ms % 1_000_000_000, ["A", "B"][who], what());
        }
    }

    fn weather(&mut self) -> Weather {
        let some = |rng: &mut Self, most| if rng.percent(50) { 0 } else { rng.below(most) };
        let is_catastrophic = self.percent(50);
        Weather {
            actions: 10 + self.below(120),
            loss: some(self, 60),
            repetition: some(self, 40),
            reordering: self.percent(60),
            withdrawals: some(self, 30),
            restarts: some(self, 20),
            rollbacks: if is_catastrophic { some(self, 20) } else { 0 },
            lost_states: if is_catastrophic { some(self, 20) } else { 0 },
            one_way: self.percent(40),
        }
    }

    fn act(&mut self, weather: &Weather) {
        let who = self.below(2) as usize;
        match self.below(100) {
            0..20 if who == 0 || !weather.one_way => self.push(who),
            0..40 => self.seal(who),
            40..70 => self.receive(who, weather),
            70..80 => self.handle(who),
            80..90 => self.wait(weather),
            90..93 if self.percent(weather.withdrawals * 3) => self.withdraw(who),
            93..95 => self.hear_from_relay(who),
            95..100 if self.percent(weather.restarts * 5) => self.restart(who),
            95..97 if self.percent(weather.rollbacks * 5) => self.roll_back(who),
            97..99 if self.percent(weather.lost_states * 5) => self.lose_state(who),
            99 => self.back_up(who),
            _ => {}
        }
    }

    fn push(&mut self, who: usize) {
        let label = self.next_label;
        self.next_label += 1;
        let prompt = self.percent(20);
        let party = &mut self.parties[who];
        match party.delivery.push(Content::bytes(label.to_be_bytes().to_vec()), prompt) {
            Ok((delivery, seq)) => {
                party.delivery = delivery;
                party.books.pushed.push(label);
                self.tell(who, || format!("pushes {label} as {seq}"));
            }
            Err(PushError::OutboxFull) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn send(&mut self, who: usize, payload: &[u8]) {
        self.parties[1 - who].arriving.push(payload.to_vec());
    }

    /// Seals some of what wants sealing.
    fn seal(&mut self, who: usize) {
        let some = self.below(5);
        for _ in 0..some {
            if !self.seal_one(who) {
                break;
            }
        }
    }

    fn seal_one(&mut self, who: usize) -> bool {
        let delivery = &self.parties[who].delivery;
        assert_eq!(delivery.wants_sealing(), delivery.seal(self.now_ms).is_some());
        let Some(sealable) = delivery.seal(self.now_ms) else { return false };
        self.tell(who, || format!("seals {}", sealable.seq));
        self.parties[who].delivery = sealable.delivery;
        self.send(who, &sealable.payload);
        true
    }

    fn receive(&mut self, who: usize, weather: &Weather) {
        let arriving = self.parties[who].arriving.len() as u64;
        if arriving == 0 {
            return;
        }
        let which = if weather.reordering { self.below(arriving) as usize } else { 0 };
        if self.percent(weather.loss) {
            self.tell(who, || "loses a payload".into());
            self.parties[who].arriving.remove(which);
            return;
        }
        let is_repeated = self.percent(weather.repetition);
        self.accept(who, which);
        if is_repeated && which < self.parties[who].arriving.len() {
            self.accept(who, which);
        }
        if self.percent(100 - weather.repetition / 2) {
            return;
        }
        // One that was read comes again, later.
        let again = self.below(arriving) as usize;
        if let Some(payload) = self.parties[who].arriving.get(again).cloned() {
            self.parties[who].arriving.push(payload);
        }
    }

    fn accept(&mut self, who: usize, which: usize) {
        let now_ms = self.now_ms;
        let payload = self.parties[who].arriving.remove(which);
        let accepted = self.parties[who].delivery.accept(&payload, now_ms, now_ms).unwrap();
        self.tell(who, || {
            let delivered: Vec<u64> = accepted.delivered.iter().map(|item| item.seq).collect();
            format!("accepts; delivered {delivered:?}, handled {:?}", accepted.handled)
        });
        assert!(!accepted.refused);
        self.parties[who].delivery = accepted.delivery;
    }

    /// The application handles some of what is its turn.
    fn handle(&mut self, who: usize) {
        let some = self.below(4) as usize;
        self.handle_some(who, some);
    }

    fn handle_some(&mut self, who: usize, some: usize) {
        let now_ms = self.now_ms;
        let party = &mut self.parties[who];
        let mut last = None;
        for item in party.delivery.inbox().take(some) {
            let label = Label::from_be_bytes(item.content.as_bytes().try_into().unwrap());
            party.books.handled.push(label);
            party.ever_handled.insert(label);
            last = Some((item.seq, label));
        }
        let Some((seq, label)) = last else { return };
        party.delivery = party.delivery.handled(seq, now_ms);
        self.tell(who, || format!("handles up to {label}, {seq}"));
    }

    /// Time goes on: a little, or to the next deadline of someone.
    fn wait(&mut self, weather: &Weather) {
        let little = 1 + self.below(700);
        let who = self.below(2) as usize;
        match self.parties[who].delivery.next_deadline() {
            Some(at_ms) if self.percent(60) => self.now_ms = self.now_ms.max(at_ms),
            _ => self.now_ms += little,
        }
        for who in 0..2 {
            if !self.percent(weather.loss / 4) {
                self.control(who);
            }
        }
    }

    fn control(&mut self, who: usize) -> bool {
        let Some((delivery, payload)) = self.parties[who].delivery.control(self.now_ms) else {
            return false;
        };
        self.tell(who, || "says something".into());
        self.parties[who].delivery = delivery;
        self.send(who, &payload);
        true
    }

    fn withdraw(&mut self, who: usize) {
        let seqs: Vec<u64> = self.parties[who].delivery.outbox().collect();
        if seqs.is_empty() {
            return;
        }
        let which = self.below(seqs.len() as u64) as usize;
        let Some(label) = self.label_of(who, seqs[which]) else { return };
        self.tell(who, || format!("withdraws {label}, {}", seqs[which]));
        let party = &mut self.parties[who];
        party.delivery = party.delivery.withdraw(seqs[which]);
        party.ever_withdrawn.insert(label);
    }

    /// Which message an entry of the outbox is, by what a stored state has of it.
    fn label_of(&self, who: usize, seq: u64) -> Option<Label> {
        let party = &self.parties[who];
        let position = party.delivery.outbox().position(|entry| entry == seq)?;
        let from_end = party.delivery.outbox_len() - position;
        let settled = |label: &&Label| !party.ever_withdrawn.contains(label);
        party.books.pushed.iter().rev().filter(settled).nth(from_end - 1).copied()
    }

    fn hear_from_relay(&mut self, who: usize) {
        let now_ms = self.now_ms;
        let kind = self.below(3);
        let delivery = &mut self.parties[who].delivery;
        *delivery = match kind {
            0 => delivery.queued(now_ms),
            1 => delivery.reconnected(now_ms),
            _ => delivery.ask_for_all(now_ms),
        };
    }

    fn stored(&self, who: usize) -> Stored {
        let party = &self.parties[who];
        Stored { delivery: party.delivery.to_bytes().to_vec(), books: party.books.clone() }
    }

    fn back_up(&mut self, who: usize) {
        self.tell(who, || "makes a backup".into());
        let stored = self.stored(who);
        self.parties[who].backups.push(stored);
    }

    fn restart(&mut self, who: usize) {
        self.tell(who, || "restarts".into());
        let stored = self.stored(who);
        self.start_from(who, &stored);
    }

    fn roll_back(&mut self, who: usize) {
        let backups = self.parties[who].backups.len() as u64;
        if backups == 0 {
            return;
        }
        let which = self.below(backups) as usize;
        // What came after it never was: nobody goes back there.
        self.parties[who].backups.truncate(which + 1);
        let stored = self.parties[who].backups[which].clone();
        self.tell(who, || format!("is restored from backup {which}"));
        self.start_from(who, &stored);
        self.heal(who);
    }

    fn start_from(&mut self, who: usize, stored: &Stored) {
        self.now_ms += 1;
        let party = &mut self.parties[who];
        party.delivery = Delivery::from_bytes(&stored.delivery, self.now_ms).unwrap();
        assert!(*party.delivery.resume(self.now_ms).to_bytes() == *party.delivery.to_bytes());
        party.books = stored.books.clone();
    }

    fn lose_state(&mut self, who: usize) {
        self.tell(who, || "loses its state".into());
        self.now_ms += 1;
        let party = &mut self.parties[who];
        party.delivery = Delivery::new(self.now_ms);
        party.books = Books::default();
        party.backups.clear();
        self.heal(who);
    }

    /// Its sessions are gone or old: what is on its way may or may not be opened, and whoever
    /// cannot open something asks for it.
    fn heal(&mut self, who: usize) {
        for side in 0..2 {
            if self.percent(70) {
                self.parties[side].arriving.clear();
            }
        }
        if self.percent(70) {
            let now_ms = self.now_ms;
            let party = &mut self.parties[who];
            party.delivery = party.delivery.ask_for_all(now_ms);
        }
    }

    /// From now on nothing is lost, and everything is done that is to be done.
    fn become_fair(&mut self) {
        let started_ms = self.now_ms;
        for _ in 0..FAIR_ROUNDS {
            let mut idle = true;
            for who in 0..2 {
                while !self.parties[who].arriving.is_empty() {
                    self.accept(who, 0);
                    idle = false;
                }
                self.handle_some(who, usize::MAX);
                while self.seal_one(who) {
                    idle = false;
                }
                idle &= !self.control(who);
            }
            if idle {
                let deadlines = self.parties.iter().filter_map(|p| p.delivery.next_deadline());
                let Some(at_ms) = deadlines.min() else {
                    assert!(self.now_ms - started_ms <= FAIR_MS, "it takes too long");
                    return;
                };
                self.now_ms = self.now_ms.max(at_ms);
            }
        }
        panic!("the two never fall silent");
    }

    fn check(&self) {
        for who in 0..2 {
            let (sender, receiver) = (&self.parties[who], &self.parties[1 - who]);
            assert_eq!(sender.delivery.outbox_len(), 0, "nothing is left in an outbox");
            assert_eq!(sender.delivery.outbox_bytes(), 0);
            assert_eq!(receiver.delivery.inbox().count(), 0);
            let handled = &receiver.books.handled;
            assert!(handled.is_sorted_by(|a, b| a < b), "once and in order: {handled:?}");
            for label in &sender.books.pushed {
                let is_settled =
                    receiver.ever_handled.contains(label) || sender.ever_withdrawn.contains(label);
                assert!(is_settled, "message {label} never arrived");
            }
        }
    }
}

fn run(seed: u64, tells: bool) -> Weather {
    let mut world = World::new(seed, tells);
    let weather = world.weather();
    if tells {
        println!("{weather:?}");
    }
    for who in 0..2 {
        world.back_up(who);
    }
    for _ in 0..weather.actions {
        world.act(&weather);
    }
    if tells {
        println!("the network becomes fair");
    }
    world.become_fair();
    world.check();
    weather
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

#[test]
fn whatever_happens_every_message_is_handled_once_and_in_order() {
    if let Some(seed) = number("DELIVERY_SEED") {
        run(seed, true);
        return;
    }
    let schedules = number("DELIVERY_SCHEDULES").unwrap_or(SCHEDULES);
    for seed in 0..schedules {
        std::panic::catch_unwind(|| run(seed, false)).unwrap_or_else(|_| {
            panic!("the schedule of DELIVERY_SEED={seed} broke the law");
        });
    }
}
