//! What must hold when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::party::lock;
use super::schedule::{Attempt, World};

/// What does not hold, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub(super) String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

fn violation<T>(text: String) -> Result<T, Violation> {
    Err(Violation(text))
}

/// Whether nothing is on its way any more, by what is on the disks and in the handlers.
pub(super) fn is_at_rest(world: &World) -> bool {
    unrest(world).is_empty()
}

/// What still waits, in words; empty at rest.
pub(super) fn unrest(world: &World) -> String {
    let mut waits = Vec::new();
    for party in &world.parties {
        if !lock(&party.journal).waiting.is_empty() {
            waits.push(format!("{} handles", party.id));
        }
        for other in world.parties.iter().filter(|other| other.id != party.id) {
            let record = party.disk.record(&party.id, &other.id);
            if let Some(record) = record.filter(|record| record.is_active()) {
                waits.push(format!("{} with {}: {record:?}", party.id, other.id));
            }
        }
    }
    waits.join("; ")
}

/// Every message whose send was accepted was completed exactly once, in order, and both sides of
/// each pair send on the same session. Where a disk went back in time, what that cannot but cost
/// is excused: messages of a sender who has forgotten them, and repetitions to a recipient who has,
/// or from a sender whose clock went back as well.
pub(super) fn check(world: &World) -> Result<(), Violation> {
    for from in 0..world.parties.len() {
        for to in (0..world.parties.len()).filter(|to| *to != from) {
            delivered(world, from, to)?;
            if from < to {
                agreed(world, from, to)?;
            }
        }
    }
    Ok(())
}

fn delivered(world: &World, from: usize, to: usize) -> Result<(), Violation> {
    let (sender, recipient) = (&world.parties[from], &world.parties[to]);
    let pair = format!("{} to {}", sender.id, recipient.id);
    let journal = lock(&recipient.journal);
    let completed: Vec<_> = journal.completed.iter().filter(|c| c.from == sender.id).collect();
    let forgotten = world.resets.iter().filter(|reset| reset.party == from).map(|r| r.at).max();
    let attempts = world.attempts.iter().enumerate();
    for (number, attempt) in attempts.filter(|(_, a)| (a.from, a.to) == (from, to)) {
        let arrived = completed.iter().any(|c| c.text == attempt.text);
        let accepted = attempt.outcome.accepted.load(Ordering::Relaxed);
        if accepted && !arrived && forgotten.is_none_or(|at| at <= number) {
            return violation(format!("{pair}: {} was accepted and never arrived", attempt.text));
        }
    }
    // Whoever's disk goes back repeats itself; after the last time, nothing is repeated.
    let since = world.resets.iter().filter(|reset| reset.party == from || reset.party == to);
    let since = since.map(|reset| reset.at).max().unwrap_or(0);
    let mut seen: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    let mut highest = None;
    for done in completed {
        let number: usize = done.text.parse().map_err(|_| Violation("not a number".into()))?;
        let sent = world.attempts.get(number).is_some_and(|a| (a.from, a.to) == (from, to));
        if !sent {
            return violation(format!("{pair}: {} was never sent", done.text));
        }
        if number < since {
            continue;
        }
        match seen.get(done.text.as_str()) {
            // What was sent before the loss may overtake what is sent after it.
            Some((id, _)) if *id != done.id && clock_went_back(world, from) => {}
            Some((id, _)) if *id != done.id => {
                return violation(format!("{pair}: {} came under two ids", done.text));
            }
            Some((_, life)) if *life == done.life => {
                return violation(format!("{pair}: {} came twice in one life", done.text));
            }
            Some(_) if !again(world, to, &done.id) => {
                return violation(format!("{pair}: {} came again, though handled", done.text));
            }
            Some(_) => {}
            None => {
                if highest.is_some_and(|highest| number < highest) {
                    return violation(format!("{pair}: {} came late", done.text));
                }
                highest = Some(number);
            }
        }
        seen.insert(&done.text, (&done.id, done.life));
    }
    Ok(())
}

/// Whether the party has lost its records together with the right time.
fn clock_went_back(world: &World, party: usize) -> bool {
    world.resets.iter().any(|reset| reset.party == party && reset.clock_too)
}

/// Whether the id was on the recipient's disk, not handled, at the start of some life.
fn again(world: &World, to: usize, id: &str) -> bool {
    world.parties[to].given_again_ever.contains(id)
}

/// Two who have never written to each other may each have begun a session because of what the relay
/// said in the other's name. Nobody learns of those before somebody writes.
fn agreed(world: &World, a: usize, b: usize) -> Result<(), Violation> {
    let is_between = |attempt: &Attempt| [(a, b), (b, a)].contains(&(attempt.from, attempt.to));
    if !world.attempts.iter().any(is_between) {
        return Ok(());
    }
    let (a, b) = (&world.parties[a], &world.parties[b]);
    let sending = |x: &super::party::Party, y: &super::party::Party| {
        x.disk.record(&x.id, &y.id).and_then(|record| record.sending_session())
    };
    let sessions: BTreeSet<_> = [sending(a, b), sending(b, a)].into_iter().flatten().collect();
    match sessions.len() {
        2 => violation(format!(
            "{} and {} send on two sessions: {:?}, {:?}",
            a.id,
            b.id,
            a.disk.record(&a.id, &b.id),
            b.disk.record(&b.id, &a.id)
        )),
        _ => Ok(()),
    }
}
