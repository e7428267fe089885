//! Manifests of the shapes that people deploy, and what is read from each of them without an annotation.
//!
//! `expected.txt` has a line for every container that asks for GPUs: what runs it, or what is missing. `UPDATE=1` rewrites it;
//! a line is right if it says what the manifest says, so every changed one is held against its manifest.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and shows its figures"
)]

mod read;
mod speed;

use std::collections::BTreeSet;

/// The least share of manifests that are read without an annotation.
const LEAST_READ: f64 = 0.95;
/// Programs that are known not to be read: they have to say so, and do not count.
const BEYOND: &str = "beyond.yaml";
/// The fewest manifests in the corpus.
const LEAST_MANIFESTS: usize = 150;

#[test]
fn every_manifest_is_read_as_expected() {
    let lines = read::corpus();
    let text = lines.iter().map(|line| line.to_string() + "\n").collect::<String>();
    let file = read::root().join("tests/corpus/expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let known: BTreeSet<&str> = expected.lines().collect();
    let found: BTreeSet<&str> = text.lines().collect();
    let changed: Vec<_> = known.symmetric_difference(&found).collect();
    assert!(expected == text, "`UPDATE=1 cargo test --test corpus` and review: {changed:#?}");
}

#[test]
fn nearly_all_are_read_without_an_annotation() {
    let lines: Vec<_> = read::corpus().into_iter().filter(|line| !line.manifest.starts_with(BEYOND)).collect();
    let manifests: BTreeSet<&str> = lines.iter().map(|line| line.manifest.as_str()).collect();
    let all_but = |flaw: fn(&read::Line) -> bool| {
        let missed: BTreeSet<&str> =
            lines.iter().filter(|line| flaw(line)).map(|line| line.manifest.as_str()).collect();
        (1.0 - missed.len() as f64 / manifests.len() as f64, missed)
    };
    let (share, missed) = all_but(|line| !line.estimated);
    let (whole, _) = all_but(|line| line.missing.is_some());
    println!(
        "of {} manifests {:.1} % are estimated, {:.1} % without an open question",
        manifests.len(),
        100.0 * share,
        100.0 * whole
    );
    assert!(manifests.len() >= LEAST_MANIFESTS, "{} manifests", manifests.len());
    assert!(share >= LEAST_READ, "{share:.3}: {missed:#?}");
}

#[test]
fn what_is_not_read_says_what_is_missing() {
    for line in read::corpus() {
        let Some(missing) = &line.missing else { continue };
        assert!(
            missing.contains("vramguard.io/") || missing.contains('`'),
            "says neither what could not be read nor what to add: {line}"
        );
    }
}
