//! What the estimates are held to. A target that is missed is asserted where it stands, so that it only gets better.

use crate::sample::{Quantity, Sample, errors};
use crate::statistics::Errors;
use crate::{engines, peers, serving, vllm_versions};

/// Figures of one quantity over some families, and what they are held to.
struct Target {
    quantity: Quantity,
    families: &'static [&'static str],
    /// The goal, percent.
    goal: f64,
    /// What is asserted: the present figure and a small margin, percent.
    held: f64,
}

const fn target(quantity: Quantity, families: &'static [&'static str], goal: f64, held: f64) -> Target {
    Target { quantity, families, goal, held }
}

const EVERY: &[&str] = &["dense", "mixture", "latent", "hybrid", "multimodal"];
const OTHERS: &[&str] = &["mixture", "latent", "multimodal"];

/// vLLM 0.19 on H100.
const TARGETS: [Target; 5] = [
    target(Quantity::Weights, EVERY, 0.5, 0.5),
    target(Quantity::NonKv, &["dense"], 3.0, 3.0),
    target(Quantity::NonKv, OTHERS, 5.0, 5.0),
    target(Quantity::Pool, EVERY, 1.5, 1.5),
    target(Quantity::Tokens, EVERY, 2.0, 2.0),
];

/// Measurements inside their intervals, percent, and median width of the interval, GiB: goal and what is asserted.
const COVERAGE: (f64, f64) = (90.0, 90.0);
const WIDTH: (f64, f64) = (1.5, 1.8);

/// Start-ups of every engine: ran and would be denied, of so many; ran out of memory and are called a fit, of so many.
struct Verdicts {
    denied: Vec<String>,
    ran: usize,
    fitting: Vec<String>,
    ooms: usize,
}

/// Out-of-memory start-ups that are called a fit: at most this share, percent: goal and what is asserted.
const FITTING: (f64, f64) = (5.0, 20.0);

fn verdicts() -> Verdicts {
    let (mut denied, _) = serving::refused();
    let (versions, others) = (vllm_versions::measure(), engines::measure());
    denied.extend(versions.denied);
    denied.extend(others.denied);
    let fitting = versions.fitting.into_iter().chain(others.fitting).collect();
    let started = serving::runs().iter().filter(|run| run.report.estimate.is_some()).count();
    let ran = started + versions.ran + others.ran;
    Verdicts { denied, ran, fitting, ooms: versions.ooms + others.ooms }
}

impl Verdicts {
    fn share(&self) -> f64 {
        100.0 * self.fitting.len() as f64 / self.ooms.max(1) as f64
    }
}

fn figures(samples: &[Sample], target: &Target) -> Errors {
    errors(samples, target.quantity, |sample| target.families.contains(&sample.family))
}

fn line(what: &str, goal: &str, figure: &str, met: bool) -> String {
    format!("{what:<46}{goal:>12}{figure:>12}   {}", if met { "met" } else { "missed" })
}

/// Every goal with where it stands.
pub fn table() -> Vec<String> {
    let samples = serving::samples();
    let mut lines = vec![format!("{:<46}{:>12}{:>12}", "vLLM 0.19, H100", "goal", "figure")];
    for target in &TARGETS {
        let errors = figures(&samples, target);
        let families = if target.families.len() == EVERY.len() { "all".to_owned() } else { target.families.join(", ") };
        let what = format!("{}, {families}, MAPE", target.quantity.name());
        let (goal, figure) = (format!("{:.2} %", target.goal), format!("{:.2} %", errors.mape()));
        lines.push(line(&what, &goal, &figure, errors.mape() <= target.goal));
    }
    let (count, wrong) = serving::inexact_token_bytes();
    let exact = format!("{} of {count}", count - wrong.len());
    lines.push(line("KV bytes per token, uniform models, exact", &format!("{count}"), &exact, wrong.is_empty()));
    let non_kv = errors(&samples, Quantity::NonKv, |_| true);
    let (inside, width) = (format!("{:.1} %", non_kv.coverage()), format!("{:.2} GiB", non_kv.width()));
    lines.push(line("non-KV inside its interval", "90 %", &inside, non_kv.coverage() >= COVERAGE.0));
    lines.push(line("median width of that interval", "1.50 GiB", &width, non_kv.width() <= WIDTH.0));
    let verdicts = verdicts();
    let (denied, share) = (verdicts.denied.len(), verdicts.share());
    lines.push(format!("{:<46}{:>12}{:>12}", "every engine", "goal", "figure"));
    let ran = format!("{denied} of {}", verdicts.ran);
    lines.push(line("started, but would be denied", "0", &ran, denied == 0));
    let fitting = format!("{} of {}", verdicts.fitting.len(), verdicts.ooms);
    lines.push(line("ran out of memory at start, but called a fit", "5 %", &fitting, share <= FITTING.0));
    lines
}

#[test]
fn vllm_on_h100() {
    let samples = serving::samples();
    println!("{}", crate::sample::table(serving::ENGINE, &samples).join("\n"));
    println!("{}", table().join("\n"));
    println!("not estimated: {:#?}", serving::refused().1);
    for target in &TARGETS {
        let errors = figures(&samples, target);
        assert!(errors.n() > 0 && errors.mape() <= target.held, "{}: {errors}", target.quantity.name());
    }
    let non_kv = errors(&samples, Quantity::NonKv, |_| true);
    assert!(non_kv.coverage() >= COVERAGE.1 && non_kv.width() <= WIDTH.1, "{non_kv}");
}

#[test]
fn bytes_per_token_are_exact() {
    let (count, wrong) = serving::inexact_token_bytes();
    assert!(count >= 30 && wrong.is_empty(), "{wrong:#?} of {count}");
    let samples: Vec<Sample> = vllm_versions::measure().samples.into_iter().chain(engines::measure().samples).collect();
    let tokens = errors(&samples, Quantity::TokenBytes, |_| true);
    assert!(tokens.n() >= 20 && tokens.worst().1 < 1e-6, "{tokens}");
}

#[test]
fn what_started_is_never_denied_and_what_ran_out_rarely_fits() {
    let verdicts = verdicts();
    println!("called a fit, ran out of memory: {:#?}", verdicts.fitting);
    assert!(verdicts.denied.is_empty(), "started, but would be denied: {:#?}", verdicts.denied);
    assert!(verdicts.share() <= FITTING.1, "{:#?} of {}", verdicts.fitting, verdicts.ooms);
}

#[test]
fn no_other_estimator_is_as_close() {
    println!("{}", peers::table().join("\n"));
    let samples = serving::samples();
    for quantity in [Quantity::Weights, Quantity::NonKv, Quantity::Pool, Quantity::Tokens] {
        let (own, best) = (errors(&samples, quantity, |_| true), peers::best_of_others(quantity));
        assert!(own.mape() < best, "{}: {own} against {best:.2} %", quantity.name());
    }
}

#[test]
fn other_versions_and_engines() {
    let versions = vllm_versions::measure();
    println!("{}", crate::sample::table(vllm_versions::ENGINE, &versions.samples).join("\n"));
    println!("not estimated: {:#?}", versions.unknown);
    let others = engines::measure().samples;
    for engine in engines::ENGINES {
        println!("{}", crate::sample::table(engine, &others).join("\n"));
    }
    let weights = errors(&versions.samples, Quantity::Weights, |_| true);
    assert!(weights.n() >= 11 && weights.mape() <= 1.5, "{weights}");
}
