//! Which session two sides send on, by exhaustive search: three messages each, in every order, each
//! of them lost, delivered or delivered again, from three beginnings. Real sessions, real keys;
//! states that differ in nothing but the randomness drawn are searched once.
//!
//! The law, in every state: what was never opened opens, what was opened does not open again, and
//! if everything still on its way is lost, two messages each later both sides send on one session.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::fmt::Write as _;

use stvor_protocol::{Decrypt4Error, SessionId, Sessions};
use support::wire4::{Envelope, Side, World};

/// Messages that each side sends.
const EACH: usize = 3;

#[derive(Clone)]
struct State {
    sides: [Side; 2],
    sent: [usize; 2],
    /// Whether the side has begun a session because it could not open something.
    healed: [bool; 2],
    flights: Vec<Flight>,
}

#[derive(Clone)]
struct Flight {
    to: usize,
    envelope: Envelope,
    session: SessionId,
    opened: bool,
}

struct Search {
    world: World,
    /// Whether a side that was set up alike may not know the other's sessions.
    loses: bool,
    seen: HashSet<String>,
    keys: Vec<[u8; 65]>,
}

impl Search {
    /// Visits the state and everything that can follow it.
    fn visit(&mut self, state: State) {
        if !self.seen.insert(self.name(&state)) {
            return;
        }
        self.settles(state.clone());
        self.repeats(&state);
        for from in 0..2 {
            if state.sent[from] < EACH {
                let mut next = state.clone();
                self.send(&mut next, from);
                self.visit(next);
            }
        }
        for at in 0..state.flights.len() {
            if !state.flights[at].opened {
                let mut next = state.clone();
                self.deliver(&mut next, at);
                self.visit(next);
            }
        }
    }

    fn send(&mut self, state: &mut State, from: usize) {
        if state.sides[from].sessions.sending().is_none() {
            let to = state.sides[1 - from].clone();
            self.world.begin(&mut state.sides[from], &to, None);
        }
        state.sent[from] += 1;
        let envelope = self.world.seal(&mut state.sides[from], &[state.sent[from] as u8]);
        let session = state.sides[from].sessions.sending().unwrap();
        let key: [u8; 65] = envelope.header[..65].try_into().unwrap();
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        let flight = Flight { to: 1 - from, envelope, session, opened: false };
        state.flights.push(flight);
    }

    fn deliver(&mut self, state: &mut State, at: usize) {
        let flight = state.flights[at].clone();
        match self.world.open(&mut state.sides[flight.to], &flight.envelope) {
            Ok(_) => state.flights[at].opened = true,
            Err(error) => {
                assert!(self.loses, "{error}: nothing was lost");
                // Late, on a session that was lost and has been replaced: nothing to mend.
                if error != Decrypt4Error::Replay {
                    assert!(error.calls_for_a_new_session(), "{error}");
                    self.heal(state, flight.to, &flight.envelope);
                }
            }
        }
    }

    /// What was opened does not open again. That it is refused changes nothing, so a repetition
    /// needs no state of its own; one that was not opened is delivered as often as it takes.
    fn repeats(&mut self, state: &State) {
        for flight in state.flights.iter().filter(|flight| flight.opened) {
            let again = self.world.try_open(&state.sides[flight.to], &flight.envelope);
            assert_eq!(again.err(), Some(Decrypt4Error::Replay));
        }
    }

    /// Begins a session in answer to what could not be opened, once.
    fn heal(&mut self, state: &mut State, side: usize, envelope: &Envelope) {
        if std::mem::replace(&mut state.healed[side], true) {
            return;
        }
        let to = state.sides[1 - side].clone();
        let after = Some(envelope.begun_ms());
        self.world.begin_after(&mut state.sides[side], &to, None, after);
    }

    /// Whatever is on its way is lost. Two messages each, and both sides are at one.
    fn settles(&mut self, mut state: State) {
        state.flights.clear();
        state.healed = [false; 2];
        for round in 0..4 {
            let from = round % 2;
            self.send(&mut state, from);
            self.deliver(&mut state, round);
        }
        let [a, b] = state.sides.map(|side| side.sessions);
        assert_eq!(a.sending(), b.sending());
        assert!(a.is_answered() && b.is_answered());
    }

    /// The state without its randomness: who holds which sessions in which order, and what is
    /// known of each message.
    fn name(&self, state: &State) -> String {
        let mut ids: Vec<SessionId> = Vec::new();
        let mut note = |id: SessionId| match ids.iter().position(|known| *known == id) {
            Some(at) => at,
            None => {
                ids.push(id);
                ids.len() - 1
            }
        };
        let mut name = String::new();
        for flight in &state.flights {
            let key: &[u8] = &flight.envelope.header[..65];
            let key = self.keys.iter().position(|known| known == key).unwrap();
            let first = state.flights.iter().position(|f| {
                let known: &[u8] = &f.envelope.header[..65];
                self.keys.iter().position(|k| k == known).unwrap() == key
            });
            let rest = &flight.envelope.header[65..73];
            let Flight { to, opened, session, .. } = flight;
            let session = note(*session);
            write!(name, "{to}{session}{first:?}{rest:?}{opened};").unwrap();
        }
        let shown = state.sides.each_ref().map(|side| shown(&side.sessions));
        for (text, held) in &shown {
            let held: Vec<usize> = held.iter().map(|id| note(*id)).collect();
            write!(name, "|{text}{held:?}").unwrap();
        }
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|at| ids[*at]);
        write!(name, "|{:?}{:?}{order:?}", state.sent, state.healed).unwrap();
        name
    }
}

/// What `Debug` shows of sessions, and their ids in the order shown.
fn shown(sessions: &Sessions) -> (String, Vec<SessionId>) {
    let (mut text, mut ids) = (String::new(), Vec::new());
    for (n, part) in format!("{sessions:?}").split("id: ").enumerate() {
        match part.split_at_checked(16).filter(|_| n > 0) {
            Some((id, rest)) => {
                ids.push(SessionId::from_bytes(hex::decode(id).unwrap().try_into().unwrap()));
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    (text, ids)
}

fn search(loses: bool, begin: impl FnOnce(&mut World) -> (Side, Side)) -> usize {
    let mut world = World::new(7);
    let (alice, bob) = begin(&mut world);
    let mut search = Search { world, loses, seen: HashSet::new(), keys: Vec::new() };
    let sides = [alice, bob];
    search.visit(State { sides, sent: [0; 2], healed: [false; 2], flights: Vec::new() });
    search.seen.len()
}

#[test]
fn two_who_may_both_begin_end_on_one_session() {
    let states = search(false, World::sides);
    println!("{states} states");
    assert!(states > 1_000, "{states} states are no search");
}

#[test]
fn two_who_agree_stay_on_their_session() {
    let states = search(false, World::settled);
    println!("{states} states");
    assert!(states > 1_000, "{states} states are no search");
}

#[test]
fn one_who_has_lost_everything_and_one_who_has_not_end_on_one_session() {
    let states = search(true, |world| {
        let (alice, bob) = world.settled();
        world.now += 60_000;
        let fresh = Sessions::new(bob.sessions.their_identity().clone());
        (alice, Side { sessions: fresh, ..bob })
    });
    println!("{states} states");
    assert!(states > 1_000, "{states} states are no search");
}
