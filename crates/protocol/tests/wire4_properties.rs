//! Laws of wire 4, over schedules in which a relay loses, repeats, reorders and alters messages,
//! and users restart, lose what they had, or come back from a backup.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use stvor_protocol::Sessions;
use support::wire4::{Envelope, Side, World};

#[derive(Debug, Clone)]
enum Step {
    Send {
        alice: bool,
    },
    /// Deliver one of those on their way, which may stay there to come again.
    Deliver {
        which: prop::sample::Index,
        again: bool,
    },
    Lose {
        which: prop::sample::Index,
    },
    Alter {
        which: prop::sample::Index,
        at: prop::sample::Index,
    },
    Begin {
        alice: bool,
    },
    Restart {
        alice: bool,
    },
    Wait {
        ms: u64,
    },
}

/// What goes beyond the network.
#[derive(Debug, Clone)]
enum Disaster {
    Backup { alice: bool },
    Restore { alice: bool },
    LoseEverything { alice: bool },
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    prop_oneof![
        8 => any::<bool>().prop_map(|alice| Step::Send { alice }),
        10 => any::<(Index, bool)>().prop_map(|(which, again)| Step::Deliver { which, again }),
        2 => any::<Index>().prop_map(|which| Step::Lose { which }),
        1 => any::<(Index, Index)>().prop_map(|(which, at)| Step::Alter { which, at }),
        1 => any::<bool>().prop_map(|alice| Step::Begin { alice }),
        1 => any::<bool>().prop_map(|alice| Step::Restart { alice }),
        2 => (0..15_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn disaster() -> impl Strategy<Value = Disaster> {
    prop_oneof![
        any::<bool>().prop_map(|alice| Disaster::Backup { alice }),
        any::<bool>().prop_map(|alice| Disaster::Restore { alice }),
        any::<bool>().prop_map(|alice| Disaster::LoseEverything { alice }),
    ]
}

/// Two users, and the relay between them.
struct Play {
    world: World,
    sides: [User; 2],
    on_the_way: Vec<Envelope>,
    sent: u32,
}

struct User {
    side: Side,
    backup: Side,
    healed_at: u64,
    /// What was opened, in order.
    opened: Vec<Vec<u8>>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let (alice, bob) = world.sides();
        let user =
            |side: Side| User { backup: side.clone(), side, healed_at: 0, opened: Vec::new() };
        Self { world, sides: [user(alice), user(bob)], on_the_way: Vec::new(), sent: 0 }
    }

    fn begin(&mut self, me: usize, after: Option<u64>) {
        let theirs = self.sides[1 - me].side.clone();
        self.world.begin_after(&mut self.sides[me].side, &theirs, None, after);
    }

    /// As a client would: begins when there is nothing to send on.
    fn send(&mut self, me: usize) {
        if self.sides[me].side.sessions.sending().is_none() {
            self.begin(me, None);
        }
        self.sent += 1;
        let payload = self.sent.to_be_bytes();
        let message = self.world.seal(&mut self.sides[me].side, &payload);
        self.on_the_way.push(message);
    }

    /// Whether it opened.
    fn deliver(&mut self, message: &Envelope) -> bool {
        let me = usize::from(message.recipient == "bob");
        let user = &mut self.sides[me];
        match self.world.open(&mut user.side, message) {
            Ok(payload) => {
                user.opened.push(payload);
                true
            }
            Err(error) => {
                // At most once in 10 s, as clients do.
                if error.calls_for_a_new_session() && self.world.now >= user.healed_at + 10_000 {
                    user.healed_at = self.world.now;
                    self.begin(me, Some(message.begun_ms()));
                    self.send(me);
                }
                false
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send { alice } => self.send(usize::from(!alice)),
            Step::Begin { alice } => self.begin(usize::from(!alice), None),
            Step::Restart { alice } => {
                let side = &mut self.sides[usize::from(!alice)].side;
                side.sessions = Sessions::from_bytes(&side.sessions.to_bytes()).unwrap();
            }
            Step::Wait { ms } => self.world.now += ms,
            _ if self.on_the_way.is_empty() => {}
            Step::Deliver { which, again } => {
                let at = which.index(self.on_the_way.len());
                let message = self.on_the_way[at].clone();
                if !again {
                    self.on_the_way.remove(at);
                }
                let _ = self.deliver(&message);
            }
            Step::Lose { which } => {
                self.on_the_way.remove(which.index(self.on_the_way.len()));
            }
            Step::Alter { which, at } => {
                let mut message = self.on_the_way[which.index(self.on_the_way.len())].clone();
                let length = message.trailer.len();
                message.trailer[at.index(length)] ^= 1;
                let _ = self.deliver(&message);
            }
        }
    }

    fn disaster(&mut self, disaster: &Disaster) {
        match disaster {
            Disaster::Backup { alice } => {
                let user = &mut self.sides[usize::from(!alice)];
                user.backup = user.side.clone();
            }
            Disaster::Restore { alice } => {
                let user = &mut self.sides[usize::from(!alice)];
                user.side = user.backup.clone();
            }
            Disaster::LoseEverything { alice } => {
                let side = &mut self.sides[usize::from(!alice)].side;
                side.sessions = Sessions::new(side.sessions.their_identity().clone());
            }
        }
    }

    /// A network that works, and users who write now and then. Whether they come to send on one
    /// session, and everything opens from then on, in a few rounds.
    fn settles(&mut self) -> bool {
        (0..4).any(|_| {
            self.world.now += 10_000;
            self.deliver_all();
            self.round_opens()
        }) && (0..3).all(|_| self.round_opens())
    }

    fn deliver_all(&mut self) -> bool {
        let mut all = true;
        while !self.on_the_way.is_empty() {
            let message = self.on_the_way.remove(0);
            all &= self.deliver(&message);
        }
        all
    }

    /// A message each way.
    fn round_opens(&mut self) -> bool {
        (0..2).for_each(|me| self.send(me));
        let all = self.deliver_all();
        let [a, b] = self.sides.each_ref().map(|user| &user.side.sessions);
        all && a.sending() == b.sending() && a.is_answered() && b.is_answered()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a relay does: nothing is opened twice, and both come to send on one session.
    #[test]
    fn nothing_is_opened_twice_and_both_sides_agree(
        seed: u64,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut play = Play::new(seed);
        steps.iter().for_each(|step| play.step(step));
        prop_assert!(play.settles());
        for user in &mut play.sides {
            let opened = user.opened.len();
            user.opened.sort();
            user.opened.dedup();
            prop_assert_eq!(user.opened.len(), opened);
        }
    }

    /// Whatever users lose, both come to send on one session.
    #[test]
    fn both_sides_agree_after_disasters(
        seed: u64,
        acts in prop::collection::vec((disaster(), prop::collection::vec(step(), 0..12)), 0..8),
    ) {
        let mut play = Play::new(seed);
        for (disaster, steps) in &acts {
            play.disaster(disaster);
            steps.iter().for_each(|step| play.step(step));
        }
        prop_assert!(play.settles());
    }
}
