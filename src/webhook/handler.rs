//! The two review endpoints: decode, decide, encode.

use std::time::Instant;

use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::error::RequestError;
use super::{decide, limits};
use crate::spec::review::{self, ReviewError};
use crate::telemetry::events::{ReviewAnswered, ReviewUnreadable};

/// Which webhook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Validate,
    Mutate,
}

impl Endpoint {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// Answers a review, or says why it cannot be read.
pub(super) async fn answer_review(endpoint: Endpoint, app: &App, request: Request) -> Response {
    match answered(endpoint, app, request).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refuse(app, endpoint.name(), error),
    }
}

/// Counts, logs and answers a request that is no review.
pub(super) fn refuse(app: &App, endpoint: &str, error: RequestError) -> Response {
    ReviewUnreadable { endpoint, reason: error.reason(), problem: &error.to_string() }.emit(&app.metrics);
    error.into_response()
}

async fn answered(endpoint: Endpoint, app: &App, request: Request) -> Result<Vec<u8>, RequestError> {
    let started = Instant::now();
    let (body, _slot) = limits::read(&app.slots, request).await?;
    judge(endpoint, app, &body, started).map_err(|error| RequestError::Malformed(error.to_string()))
}

/// Decode, decide, encode.
pub(super) fn judge(endpoint: Endpoint, app: &App, body: &[u8], started: Instant) -> Result<Vec<u8>, ReviewError> {
    let review = review::parse(body)?;
    let outcome = decide::decide(app, endpoint, &review);
    let encoded = outcome.response.to_json();
    ReviewAnswered {
        endpoint: endpoint.name(),
        uid: &review.uid,
        kind: &review.kind.kind,
        namespace: review.namespace.as_deref().unwrap_or_default(),
        name: review.name.as_deref().unwrap_or_default(),
        operation: review.operation.name(),
        dry_run: review.dry_run,
        verdict: outcome.verdict,
        decision: outcome.decision,
        mode: outcome.mode.mode,
        exempted: outcome.mode.exempted,
        elapsed: started.elapsed(),
    }
    .emit(&app.metrics);
    Ok(encoded)
}
