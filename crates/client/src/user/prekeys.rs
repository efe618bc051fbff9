//! Our own prekeys: keeping one-time prekeys at the relay, and replacing the others every week.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use stvor_protocol::OneTimePrekey;
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;

use super::User;
use super::step::Step;
use crate::link::Request;

/// One-time prekeys that the relay is given when it has few left.
const PUBLISHED: usize = 100;
const FEW: usize = 25;

impl User {
    /// The relay says how many one-time prekeys it has left.
    pub(super) fn prekeys_left(&mut self, left: usize, step: &mut Step) {
        if left >= FEW {
            return;
        }
        let own = step.user.as_ref().unwrap_or(&self.own);
        let (prekeys, fresh) = own.prekeys().with_one_time(PUBLISHED - left, &mut self.random);
        step.user = Some(own.with_prekeys(prekeys));
        let prekeys = fresh.iter().map(|key| (key.id(), BASE64.encode(key.as_bytes()))).collect();
        step.requests.push(Request::Publish { user: self.id.clone(), prekeys });
    }

    /// Replaces the signed prekey and the KEM key when a week has passed.
    pub(super) fn rotate(&mut self, step: &mut Step) {
        let now_ms = self.clock.now_ms();
        let own = step.user.as_ref().unwrap_or(&self.own);
        let Some(prekeys) = own.prekeys().rotated(now_ms, &mut self.random) else { return };
        let bundle = wire_bundle(&prekeys, &self.id);
        step.user = Some(own.with_prekeys(prekeys));
        step.requests.push(Request::Announce { user: self.id.clone(), bundle });
    }

    pub(super) fn next_rotation(&self) -> Instant {
        self.clock.instant(self.own.prekeys().next_rotation_ms())
    }
}

/// What others are shown.
pub(crate) fn wire_bundle(prekeys: &stvor_protocol::Prekeys, user_id: &str) -> PublicKeyBundle {
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
