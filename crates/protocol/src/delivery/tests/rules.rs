//! One test for each rule.

use super::super::*;

const T0: u64 = 1_800_000_000_000;

fn text(content: &Content) -> &str {
    std::str::from_utf8(content.as_bytes()).unwrap()
}

fn pushed(delivery: &Delivery, words: &[&str]) -> Delivery {
    words.iter().fold(delivery.clone(), |delivery, word| {
        delivery.push(Content::text((*word).into()), false).unwrap().0
    })
}

/// Seals all that wants sealing.
fn sealed(delivery: &Delivery, now_ms: u64) -> (Delivery, Vec<Zeroizing<Vec<u8>>>) {
    let (mut delivery, mut payloads) = (delivery.clone(), Vec::new());
    while let Some(sealable) = delivery.seal(now_ms) {
        payloads.push(sealable.payload);
        delivery = sealable.delivery;
    }
    (delivery, payloads)
}

fn words(accepted: &Accepted) -> Vec<&str> {
    accepted.delivered.iter().map(|item| text(&item.content)).collect()
}

#[test]
fn a_message_arrives_is_handled_and_leaves_the_outbox() {
    let (alice, payloads) = sealed(&pushed(&Delivery::new(T0), &["hi"]), T0);
    let accepted = Delivery::new(T0).accept(&payloads[0], 7, T0 + 10).unwrap();
    assert_eq!(words(&accepted), ["hi"]);
    assert_eq!(accepted.delivered[0].timestamp_ms, 7);
    let bob = accepted.delivery.handled(accepted.delivered[0].seq, T0 + 20);
    assert_eq!(bob.inbox().count(), 0);
    assert_eq!(bob.next_deadline(), Some(T0 + 510));
    assert!(bob.control(T0 + 509).is_none());
    let (bob, receipt) = bob.control(T0 + 510).unwrap();
    assert_eq!(bob.next_deadline(), None);
    let accepted = alice.accept(&receipt, 0, T0 + 600).unwrap();
    assert_eq!(accepted.handled, [T0 << 12]);
    assert_eq!(accepted.delivery.outbox_len(), 0);
    assert_eq!(accepted.delivery.next_deadline(), None);
}

#[test]
fn a_delivery_is_small() {
    assert!(size_of::<Delivery>() <= 400, "{}", size_of::<Delivery>());
    assert!(Delivery::new(T0).to_bytes().len() <= 64);
}
