//! The law of the mailbox, over any history: what was accepted leaves exactly once, for an
//! acknowledgement, in order, and the bounds hold.

use std::collections::BTreeMap;

mod prekeys;

use proptest::prelude::*;

use super::*;
use crate::token::Namespace;

fn namespace() -> Namespace {
    "stvor_test".into()
}

fn hub(limits: Limits) -> Hub {
    Hub::new(Config { limits, ..Config::default() })
}

fn connect(hub: &Hub, acknowledges: bool) -> SocketKey {
    hub.connect(namespace(), acknowledges.then_some("ack")).key
}

fn announce(hub: &Hub, socket: SocketKey, user: &str) {
    hub.frame(socket, &format!(r#"{{"type":"announce","user":"{user}","pub":"keys of {user}"}}"#));
}

fn send(hub: &Hub, socket: SocketKey, to: &str, id: u32) {
    hub.frame(socket, &message(to, id));
}

fn message(to: &str, id: u32) -> String {
    let payload = r#"{"ciphertext":"c","header":"h"}"#;
    format!(r#"{{"type":"message","id":"{id}","to":"{to}","from":"sender","payload":{payload}}}"#)
}

/// What a connection would write now, as JSON, with its messages given away if it can only write.
fn read(hub: &Hub, socket: SocketKey) -> Vec<serde_json::Value> {
    let mut frames = Vec::new();
    loop {
        let mut batch = Batch::default();
        hub.take(socket, &mut batch);
        assert!(!batch.doomed);
        for frame in &batch.frames {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let json = bytes.iter().position(|byte| *byte == b'{').map(|at| &bytes[at..]);
            frames.extend(
                json.map(|json| serde_json::from_slice::<serde_json::Value>(json).unwrap()),
            );
        }
        hub.written(&mut batch.leaving);
        if batch.frames.is_empty() {
            return frames;
        }
    }
}

/// The ids of messages among the frames, and the numbers of deliveries.
fn messages(frames: &[serde_json::Value]) -> Vec<(u32, Option<u64>)> {
    let id = |m: &serde_json::Value| m["id"].as_str().unwrap().parse().unwrap();
    frames
        .iter()
        .filter_map(|frame| match frame["type"].as_str().unwrap() {
            "message" => Some((id(frame), None)),
            "deliver" => Some((id(&frame["message"]), frame["delivery"].as_u64())),
            _ => None,
        })
        .collect()
}

fn types(frames: &[serde_json::Value]) -> Vec<String> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
}

fn received(hub: &Hub, socket: SocketKey, deliveries: &[u64]) {
    hub.frame(socket, &format!(r#"{{"type":"received","deliveries":{deliveries:?}}}"#));
}

const USERS: [&str; 2] = ["bob", "carol"];

#[derive(Debug, Clone)]
enum Step {
    Send { to: usize },
    SendAgain,
    Connect { user: usize, acknowledges: bool },
    Read { user: usize },
    Acknowledge { user: usize, nth: usize },
    Disconnect { user: usize },
    Poll { user: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS.len();
    prop_oneof![
        6 => user().prop_map(|to| Step::Send { to }),
        1 => Just(Step::SendAgain),
        2 => (user(), any::<bool>())
            .prop_map(|(user, acknowledges)| Step::Connect { user, acknowledges }),
        4 => user().prop_map(|user| Step::Read { user }),
        4 => (user(), 0..4usize).prop_map(|(user, nth)| Step::Acknowledge { user, nth }),
        1 => user().prop_map(|user| Step::Disconnect { user }),
        1 => user().prop_map(|user| Step::Poll { user }),
    ]
}

/// What ought to be the case.
#[derive(Default)]
struct Model {
    /// Accepted and not acknowledged, per user, in order.
    waiting: BTreeMap<usize, Vec<u32>>,
    /// Each user's socket and whether it acknowledges.
    sockets: BTreeMap<usize, (SocketKey, bool)>,
    /// What its socket has read and not acknowledged.
    unacknowledged: BTreeMap<usize, Vec<(u32, u64)>>,
    sent: u32,
    last_to: usize,
}

impl Model {
    /// Frames that the user's socket reads must be the oldest that wait and that it has not read.
    fn read(&mut self, hub: &Hub, user: usize) {
        let Some((socket, acknowledges)) = self.sockets.get(&user).copied() else { return };
        let unread = self.unacknowledged.entry(user).or_default();
        let waiting = self.waiting.entry(user).or_default();
        let expected: Vec<u32> = waiting
            .iter()
            .copied()
            .filter(|id| unread.iter().all(|(read, _)| read != id))
            .collect();
        let read = messages(&read(hub, socket));
        let ids: Vec<u32> = read.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, expected, "the oldest first, none twice, none missing");
        if acknowledges {
            unread.extend(read.iter().map(|(id, delivery)| (*id, delivery.unwrap())));
        } else {
            waiting.clear();
        }
    }

    fn step(&mut self, hub: &Hub, sender: SocketKey, step: &Step) {
        match *step {
            Step::Send { to } => {
                send(hub, sender, USERS[to], self.sent);
                self.waiting.entry(to).or_default().push(self.sent);
                self.last_to = to;
                self.sent += 1;
            }
            Step::SendAgain if self.sent > 0 => {
                send(hub, sender, USERS[self.last_to], self.sent - 1);
            }
            Step::SendAgain => {}
            Step::Connect { user, acknowledges } => {
                let socket = connect(hub, acknowledges);
                announce(hub, socket, USERS[user]);
                self.sockets.insert(user, (socket, acknowledges));
                self.unacknowledged.remove(&user);
            }
            Step::Read { user } => self.read(hub, user),
            Step::Acknowledge { user, nth } => {
                let Some(read) = self.unacknowledged.get_mut(&user) else { return };
                if nth < read.len() {
                    let (id, delivery) = read.remove(nth);
                    // Twice, and numbers that never were: only the first counts.
                    received(hub, self.sockets[&user].0, &[delivery, delivery, 1_000_000]);
                    self.waiting.entry(user).or_default().retain(|waiting| *waiting != id);
                }
            }
            Step::Disconnect { user } => {
                if let Some((socket, _)) = self.sockets.remove(&user) {
                    hub.disconnect(socket);
                    self.unacknowledged.remove(&user);
                }
            }
            Step::Poll { user } => self.poll(hub, user),
        }
    }

    fn poll(&mut self, hub: &Hub, user: usize) {
        let Ok(inbox) = hub.inbox(&namespace(), USERS[user]) else { return };
        let sequences = inbox.iter().map(|stored| stored.sequence);
        let taken = hub.empty(&namespace(), USERS[user], sequences);
        if self.sockets.contains_key(&user) {
            assert!(taken.is_empty(), "an online user's mail goes to its socket");
        } else {
            let waiting = self.waiting.entry(user).or_default();
            assert_eq!(taken.len(), waiting.len());
            waiting.clear();
        }
    }
}

proptest! {
    #[test]
    fn what_is_accepted_leaves_exactly_once_and_in_order(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let hub = hub(Limits::default());
        let sender = connect(&hub, true);
        let mut model = Model::default();
        for step in &steps {
            model.step(&hub, sender, step);
        }
        for user in 0..USERS.len() {
            model.step(&hub, sender, &Step::Connect { user, acknowledges: false });
            model.read(&hub, user);
            model.step(&hub, sender, &Step::Disconnect { user });
        }
        let keys: usize = hub.state().users.iter().map(|(_, u)| u.keys.as_ref().unwrap().frame.len()).sum();
        prop_assert_eq!(hub.state().stored_bytes, keys, "nothing but keys is held at the end");
        let frames = read(&hub, sender);
        let answers = types(&frames).iter().filter(|t| *t == "ack" || *t == "queued").count();
        let sends = steps.iter().filter(|s| matches!(s, Step::Send { .. })).count();
        prop_assert!(answers >= sends, "every send is answered");
    }

    /// However much is sent to whomever: the bounds hold, and what is refused is said.
    #[test]
    fn the_bounds_hold(sends in proptest::collection::vec((0..6u32, 0..300usize), 0..80)) {
        let limits = Limits {
            max_mailbox_messages: 5,
            max_mailbox_bytes: 1500,
            max_users: 4,
            max_stored_bytes: 4000,
            ..Limits::default()
        };
        let hub = hub(limits);
        let sender = connect(&hub, true);
        for (n, (to, len)) in (0u32..).zip(&sends) {
            let payload = "x".repeat(*len);
            hub.frame(sender, &format!(
                r#"{{"type":"message","id":"{n}","to":"user-{to}","from":"s","payload":"{payload}"}}"#
            ));
            let state = hub.state();
            prop_assert!(state.users.len() <= 4 && state.stored_bytes <= 4000);
            for (_, user) in state.users.iter() {
                prop_assert!(user.mailbox.len() <= 5 && user.mailbox.bytes() <= 1500);
            }
        }
        let answers = types(&read(&hub, sender));
        let stored: usize = hub.state().users.iter().map(|(_, user)| user.mailbox.len()).sum();
        let count = |kind: &str| answers.iter().filter(|answer| *answer == kind).count();
        prop_assert_eq!((count("queued"), count("queued") + count("error")), (stored, sends.len()));
    }
}

#[test]
fn an_id_means_the_user_under_ones_own_token_and_else_anybodys() {
    let hub = hub(Limits::default());
    let (ours, theirs): (Namespace, Namespace) = ("ours".into(), "theirs".into());
    hub.register(&theirs, "bob", Some("\"their bob\"")).unwrap();
    let us = hub.connect(ours.clone(), None).key;
    let pub_of_bob = |frames: Vec<serde_json::Value>| frames.last().unwrap()["pub"].clone();
    assert_eq!(pub_of_bob(read(&hub, us)), "their bob", "WebSocket clients see everybody");
    assert_eq!(hub.public_keys(&ours, "bob"), Err(HttpError::NoUser), "HTTP only its own");

    announce(&hub, us, "alice");
    hub.register(&ours, "bob", Some("\"our bob\"")).unwrap();
    assert_eq!(pub_of_bob(read(&hub, us)), "our bob");
    hub.register(&theirs, "bob", Some("\"their bob, again\"")).unwrap();
    assert_eq!(read(&hub, us), [] as [serde_json::Value; 0], "not whom we mean by bob any more");
    send(&hub, us, "bob", 1);
    assert_eq!(hub.inbox(&ours, "bob").unwrap().len(), 1);
    assert_eq!(hub.inbox(&theirs, "bob").unwrap().len(), 0);
}

#[test]
fn a_user_announced_under_another_token_moves_with_its_mail() {
    let hub = hub(Limits::default());
    let (first, second): (Namespace, Namespace) = ("first".into(), "second".into());
    let socket = hub.connect(first.clone(), None).key;
    announce(&hub, socket, "bob");
    hub.disconnect(socket);
    let sender = hub.connect(first.clone(), None).key;
    send(&hub, sender, "bob", 1);
    let again = hub.connect(second.clone(), None).key;
    announce(&hub, again, "bob");
    assert_eq!(messages(&read(&hub, again)), [(1, None)]);
    assert_eq!((hub.usage(&first).users, hub.usage(&second).users), (0, 1));
}

#[test]
fn a_socket_that_reads_no_answers_is_dropped_and_its_mail_stays() {
    let hub = hub(Limits { max_queue_bytes: 1000, ..Limits::default() });
    let (bob, sender) = (connect(&hub, false), connect(&hub, true));
    announce(&hub, bob, "bob");
    (0..100).for_each(|id| send(&hub, bob, "nobody", id));
    assert!(hub.is_doomed(bob) && !hub.is_doomed(sender));
    send(&hub, sender, "bob", 7);
    hub.disconnect(bob);
    let again = connect(&hub, false);
    announce(&hub, again, "bob");
    assert_eq!(messages(&read(&hub, again)), [(7, None)]);
}

#[test]
fn a_full_mailbox_does_not_count_against_its_reader() {
    let hub = hub(Limits { max_queue_bytes: 1000, ..Limits::default() });
    let (bob, sender) = (connect(&hub, true), connect(&hub, true));
    for id in 0..1000 {
        send(&hub, sender, "bob", id);
        read(&hub, sender);
    }
    announce(&hub, bob, "bob");
    assert_eq!(messages(&read(&hub, bob)).len(), 1000);
}

#[test]
fn nobody_can_have_anothers_message_taken_for_one_that_came_before() {
    let hub = hub(Limits::default());
    let (alice, mallory) = (connect(&hub, true), connect(&hub, true));
    let genuine = message("bob", 7);
    let forged = genuine.replace(r#""ciphertext":"c""#, r#""ciphertext":"x""#);
    hub.frame(mallory, &forged);
    hub.frame(alice, &genuine);
    hub.frame(alice, &genuine);
    let bob = connect(&hub, true);
    announce(&hub, bob, "bob");
    assert_eq!(messages(&read(&hub, bob)), [(7, Some(1)), (7, Some(2))], "the genuine one once");
}

#[test]
fn a_user_who_moves_to_and_fro_costs_no_more_than_it_has_read() {
    let hub = hub(Limits { max_queue_bytes: 100_000, ..Limits::default() });
    let (one, two, sender) = (connect(&hub, true), connect(&hub, true), connect(&hub, true));
    let mut all = Vec::new();
    for id in 0..5000 {
        send(&hub, sender, "bob", id);
        send(&hub, sender, "carol", id);
        read(&hub, sender);
        all.push(id);
    }
    announce(&hub, one, "carol");
    for _ in 0..500 {
        for socket in [one, two] {
            announce(&hub, socket, "bob");
            hub.take(socket, &mut Batch::default());
        }
    }
    let held = |socket: SocketKey| hub.state().sockets[&socket].entries();
    assert!(held(one) < 12_000 && held(two) < 7_000, "{} {}", held(one), held(two));
    announce(&hub, two, "bob");
    let again = connect(&hub, true);
    announce(&hub, again, "bob");
    let ids: Vec<u32> = messages(&read(&hub, again)).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, all);
}

#[test]
fn silence_is_answered_by_a_ping_and_more_silence_by_the_end() {
    let hub = hub(Limits::default());
    let (quiet, lively) = (connect(&hub, false), connect(&hub, false));
    hub.sweep();
    hub.alive(lively);
    hub.sweep();
    hub.alive(lively);
    hub.sweep();
    assert!(hub.is_doomed(quiet) && !hub.is_doomed(lively));
}

#[test]
fn memory_for_what_arrives_in_part_is_counted_and_given_back() {
    let hub = hub(Limits { max_stored_bytes: 100, ..Limits::default() });
    let mut held = Reservation::new(&hub);
    assert!(held.resize(60) && held.resize(100) && !held.resize(101));
    let mut other = Reservation::new(&hub);
    assert!(!other.resize(1));
    drop(held);
    assert!(other.resize(100));
}
