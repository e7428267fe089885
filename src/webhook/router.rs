//! Paths of the two ports.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::app::App;
use super::error::RequestError;
use super::handler::{self, Endpoint};
use super::{gauges, health};
use crate::telemetry::metrics;

type Shared = State<Arc<App>>;

/// The webhook port: reviews and probes.
pub(super) fn webhook(app: Arc<App>) -> Router {
    Router::new()
        .route(
            "/validate",
            post(|State(app): Shared, request| async move { review(Endpoint::Validate, &app, request).await }),
        )
        .route(
            "/mutate",
            post(|State(app): Shared, request| async move { review(Endpoint::Mutate, &app, request).await }),
        )
        .merge(probes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// The metrics port: metrics and probes.
pub(super) fn metrics(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .merge(probes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

fn probes() -> Router<Arc<App>> {
    Router::new()
        .route("/livez", get(|| async { health::live() }))
        .route("/readyz", get(|State(app): Shared| async move { health::ready(&app) }))
}

async fn review(endpoint: Endpoint, app: &App, request: Request) -> Response {
    handler::answer_review(endpoint, app, request).await
}

async fn scrape(State(app): Shared) -> Response {
    match app.metrics.render(&gauges::samples(&app)) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, super::error::chain(&error)).into_response(),
    }
}

async fn not_found(State(app): Shared, request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    handler::refuse(&app, "other", RequestError::NotFound(path))
}

async fn wrong_method(State(app): Shared, request: Request) -> Response {
    let allowed = if matches!(request.uri().path(), "/validate" | "/mutate") { "POST" } else { "GET, HEAD" };
    handler::refuse(&app, "other", RequestError::Method { method: request.method().to_string(), allowed })
}
