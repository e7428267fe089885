//! A decoded review to what is done about it.

use crate::decide::{Decision, Mode, Verdict};

use super::app::App;
use super::handler::Endpoint;
use super::shim::Request;

/// What is done about a review.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) decision: Decision,
    pub(super) mode: Mode,
    pub(super) exempted: bool,
}

pub(super) fn decide(app: &App, _endpoint: Endpoint, request: &Request<'_>) -> Outcome {
    let _ = (app.policy.current(), request);
    Outcome { verdict: Verdict::NotApplicable, decision: Decision::Allow, mode: Mode::Off, exempted: false }
}
