//! Liveness and readiness. Live means that requests are answered; ready means that the answers can be relied on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::App;

/// Whether the server wants requests.
#[derive(Debug, Default)]
pub(super) struct Health {
    draining: AtomicBool,
}

impl Health {
    /// Readiness fails from now on.
    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Why the server should get no requests; empty when it should.
pub(super) fn problems(app: &App, now: SystemTime) -> Vec<String> {
    let mut problems = Vec::new();
    if app.health.draining.load(Ordering::Relaxed) {
        problems.push("draining: the server is about to stop".to_owned());
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if i64::try_from(now).unwrap_or(i64::MAX) >= app.certificate.expiry() {
        problems.push("certificate: expired".to_owned());
    }
    problems.extend(app.cluster.status().iter().filter_map(crate::cluster::CacheStatus::problem));
    problems
}

/// `/livez`: 200 as long as requests are answered at all.
pub(super) fn live() -> Response {
    answer(StatusCode::OK, &serde_json::json!({"live": true}))
}

/// `/readyz`: 200, or 503 with what is missing.
pub(super) fn ready(app: &App) -> Response {
    let problems = problems(app, SystemTime::now());
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &serde_json::json!({"ready": problems.is_empty(), "notReady": problems}))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
