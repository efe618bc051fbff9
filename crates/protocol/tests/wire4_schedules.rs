//! Every schedule of a small conversation: two users, three messages each, every order of sending
//! and arriving, every loss, and each message again at every later point.
//!
//! What a user holds depends on the order of its own steps only, so of all schedules with the same
//! two orders one is tried. A message that is lost is one that has not arrived: the law is asked
//! for after every step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;

use stvor_protocol::Decrypt4Error;
use support::wire4::{Envelope, Side, World};

const EACH: usize = 3;

/// Both users, what each has done, and every message.
#[derive(Clone)]
struct State {
    sides: [Side; 2],
    steps: [Vec<Step>; 2],
    messages: [Vec<Envelope>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Send,
    /// Open the peer's message of this number.
    Open(usize),
}

impl State {
    /// Whether `me` can take this step now.
    fn allows(&self, me: usize, step: Step) -> bool {
        match step {
            Step::Send => self.messages[me].len() < EACH,
            Step::Open(n) => n < self.messages[1 - me].len() && !self.steps[me].contains(&step),
        }
    }

    fn take(&mut self, me: usize, step: Step, world: &mut World) {
        match step {
            Step::Send => self.send(me, world),
            Step::Open(n) => {
                let message = &self.messages[1 - me][n];
                assert_eq!(world.open(&mut self.sides[me], message).unwrap(), [n as u8]);
            }
        }
        self.steps[me].push(step);
    }

    fn send(&mut self, me: usize, world: &mut World) {
        let n = self.messages[me].len() as u8;
        if self.sides[me].sessions.sending().is_none() {
            let theirs = self.sides[1 - me].clone();
            world.begin(&mut self.sides[me], &theirs, None);
        }
        let message = world.seal(&mut self.sides[me], &[n]);
        self.messages[me].push(message);
    }

    /// Whatever was opened does not open again, and calls for nothing.
    fn replays_are_refused(&self, world: &mut World) {
        for me in 0..2 {
            for step in &self.steps[me] {
                if let Step::Open(n) = step {
                    let error = world.try_open(&self.sides[me], &self.messages[1 - me][*n]).err();
                    assert_eq!(error, Some(Decrypt4Error::Replay));
                }
            }
        }
    }

    /// With everything else lost, a message each way and one more bring both to one session.
    fn converges(mut self, world: &mut World) {
        for me in [0, 1, 0] {
            self.send(me, world);
            let message = self.messages[me].last().unwrap().clone();
            world.open(&mut self.sides[1 - me], &message).unwrap();
        }
        let [a, b] = self.sides.map(|side| side.sessions);
        assert_eq!(a.sending(), b.sending());
        assert!(a.is_answered() && b.is_answered());
    }
}

#[test]
fn every_schedule_of_three_messages_each_converges() {
    let mut world = World::new(1);
    let (alice, bob) = world.sides();
    let sides = [alice, bob];
    let start = State { sides, steps: Default::default(), messages: Default::default() };
    let steps: Vec<Step> = std::iter::once(Step::Send).chain((0..EACH).map(Step::Open)).collect();

    let (mut seen, mut waiting) = (HashSet::new(), vec![start]);
    while let Some(state) = waiting.pop() {
        state.replays_are_refused(&mut world);
        state.clone().converges(&mut world);
        for me in 0..2 {
            for &step in steps.iter().filter(|&&step| state.allows(me, step)) {
                let mut key = state.steps.clone();
                key[me].push(step);
                if seen.insert(key) {
                    let mut next = state.clone();
                    next.take(me, step, &mut world);
                    waiting.push(next);
                }
            }
        }
    }
    assert_eq!(seen.len(), 15_450);
}
