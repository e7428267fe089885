//! Estimates are asked for while a pod waits: a bound with room for slow machines and unoptimised builds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use vramguard::estimate::workload::Workload;
use vramguard::estimate::{Device, Estimate, estimate};

use crate::models::{Kind, Shape};
use crate::{serving, training};

/// The fastest of some calls: what the machine does besides only makes them slower.
fn fastest<T>(mut call: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let started = Instant::now();
        let _ = call();
        started.elapsed()
    };
    (0..30).map(time).min().unwrap()
}

fn shape(kind: Kind) -> Shape {
    Shape { kind, layers: 96, hidden: 8192, intermediate: 28_672, vocab: 128_256, experts: 64 }
}

const KINDS: [Kind; 5] = [Kind::Dense, Kind::Mixture, Kind::Latent, Kind::Window, Kind::Recurrent];

/// 20 microseconds when optimised.
#[test]
fn a_known_model_takes_less_than_a_millisecond() {
    let device: Device = serving::device();
    for kind in KINDS {
        for engine in serving::ENGINES {
            let workload = serving::serving(shape(kind).model(), serving::plain(engine));
            let time = fastest(|| estimate(&workload, &device).unwrap());
            assert!(time < Duration::from_millis(1), "{kind:?} {engine:?}: {time:?}");
        }
    }
}

/// A millisecond when optimised.
#[test]
fn a_config_takes_less_than_ten_milliseconds() {
    let device = serving::device();
    for kind in KINDS {
        let text = shape(kind).config().to_string();
        let time = fastest(|| {
            let config = serde_json::from_str(&text).unwrap();
            let model = vramguard::estimate::model::hf_config::read("made up", &config).unwrap();
            let workload = serving::serving(Arc::new(model), serving::plain(serving::ENGINES[0]));
            estimate(&workload, &device).unwrap()
        });
        assert!(time < Duration::from_millis(10), "{kind:?}: {time:?}");
    }
}

/// Shares of generated workloads that can be estimated at all: else the properties would say little.
fn estimated(workloads: impl Strategy<Value = Workload>, run: fn(&Workload) -> Option<Estimate>) -> usize {
    let mut runner = TestRunner::deterministic();
    let of = |_| run(&workloads.new_tree(&mut runner).unwrap().current());
    (0..200).filter_map(of).count()
}

#[test]
fn most_generated_workloads_can_be_estimated() {
    assert!(estimated(serving::workload(), serving::run) > 130, "{}", estimated(serving::workload(), serving::run));
    assert!(estimated(training::workload(), training::run) > 130, "{}", estimated(training::workload(), training::run));
}
