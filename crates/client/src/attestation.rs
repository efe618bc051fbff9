//! Attestations of an app's counters, and sending them to a backend.
//!
//! A backend takes each session's numbers one after another and misses none. So the number of an
//! attestation that did not arrive is given to the next, whose counters include its own. Whether
//! one arrived that was not answered is found out by the next: it is refused if it did, and goes
//! out again under the number after.
//! Spec: docs/PROTOCOL.md, "Metrics".

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_core::Rng;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use stvor_protocol::metrics::{Attestation, AttestationPayload, Counters, MetricsKey};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::link::tls;
use crate::metrics::Metrics;
use crate::printable::printable;
use crate::random::OsRandom;
use crate::{Config, Error};

/// Where a backend takes attestations, below its address.
const PATH: &str = "/api/metrics/attest";
/// How much of a refusal is read: a backend says it in a line.
const MAX_REFUSAL_BYTES: usize = 4096;
/// How long it may take to come: that it is a refusal is known before.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Attests for one app.
pub(crate) struct Attester {
    key: MetricsKey,
    app_token: Zeroizing<String>,
    session_id: String,
    ca: Option<Vec<u8>>,
    numbers: Mutex<Numbers>,
    /// Held while an attestation is on its way: they arrive in order.
    sending: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Numbers {
    next: u64,
    /// Whether the backend may have the attestation that had the next number before.
    doubtful: bool,
}

/// What is looked at of a refusal.
#[derive(Deserialize)]
struct Refusal {
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    app_token: &'a str,
    attestation: &'a Attestation,
}

/// Why a backend does not have an attestation.
enum NotTaken {
    /// It was not reached.
    Unreached,
    /// It did not answer, or not whether it has it.
    Unanswered,
    /// It refuses it, and may say why.
    Refused { status: StatusCode, reason: Option<String> },
}

impl Attester {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            key: MetricsKey::attestation(&config.app_token),
            app_token: config.app_token.clone().into(),
            session_id: format!("session_{}", random_hex()),
            ca: config.ca.clone(),
            numbers: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn create(&self, metrics: Metrics) -> Attestation {
        let sequence_number = self.with_numbers(|numbers| {
            numbers.next += 1;
            numbers.next - 1
        });
        let payload = AttestationPayload {
            metrics: counters(metrics),
            session_id: &self.session_id,
            sequence_number,
            timestamp: Clock::System.now_ms(),
            attestation_id: &format!("attest_{}", random_hex()),
        };
        Attestation::new(&self.key, payload)
    }

    pub(crate) async fn flush(
        &self,
        url: &str,
        limit: Duration,
        metrics: impl Fn() -> Metrics,
    ) -> Result<Attestation, Error> {
        let url = endpoint(url)?;
        let http = self.http(&url)?;
        let end = Instant::now() + limit;
        let sending = timeout_at(end, self.sending.lock()).await;
        let _in_order = sending.map_err(|_| Error::backend_unavailable())?;
        let mut before = None;
        loop {
            let attestation = self.create(metrics());
            let sent = timeout_at(end, self.post(&http, &url, &attestation)).await;
            let Err(not_taken) = sent.unwrap_or(Err(NotTaken::Unanswered)) else {
                self.with_numbers(|numbers| numbers.doubtful = false);
                return Ok(attestation);
            };
            let number = attestation.sequence_number;
            let had_arrived = self.not_taken(number, &not_taken);
            match not_taken {
                // It seems: the one before, under this number.
                NotTaken::Refused { .. } if had_arrived => before = Some(number),
                NotTaken::Refused { status, reason } => {
                    before.into_iter().for_each(|number| self.doubt(number));
                    return Err(Error::metrics_rejected(status.as_u16(), reason.as_deref()));
                }
                _ => return Err(Error::backend_unavailable()),
            }
        }
    }

    /// Gives the number to the next attestation, unless another has the one after it already.
    /// Whether the number seems to be taken, by one that was doubtful.
    fn not_taken(&self, number: u64, why: &NotTaken) -> bool {
        self.with_numbers(|numbers| {
            let was_doubtful = numbers.doubtful;
            match why {
                NotTaken::Unreached => {}
                NotTaken::Unanswered => numbers.doubtful = true,
                NotTaken::Refused { .. } => numbers.doubtful = false,
            }
            let had_arrived = was_doubtful && matches!(why, NotTaken::Refused { .. });
            if !had_arrived && numbers.next == number + 1 {
                numbers.next = number;
            }
            had_arrived
        })
    }

    /// It was not the number that the backend minds: whether it is taken is as unknown as before.
    fn doubt(&self, number: u64) {
        self.with_numbers(|numbers| {
            if numbers.next == number + 1 {
                *numbers = Numbers { next: number, doubtful: true };
            }
        });
    }

    async fn post(
        &self,
        http: &reqwest::Client,
        url: &Url,
        attestation: &Attestation,
    ) -> Result<(), NotTaken> {
        let body = Body { app_token: &self.app_token, attestation };
        let answer = http.post(url.clone()).json(&body).send().await;
        let answer = answer.map_err(|error| match error.is_connect() || error.is_builder() {
            true => NotTaken::Unreached,
            false => NotTaken::Unanswered,
        })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status if status.is_server_error() => Err(NotTaken::Unanswered),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(NotTaken::Unreached),
            status => {
                let reason = timeout(REFUSAL_TIME, reason_in(answer)).await.ok().flatten();
                Err(NotTaken::Refused { status, reason })
            }
        }
    }

    /// A client for one flush: they are rare, and an idle connection would outlive its use.
    fn http(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let tls = match url.scheme() {
            "https" => tls::client_config(self.ca.as_deref())?,
            _ => tls::without_roots()?,
        };
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .redirect(reqwest::redirect::Policy::none()) // the token is not for other hosts
            .build()
            .map_err(|_| Error::backend_unavailable())
    }

    fn with_numbers<T>(&self, step: impl FnOnce(&mut Numbers) -> T) -> T {
        // Nothing panics while holding it.
        step(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The `reason` in a refusal's JSON, where there is one.
async fn reason_in(mut answer: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_REFUSAL_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    let Refusal { reason } = serde_json::from_slice(&body).ok()?;
    Some(printable(reason.trim())).filter(|reason| !reason.is_empty())
}

fn endpoint(url: &str) -> Result<Url, Error> {
    let wrong = || Error::invalid_argument("backendUrl", "must be an http:// or https:// address");
    let mut base = Url::parse(url).map_err(|_| wrong())?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(wrong());
    }
    base.set_query(None);
    base.set_fragment(None);
    Url::parse(&format!("{}{PATH}", base.as_str().trim_end_matches('/'))).map_err(|_| wrong())
}

fn counters(metrics: Metrics) -> Counters {
    let Metrics {
        messages_encrypted,
        messages_decrypted,
        messages_rejected,
        replay_attempts,
        auth_failures,
        ..
    } = metrics;
    Counters {
        messages_encrypted,
        messages_decrypted,
        messages_rejected,
        replay_attempts,
        auth_failures,
    }
}

/// 128 random bits, 32 lower-case digits.
fn random_hex() -> String {
    let mut bytes = [0; 16];
    OsRandom::default().fill_bytes(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
