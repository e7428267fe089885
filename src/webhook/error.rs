//! What can go wrong with a request, each with a stable code, a status and a sentence.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A request that is not an admission review that we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// Wrong or missing `Content-Type`.
    #[error("content type `{0}`: expected `application/json`")]
    ContentType(String),
    /// Body beyond the limit.
    #[error("body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("body did not arrive within {millis} ms")]
    Timeout {
        /// How long we waited.
        millis: u128,
    },
    /// The connection broke while the body was read.
    #[error("body could not be read: {0}")]
    Broken(String),
    /// More requests at once than allowed.
    #[error("too many requests at once; try again")]
    Overloaded,
    /// Not an AdmissionReview that we can answer.
    #[error("{0}")]
    Malformed(String),
    /// Not a path of ours.
    #[error("no such path: {0}")]
    NotFound(String),
    /// Not a method of this path.
    #[error("method {method} is not allowed here; use {allowed}")]
    Method {
        /// What was used.
        method: String,
        /// What can be used.
        allowed: &'static str,
    },
}

impl RequestError {
    /// Stable code: a metric label, so never a text from outside.
    #[must_use]
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content_type",
            Self::TooLarge { .. } => "too_large",
            Self::Timeout { .. } => "timeout",
            Self::Broken(_) => "broken",
            Self::Overloaded => "overloaded",
            Self::Malformed(_) => "malformed",
            Self::NotFound(_) => "not_found",
            Self::Method { .. } => "method",
        }
    }

    /// HTTP status.
    #[must_use]
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Broken(_) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"reason": self.reason(), "message": self.to_string()}}).to_string();
        let mut response = (self.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Self::Method { allowed, .. } = self {
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
        }
        response
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
