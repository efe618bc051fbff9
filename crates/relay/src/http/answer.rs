//! Answers: JSON with CORS headers, errors with a sentence and, where we add one, a code.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CONNECTION, CONTENT_TYPE, HeaderValue,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use stvor_wire::{ErrorBody, RefusalCode};

use crate::frames::Refusal;
use crate::hub::HttpError;

/// What is sent back.
pub(crate) type Answer = Response<Full<Bytes>>;

/// An answer that is JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Our bodies are maps with string keys: writing one cannot fail.
    let mut answer = bare(status, serde_json::to_vec(body).unwrap_or_default().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// 200 with JSON.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    json(StatusCode::OK, body)
}

/// An answer with CORS headers and nothing else.
pub(crate) fn bare(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
    );
    answer
}

/// Why a request got no answer of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    error: &'static str,
    code: Option<&'static str>,
    /// The rest of the request is not read.
    close: bool,
}

impl Failure {
    pub(crate) const fn new(status: StatusCode, error: &'static str) -> Self {
        Self { status, error, code: None, close: false }
    }

    pub(crate) const fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) const fn close(self) -> Self {
        Self { close: true, ..self }
    }

    pub(crate) fn answer(&self) -> Answer {
        let code = self.code.map(str::to_owned);
        let mut answer = json(self.status, &ErrorBody { error: self.error.to_owned(), code });
        if self.close {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// 404 for users; the recording words it differently for recipients and groups.
impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NoUser => Self::new(StatusCode::NOT_FOUND, "User not found"),
            HttpError::NoUsers => Self::new(StatusCode::NOT_FOUND, "No users registered"),
            HttpError::Refused(refusal) => refused(&refusal),
        }
    }
}

fn refused(refusal: &Refusal) -> Failure {
    match refusal.code {
        RefusalCode::MailboxFull => {
            Failure::new(StatusCode::TOO_MANY_REQUESTS, "Recipient inbox full").code("MAILBOX_FULL")
        }
        RefusalCode::TooManyUsers => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "Server at capacity")
                .code("TOO_MANY_USERS")
        }
        RefusalCode::StorageFull => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "Server at capacity").code("STORAGE_FULL")
        }
        RefusalCode::InvalidUserId => INVALID_USER_ID,
        _ => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, refusal.message).code("KEYS_TOO_LARGE"),
    }
}

pub(crate) const INVALID_USER_ID: Failure =
    Failure::new(StatusCode::BAD_REQUEST, "Invalid user_id").code("INVALID_USER_ID");
