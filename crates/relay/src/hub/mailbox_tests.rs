use proptest::prelude::*;

use super::*;

fn stored(sequence: Sequence, len: usize) -> Stored {
    Stored { sequence, at: 0, id: None, unlisted: false, frame: vec![b'x'; len].into() }
}

proptest! {
    /// A mailbox is a list in order of acceptance, whatever is removed from where; its byte count
    /// is that of what it holds.
    #[test]
    fn it_holds_what_was_pushed_and_not_removed_in_order(
        steps in proptest::collection::vec((any::<bool>(), 0..40u64, 0..100usize), 0..200),
    ) {
        let (mut mailbox, mut model, mut next) = (Mailbox::default(), Vec::new(), 0);
        for (push, number, len) in steps {
            if push {
                next += 1 + number; // numbers grow, with gaps: others get some of them
                mailbox.push(stored(next, len));
                model.push((next, len));
            } else {
                let at = model.iter().position(|(sequence, _)| *sequence == number);
                let expected = at.map(|at| model.remove(at));
                let removed = mailbox.remove(number).map(|m| (m.sequence, m.frame.len()));
                prop_assert_eq!(removed, expected);
            }
            let held: Vec<_> = mailbox.iter().map(|m| (m.sequence, m.frame.len())).collect();
            prop_assert_eq!(&held, &model);
            prop_assert_eq!(mailbox.bytes(), model.iter().map(|(_, len)| cost(*len)).sum::<usize>());
            for (sequence, _) in &model {
                prop_assert!(mailbox.get(*sequence).is_some());
            }
        }
    }
}

#[test]
fn room_ends_with_the_messages_or_with_the_bytes() {
    let mut mailbox = Mailbox::default();
    mailbox.push(stored(0, 100));
    assert!(mailbox.has_room(cost(100), 2, 2 * cost(100)));
    assert!(!mailbox.has_room(cost(100), 1, usize::MAX), "as many messages as it may");
    assert!(!mailbox.has_room(cost(101), 2, 2 * cost(100)), "more bytes than it may");
    assert!(!mailbox.has_room(cost(0), 2, cost(100)), "an empty message takes memory too");
}
