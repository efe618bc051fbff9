//! Every schedule of a few messages, tried out.
//!
//! Two parties and the payloads between them are a state; from each state everything is done that
//! may happen next: any payload arrives, and perhaps a second time, any timer runs out, contents
//! are pushed, sealed, handled and withdrawn, a side starts again, is restored from an old state
//! or loses what it has. Payloads may arrive in any order or never. Time is abstract: a timer that
//! is set may run out at once or much later, so what holds here does not depend on delays.
//!
//! In every state: what was handled was handled once and in order. And from every state, with all
//! that is on its way lost, a fair network brings everything to an end: all that must be handled
//! is, outboxes and inboxes are empty, and no timer is set.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::super::*;
use crate::codec::Write;

const START_MS: u64 = 1_000;

/// Names a content, in the order of pushing.
type Label = u8;

/// How often things may happen in one schedule. What is not named may happen at any time.
#[derive(Debug, Clone, Copy)]
struct Budget {
    pushes: [u8; 2],
    /// Receipts that go by themselves.
    receipts: u8,
    repeated: u8,
    probes: u8,
    gap_requests: u8,
    withdrawals: u8,
    restarts: u8,
    rollbacks: u8,
    lost_states: u8,
    /// The clock of whoever loses a state goes back to before the beginning.
    clock_behind: bool,
    heals: u8,
    /// Contents are sealed when they are pushed and handled when they are delivered.
    at_once: bool,
    /// Payloads arrive in the order of sending, as far as they arrive.
    in_order: bool,
}

#[derive(Debug, Clone)]
struct Party {
    delivery: Delivery,
    pushed: Vec<Label>,
    handled: Vec<Label>,
    /// Over all of its lives.
    withdrawn: BTreeSet<Label>,
    handled_ever: BTreeSet<Label>,
    backup: Option<Rc<Backup>>,
    /// Payloads on their way to it.
    arriving: Vec<Rc<[u8]>>,
}

#[derive(Debug, Clone)]
struct Backup {
    delivery: Delivery,
    pushed: Vec<Label>,
    handled: Vec<Label>,
}

#[derive(Debug, Clone)]
struct World {
    parties: [Party; 2],
    left: Budget,
    next_label: Label,
    now_ms: u64,
}

/// What may happen next to one party.
#[derive(Debug, Clone, Copy)]
enum Event {
    Push,
    Seal { timers_due: bool },
    Arrive { which: usize, again: bool },
    Lose,
    Handle,
    ReceiptDue,
    GapDue,
    ProbeDue,
    Follow,
    Withdraw(u64),
    BackUp,
    Restart,
    RollBack,
    LoseState,
    Heal,
}

impl World {
    fn new(budget: Budget) -> Self {
        let party = Party {
            delivery: Delivery::new(START_MS),
            pushed: Vec::new(),
            handled: Vec::new(),
            withdrawn: BTreeSet::new(),
            handled_ever: BTreeSet::new(),
            backup: None,
            arriving: Vec::new(),
        };
        let parties = [party.clone(), party];
        Self { parties, left: budget, next_label: 1, now_ms: START_MS }
    }

    /// Everything that may happen next.
    fn events(&self, who: usize) -> Vec<Event> {
        let (party, left) = (&self.parties[who], &self.left);
        let Delivery { owed, gap, probing, .. } = &party.delivery;
        let may_ask = (gap.is_some() && left.gap_requests > 0)
            || (probing.timer.is_some() && left.probes > 0);
        let mut events = Vec::new();
        let mut may = |is_possible: bool, event| {
            if is_possible {
                events.push(event);
            }
        };
        may(left.pushes[who] > 0, Event::Push);
        may(party.delivery.wants_sealing(), Event::Seal { timers_due: false });
        may(party.delivery.wants_sealing() && may_ask, Event::Seal { timers_due: true });
        may(party.delivery.inbox().next().is_some(), Event::Handle);
        may(owed.timer.is_some() && left.receipts > 0, Event::ReceiptDue);
        may(owed.follows.is_some(), Event::Follow);
        may(gap.is_some() && left.gap_requests > 0, Event::GapDue);
        may(party.delivery.probe_timer().is_some() && left.probes > 0, Event::ProbeDue);
        may(left.restarts > 0, Event::Restart);
        may(left.rollbacks > 0 && party.backup.is_none(), Event::BackUp);
        may(left.rollbacks > 0 && party.backup.is_some(), Event::RollBack);
        may(left.lost_states > 0, Event::LoseState);
        may(left.heals > 0, Event::Heal);
        may(left.in_order && !party.arriving.is_empty(), Event::Lose);
        for which in 0..if left.in_order { 1 } else { usize::MAX }.min(party.arriving.len()) {
            let is_first = !party.arriving[..which].contains(&party.arriving[which]);
            may(is_first, Event::Arrive { which, again: false });
            may(is_first && left.repeated > 0, Event::Arrive { which, again: true });
        }
        if left.withdrawals > 0 {
            for seq in party.delivery.outbox() {
                may(true, Event::Withdraw(seq));
            }
        }
        events
    }

    fn after(&self, who: usize, event: Event) -> Self {
        let mut next = self.clone();
        let now_ms = self.now_ms;
        let (label, left) = (self.next_label, &mut next.left);
        let party = &mut next.parties[who];
        let delivery = &mut party.delivery;
        match event {
            Event::Push => {
                left.pushes[who] -= 1;
                next.next_label += 1;
                party.pushed.push(label);
                *delivery = delivery.push(Content::bytes(vec![label]), false).unwrap().0;
                while self.left.at_once && next.seal(who) {}
            }
            Event::Seal { timers_due } => {
                if timers_due && delivery.gap.is_some() {
                    left.gap_requests = left.gap_requests.saturating_sub(1);
                    delivery.gap = Some(due(now_ms));
                }
                if timers_due && delivery.probing.timer.is_some() {
                    left.probes = left.probes.saturating_sub(1);
                    delivery.probing.timer = Some(due(now_ms));
                }
                next.seal(who);
            }
            Event::Arrive { which, again } => {
                let payload = party.arriving[which].clone();
                if again {
                    left.repeated -= 1;
                } else {
                    party.arriving.remove(which);
                }
                *delivery = delivery.accept(&payload, now_ms, now_ms).unwrap().delivery;
                if self.left.at_once {
                    party.handle(usize::MAX, now_ms);
                }
            }
            Event::Lose => {
                party.arriving.remove(0);
            }
            Event::Handle => party.handle(1, now_ms),
            Event::ReceiptDue => {
                left.receipts -= 1;
                delivery.owed.timer = Some(due(now_ms));
                next.control(who);
            }
            Event::GapDue => {
                left.gap_requests -= 1;
                delivery.gap = Some(due(now_ms));
                next.control(who);
            }
            Event::ProbeDue => {
                left.probes -= 1;
                delivery.probing.timer = Some(due(now_ms));
                next.control(who);
            }
            Event::Follow => {
                next.control(who);
            }
            Event::Withdraw(seq) => {
                left.withdrawals -= 1;
                party.withdrawn.insert(party.label_of(seq));
                party.delivery = party.delivery.withdraw(seq);
            }
            Event::BackUp => {
                let Party { delivery, pushed, handled, .. } = party.clone();
                party.backup = Some(Rc::new(Backup { delivery, pushed, handled }));
            }
            Event::Restart => {
                left.restarts -= 1;
                next.now_ms += 1;
                let stored = delivery.clone();
                party.start(stored, now_ms + 1);
            }
            Event::RollBack => {
                left.rollbacks -= 1;
                next.now_ms += 1;
                if let Some(backup) = party.backup.take() {
                    let Backup { delivery, pushed, handled } = (*backup).clone();
                    party.pushed = pushed;
                    party.handled = handled;
                    party.start(delivery, now_ms + 1);
                }
            }
            Event::LoseState => {
                left.lost_states -= 1;
                next.now_ms += 1;
                party.backup = None;
                party.pushed.clear();
                party.handled.clear();
                let behind = self.left.clock_behind;
                party.delivery = Delivery::new(if behind { START_MS - 1 } else { now_ms + 1 });
            }
            Event::Heal => {
                left.heals -= 1;
                *delivery = delivery.ask_for_all(now_ms);
            }
        }
        next.parties[who].delivery.forget_time();
        next
    }

    fn seal(&mut self, who: usize) -> bool {
        let Some(sealable) = self.parties[who].delivery.seal(self.now_ms) else { return false };
        self.parties[who].delivery = sealable.delivery;
        self.parties[1 - who].arriving.push(sealable.payload.as_slice().into());
        true
    }

    fn control(&mut self, who: usize) -> bool {
        let Some((delivery, payload)) = self.parties[who].delivery.control(self.now_ms) else {
            return false;
        };
        self.parties[who].delivery = delivery;
        self.parties[1 - who].arriving.push(payload.as_slice().into());
        true
    }

    /// Two states in which the same may happen have the same key.
    fn key(&self) -> Box<[u8]> {
        let Self { parties, left, next_label, now_ms } = self;
        let mut key = parties[0].key(left.in_order);
        key.extend(parties[1].key(left.in_order));
        key.extend(left.pushes);
        let Budget { pushes: _, receipts, repeated, probes, gap_requests, .. } = *left;
        let Budget { withdrawals, restarts, rollbacks, lost_states, heals, .. } = *left;
        key.extend([receipts, repeated, probes, gap_requests, withdrawals]);
        key.extend([restarts, rollbacks, lost_states, heals, *next_label]);
        key.put_u64(*now_ms);
        key.into()
    }

    /// Loses what is on its way, and then nothing more; whatever is to be done is done.
    fn end(&self) -> Self {
        let mut end = self.clone();
        for party in &mut end.parties {
            party.arriving.clear();
            party.delivery.run_timers(end.now_ms);
        }
        for _ in 0..40 {
            let mut idle = true;
            for who in 0..2 {
                let now_ms = end.now_ms;
                let party = &mut end.parties[who];
                for payload in std::mem::take(&mut party.arriving) {
                    party.delivery =
                        party.delivery.accept(&payload, now_ms, now_ms).unwrap().delivery;
                    idle = false;
                }
                party.handle(usize::MAX, now_ms);
                while end.seal(who) {
                    idle = false;
                }
                idle &= !end.control(who);
            }
            if idle {
                let deadlines = end.parties.iter().filter_map(|p| p.delivery.next_deadline());
                let Some(at_ms) = deadlines.min() else { return end };
                end.now_ms = end.now_ms.max(at_ms);
            }
        }
        panic!("no end: {self:#?}");
    }

    fn check(&self) {
        for party in &self.parties {
            let is_ordered = party.handled.is_sorted_by(|a, b| a < b);
            assert!(is_ordered, "handled twice or in disorder: {self:#?}");
        }
    }

    fn check_end(&self, from: &Self) {
        self.check();
        for who in 0..2 {
            let (sender, receiver) = (&self.parties[who], &self.parties[1 - who]);
            let is_empty =
                sender.delivery.outbox_len() == 0 && sender.delivery.inbox().count() == 0;
            assert!(is_empty, "something is left after {from:#?}");
            let settled =
                |label| receiver.handled_ever.contains(label) || sender.withdrawn.contains(label);
            assert!(sender.pushed.iter().all(settled), "something is lost after {from:#?}");
        }
    }
}

impl Party {
    fn handle(&mut self, some: usize, now_ms: u64) {
        let mut last = None;
        for item in self.delivery.inbox().take(some) {
            let label = item.content.as_bytes()[0];
            self.handled.push(label);
            self.handled_ever.insert(label);
            last = Some(item.seq);
        }
        if let Some(seq) = last {
            self.delivery = self.delivery.handled(seq, now_ms);
        }
    }

    fn label_of(&self, seq: u64) -> Label {
        self.delivery.outbox.entries().get(seq).unwrap().content.as_bytes()[0]
    }

    fn start(&mut self, stored: Delivery, now_ms: u64) {
        self.delivery = Delivery::from_bytes(&stored.to_bytes(), now_ms).unwrap();
    }

    fn key(&self, in_order: bool) -> Vec<u8> {
        let Self { delivery, pushed, handled, withdrawn, handled_ever, backup, arriving } = self;
        let mut key = Vec::with_capacity(256);
        delivery.key(&mut key);
        key.put_field(pushed);
        key.put_field(handled);
        key.put_field(&withdrawn.iter().copied().collect::<Vec<_>>());
        key.put_field(&handled_ever.iter().copied().collect::<Vec<_>>());
        key.put_u8(backup.is_some().into());
        if let Some(Backup { delivery, pushed, handled }) = backup.as_deref() {
            delivery.key(&mut key);
            key.put_field(pushed);
            key.put_field(handled);
        }
        let mut arriving: Vec<_> = arriving.iter().collect();
        if !in_order {
            arriving.sort();
        }
        key.put_varint(arriving.len() as u64);
        arriving.iter().for_each(|payload| key.put_field(payload));
        key
    }
}

impl Delivery {
    /// All that a step depends on once time is forgotten.
    fn key(&self, key: &mut Vec<u8>) {
        let Self { outbox, inbox: _, owed, gap, probing, passes: _, asked_ms: _ } = self;
        self.write(key);
        let (received, pass) = outbox.hints();
        received.write(key);
        key.put_u8(u8::try_from(received.have.len()).unwrap());
        if let Some(pass) = pass {
            key.put_u64(pass.from);
            key.put_u64(pass.to);
        }
        let Owed { timer: _, unreported: _, answer, resend_all: _, follows } = owed;
        let Probing { timer, number, unanswered } = probing;
        for number in [*answer, *follows, *unanswered, Some(*number)] {
            key.put_u64(number.unwrap_or(u64::MAX));
        }
        key.put_u64(outbox.doubtful());
        key.put_u8(gap.is_some().into());
        key.put_u8(timer.is_some().into());
    }

    /// A timer that is set is not due, unless it is said to be.
    fn forget_time(&mut self) {
        self.run_timers(u64::MAX / 2);
        self.owed.unreported = 0;
        (self.passes, self.asked_ms) = (Passes::default(), None);
    }

    /// Timers run out as they do at first, from now on.
    fn run_timers(&mut self, now_ms: u64) {
        let set = |timer: Option<Timer>, wait_ms| timer.map(|_| Timer::after(now_ms, wait_ms));
        self.owed.timer = set(self.owed.timer, timer::RECEIPT_DELAY_MS);
        self.gap = set(self.gap, timer::GAP_DELAY_MS);
        self.probing.timer = set(self.probing.timer, timer::PROBE_DELAY_MS);
    }
}

fn due(now_ms: u64) -> Timer {
    Timer { at_ms: now_ms, wait_ms: 1 }
}

/// Visits every state that is reachable within the budget; returns how many there are.
fn explore(budget: Budget) -> usize {
    let start = World::new(budget);
    let mut seen: HashSet<Box<[u8]>> = HashSet::from([start.key()]);
    let mut ended: HashSet<Vec<u8>> = HashSet::new();
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        world.check();
        // With all that is on its way lost, many states are the same.
        let quiet = World {
            parties: world.parties.clone().map(|party| Party { arriving: Vec::new(), ..party }),
            left: NOTHING,
            ..world.clone()
        };
        if ended.insert(quiet.key().into()) {
            quiet.end().check_end(&world);
        }
        for who in 0..2 {
            for event in world.events(who) {
                let next = world.after(who, event);
                if seen.insert(next.key()) {
                    open.push(next);
                }
            }
        }
    }
    seen.len()
}

/// Explores some budgets, of which each must reach at least so many states: fewer would mean that
/// the model has stopped trying something.
fn explore_all(budgets: &[(usize, Budget)]) {
    for (least, budget) in budgets {
        let count = explore(*budget);
        assert!(count >= *least, "only {count} states: {budget:?}");
    }
}

const ONCE: Budget = Budget { at_once: true, ..NOTHING };
const NOTHING: Budget = Budget {
    pushes: [0, 0],
    receipts: 0,
    repeated: 0,
    probes: 0,
    gap_requests: 0,
    withdrawals: 0,
    restarts: 0,
    rollbacks: 0,
    lost_states: 0,
    clock_behind: false,
    heals: 0,
    at_once: false,
    in_order: false,
};

#[test]
fn three_messages_one_way() {
    explore_all(&[
        (60_000, Budget { pushes: [3, 0], receipts: 2, repeated: 2, ..ONCE }),
        (80_000, Budget { pushes: [3, 0], receipts: 1, repeated: 2, gap_requests: 1, ..ONCE }),
        (100_000, Budget { pushes: [3, 0], receipts: 2, probes: 2, ..ONCE }),
        (60_000, Budget { pushes: [3, 0], receipts: 2, gap_requests: 2, ..ONCE }),
    ]);
}

#[test]
fn messages_both_ways() {
    explore_all(&[
        (90_000, Budget { pushes: [3, 3], in_order: true, ..ONCE }),
        (30_000, Budget { pushes: [3, 2], ..ONCE }),
        (15_000, Budget { pushes: [2, 2], receipts: 1, ..ONCE }),
        (30_000, Budget { pushes: [2, 2], probes: 1, ..ONCE }),
        (8_000, Budget { pushes: [2, 2], repeated: 1, ..ONCE }),
    ]);
}

#[test]
fn every_step_by_itself() {
    explore_all(&[
        (
            150_000,
            Budget {
                pushes: [2, 0],
                receipts: 2,
                repeated: 1,
                probes: 1,
                gap_requests: 1,
                ..NOTHING
            },
        ),
        (100_000, Budget { pushes: [3, 0], receipts: 1, probes: 1, restarts: 1, ..NOTHING }),
    ]);
}

#[test]
fn withdrawals_in_the_middle() {
    let asking = Budget { receipts: 1, probes: 1, gap_requests: 1, withdrawals: 1, ..NOTHING };
    explore_all(&[
        (100_000, Budget { pushes: [3, 0], at_once: true, ..asking }),
        (10_000, Budget { pushes: [2, 0], ..asking }),
        (5_000, Budget { pushes: [2, 1], probes: 1, withdrawals: 1, ..ONCE }),
    ]);
}

#[test]
fn states_restored_from_before() {
    let rollback = Budget { receipts: 1, probes: 1, rollbacks: 1, ..ONCE };
    explore_all(&[
        (300_000, Budget { pushes: [3, 0], ..rollback }),
        (100_000, Budget { pushes: [2, 0], gap_requests: 1, ..rollback }),
    ]);
}

#[test]
fn states_lost() {
    let loss = Budget { receipts: 1, probes: 1, lost_states: 1, ..ONCE };
    explore_all(&[
        (100_000, Budget { pushes: [3, 0], heals: 1, ..loss }),
        (100_000, Budget { pushes: [2, 0], rollbacks: 1, ..loss }),
    ]);
}

/// What was sent before the loss arrives before what is sent after it, or never: were it to come
/// between, nobody could tell what was dropped from what was received.
#[test]
fn states_lost_with_the_clock_behind() {
    let loss = Budget { lost_states: 1, clock_behind: true, in_order: true, ..ONCE };
    explore_all(&[
        (10_000, Budget { pushes: [3, 0], receipts: 1, probes: 1, heals: 1, ..loss }),
        (4_000, Budget { pushes: [3, 0], receipts: 1, gap_requests: 1, ..loss }),
        (1_000, Budget { pushes: [2, 1], receipts: 1, probes: 1, ..loss }),
    ]);
}

/// Takes minutes and gigabytes.
#[test]
#[ignore = "run by hand"]
fn more_of_everything() {
    let asking = Budget { receipts: 1, probes: 1, gap_requests: 1, ..ONCE };
    explore_all(&[
        (2_000_000, Budget { pushes: [3, 3], receipts: 1, in_order: true, ..ONCE }),
        (2_000_000, Budget { pushes: [3, 3], probes: 1, in_order: true, ..ONCE }),
        (1_000_000, Budget { pushes: [2, 0], rollbacks: 2, ..asking }),
        (1_000_000, Budget { pushes: [2, 2], withdrawals: 1, in_order: true, ..asking }),
        (1_000_000, Budget { pushes: [3, 0], receipts: 2, repeated: 1, ..asking }),
        (2_000_000, Budget { pushes: [2, 0], receipts: 2, lost_states: 2, heals: 1, ..asking }),
    ]);
}
