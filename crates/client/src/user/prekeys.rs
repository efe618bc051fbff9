//! Our own prekeys: keeping one-time prekeys at the relay, and replacing the others every week.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use stvor_protocol::{OneTimePrekey, Prekeys};
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;

use super::User;
use super::step::Step;
use crate::link::Request;

/// How many one-time prekeys the relay is to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stock {
    /// When it is filled up.
    pub(crate) full: usize,
    /// With fewer it is filled up.
    pub(crate) few: usize,
}

impl Stock {
    pub(crate) const USUAL: Self = Self { full: 100, few: 25 };

    /// One-time prekeys made at once at most: all of them, and all of them again for a relay that
    /// has forgotten them.
    fn most_at_once(self) -> usize {
        2 * self.full
    }
}

/// How long it takes until one more may be made beyond these: a hundred an hour. A relay that always
/// says that none are left would otherwise have us make keys for ever, and soon push those out that
/// somebody is writing to us with. Who is written to by more people for the first time is written to
/// without one.
const ONE_MORE: Duration = Duration::from_secs(36);

/// How many one-time prekeys may be made, and what the relay waits for.
#[derive(Debug)]
pub(super) struct Allowance {
    stock: Stock,
    /// As of `since`.
    left: usize,
    since: Instant,
    /// What the relay has said that it has, if it could not be given all that it lacks.
    short: Option<usize>,
}

impl Allowance {
    pub(super) fn new(stock: Stock, now: Instant) -> Self {
        Self { stock, left: stock.most_at_once(), since: now, short: None }
    }

    /// How many to make for a relay that has `left`; they are taken off.
    fn take(&mut self, left: usize, now: Instant) -> usize {
        let Stock { full, few } = self.stock;
        self.short = None;
        if left >= few {
            return 0;
        }
        let earned = now.duration_since(self.since).as_secs() / ONE_MORE.as_secs();
        self.since += ONE_MORE * u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = usize::try_from(earned).unwrap_or(usize::MAX).saturating_add(self.left);
        self.left = self.left.min(self.stock.most_at_once());
        let count = self.left.min(full - left);
        self.left -= count;
        self.short = (left + count < few).then_some(left + count);
        count
    }

    /// So many were made in a step that was not taken: the relay is given others before long.
    pub(super) fn not_published(&mut self, count: usize) {
        self.left = (self.left + count).min(self.stock.most_at_once());
        self.short = Some(self.stock.full.saturating_sub(count));
    }

    /// When a relay that was given too few may be given enough.
    fn due(&self) -> Option<Instant> {
        let lacking = self.stock.few.saturating_sub(self.short?).saturating_sub(self.left).max(1);
        Some(self.since + ONE_MORE * u32::try_from(lacking).unwrap_or(u32::MAX))
    }
}

impl User {
    /// The relay says how many one-time prekeys it has left.
    pub(super) fn prekeys_left(&mut self, left: usize, step: &mut Step) {
        let count = self.allowance.take(left, Instant::now());
        if count == 0 {
            return;
        }
        let own = step.user.as_ref().unwrap_or(&self.own);
        let (prekeys, fresh) = own.prekeys().with_one_time(count, &mut self.random);
        step.user = Some(own.with_prekeys(prekeys));
        let prekeys = fresh.iter().map(|key| (key.id(), BASE64.encode(key.as_bytes()))).collect();
        step.requests.push(Request::Publish { user: self.id.clone(), prekeys });
    }

    /// Replaces the signed prekey and the KEM key when a week has passed, and gives the relay the
    /// one-time prekeys that it could not be given before.
    pub(super) fn renew_prekeys(&mut self, step: &mut Step) {
        if self.allowance.due().is_some_and(|at| at <= Instant::now())
            && let Some(left) = self.allowance.short
        {
            self.prekeys_left(left, step);
        }
        let now_ms = self.clock.now_ms();
        let own = step.user.as_ref().unwrap_or(&self.own);
        let Some(prekeys) = own.prekeys().rotated(now_ms, &mut self.random) else { return };
        // Who announces the keys that are known already is taken for somebody who was away.
        if !prekeys.shows_the_same_as(own.prekeys()) {
            let bundle = wire_bundle(&prekeys, &self.id);
            step.requests.push(Request::Announce { user: self.id.clone(), bundle });
        }
        step.user = Some(own.with_prekeys(prekeys));
    }

    pub(super) fn next_renewal(&self) -> Instant {
        let rotation = self.clock.instant(self.own.prekeys().next_rotation_ms());
        self.allowance.due().into_iter().fold(rotation, Instant::min)
    }
}

/// What others are shown.
pub(crate) fn wire_bundle(prekeys: &Prekeys, user_id: &str) -> PublicKeyBundle {
    let bundle = prekeys.local_keys().bundle();
    PublicKeyBundle {
        identity_key: bundle.identity_key_base64url(),
        signed_pre_key: bundle.signed_prekey_base64url(),
        signed_pre_key_signature: bundle.signature_base64url(),
        one_time_pre_key: String::new(),
        v4: Some(BASE64.encode(prekeys.v4(user_id))),
    }
}

/// A one-time prekey as it travels; `None` if it is no such key.
pub(super) fn parse_one_time(id: u32, key: &str) -> Option<OneTimePrekey> {
    OneTimePrekey::parse(id, &BASE64.decode(key).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = Stock::USUAL.full;
    const FEW: usize = Stock::USUAL.few;

    #[test]
    fn a_relay_that_has_enough_is_given_none() {
        let mut allowance = Allowance::new(Stock::USUAL, Instant::now());
        assert_eq!(allowance.take(FEW, allowance.since), 0);
        assert_eq!(allowance.take(FEW - 1, allowance.since), FULL - FEW + 1);
        assert_eq!(allowance.due(), None);
    }

    #[test]
    fn a_relay_that_always_says_none_left_is_given_a_hundred_an_hour() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Stock::USUAL, start);
        let mut made = 0;
        for second in 0..10 * 3_600 {
            made += allowance.take(0, start + Duration::from_secs(second));
        }
        assert_eq!(made, 2 * FULL + 999, "the thousandth is earned in the next second");
    }

    #[test]
    fn a_relay_that_was_given_too_few_is_given_more_without_asking_again() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Stock::USUAL, start);
        assert_eq!([0, 0, 0].map(|left| allowance.take(left, start)), [100, 100, 0]);
        let due = allowance.due().unwrap();
        assert_eq!(due, start + ONE_MORE * FEW as u32);
        assert_eq!(allowance.take(allowance.short.unwrap(), due), FEW);
        assert_eq!(allowance.due(), None);
        let later = due + Duration::from_secs(3 * 3_600);
        assert_eq!([0, 0, 0].map(|left| allowance.take(left, later)), [100, 100, 0]);
    }

    #[test]
    fn what_a_step_that_was_not_taken_had_made_is_made_again() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Stock::USUAL, start);
        assert_eq!(allowance.take(10, start), 90);
        allowance.not_published(90);
        assert_eq!((allowance.left, allowance.short), (2 * FULL, Some(10)));
        assert_eq!(allowance.due(), Some(start + ONE_MORE));
        assert_eq!(allowance.take(10, start + ONE_MORE), 90);
    }
}
