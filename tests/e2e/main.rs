//! Tests against a real Kubernetes control plane, built from source by `tests/controlplane/build.sh`.
//!
//! The plane starts once, with the first test that needs it, and ends with the last. The first run on a machine builds
//! it (about ten minutes on two cores, with progress on stderr); later runs find it in the user's cache directory.
//! `VRAMGUARD_E2E_KEEP=1` keeps the logs of every component; `VRAMGUARD_E2E_PROGRAM=target/release/vramguard` (an absolute
//! path) tests an optimized build.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise and says so"
)]

#[path = "../support/chart/mod.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod chart;
#[path = "../support/controlplane/mod.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod controlplane;
#[path = "../support/exposition.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod exposition;
#[path = "../support/gpu_nodes.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod gpu_nodes;
#[path = "../support/http.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod http;
#[path = "../support/https.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod https;
#[path = "../support/llama.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod llama;
#[path = "../support/namespace.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod namespace;
#[path = "../support/registration.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod registration;
#[path = "../support/webhook.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod webhook;
#[path = "../support/workloads.rs"]
#[allow(dead_code, reason = "a vocabulary for tests, of which some words wait for their first use")]
mod workloads;

mod capacity;
mod decisions;
mod hostile;
mod kinds;
mod latency;
mod manifests;
mod metrics;
mod plane;
mod policy;
mod profiles;
mod prometheus;
mod reach;
mod trainers;

use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use controlplane::ControlPlane;

/// `None` after a failed start, which was reported when it happened.
static PLANE: OnceLock<Option<ControlPlane>> = OnceLock::new();

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        plane::trials(),
        decisions::trials(),
        capacity::trials(),
        policy::trials(),
        profiles::trials(),
        reach::trials(),
        kinds::trials(),
        trainers::trials(),
        hostile::trials(),
        metrics::trials(),
        prometheus::trials(),
        manifests::trials(),
        latency::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // A static is never dropped, and failed tests must not leave processes behind either.
    if let Some(Some(plane)) = PLANE.get() {
        plane.stop();
    }
    conclusion.exit_code()
}

/// A test of one function, which gets the shared control plane.
fn trial(name: &str, test: fn(&ControlPlane) -> Result<()>) -> Trial {
    Trial::test(name, move || {
        let plane = PLANE.get_or_init(|| {
            let started = ControlPlane::start();
            started.inspect_err(|error| eprintln!("\nthe control plane did not start: {error:#}\n")).ok()
        });
        let plane = plane.as_ref().ok_or("the control plane did not start; why is printed with the first test")?;
        test(plane).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
