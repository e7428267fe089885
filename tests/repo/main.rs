//! The fence: what the layout promises and no compiler checks.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that are pure, with what they must not reach for beyond the common list.
const PURE: [(&str, &[&str]); 3] = [
    ("src/estimate", &["crate::decide", "crate::spec", "crate::facts", "crate::evaluate", "serde_saphyr"]),
    ("src/decide", &["crate::spec", "crate::facts", "crate::evaluate", "serde_saphyr"]),
    ("src/spec", &["crate::evaluate"]),
];

/// I/O, clocks, environment, randomness, async, Kubernetes clients, and rooms above.
const FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "std::time",
    "SystemTime",
    "Instant",
    "tokio",
    "futures::",
    "async fn",
    "async move",
    ".await",
    "reqwest",
    "hyper",
    "kube::",
    "k8s_openapi",
    "axum",
    "prometheus",
    "tracing::",
    "rand::",
    "println!",
    "eprintln!",
    "dbg!",
    "crate::cluster",
    "crate::webhook",
    "crate::telemetry",
    "crate::config",
    "crate::cli",
    "include_str!",
    "option_env!",
    "unsafe ",
];

/// No file is longer than this.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Lines of code: without comments and without the unit tests at the end of a file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or("")))
}

fn trespasses(under: &str, further: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(under) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in code_lines(&text) {
            for banned in FORBIDDEN.iter().chain(further).filter(|banned| line.contains(**banned)) {
                let file = path.strip_prefix(root()).unwrap().display();
                found.push(format!("{file}:{number}: {banned} in `{}`", line.trim()));
            }
        }
    }
    found
}

#[test]
fn pure_rooms_reach_for_nothing() {
    let found: Vec<String> = PURE.iter().flat_map(|(under, further)| trespasses(under, further)).collect();
    assert!(found.is_empty(), "the pure rooms must stay pure:\n{}", found.join("\n"));
}

#[test]
fn the_fence_notices_a_trespass() {
    let text = "use std::env;\n// std::fs in a comment is fine\nlet x = std::fs::read(p);\n#[cfg(test)]\nuse std::fs;";
    let hits: Vec<usize> = code_lines(text)
        .filter(|(_, line)| FORBIDDEN.iter().any(|banned| line.contains(banned)))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(hits, [1, 3]);
}

#[test]
fn only_one_file_names_the_prometheus_crate() {
    let naming: Vec<PathBuf> = sources("src")
        .into_iter()
        .filter(|path| code_lines(&fs::read_to_string(path).unwrap()).any(|(_, line)| line.contains("prometheus::")))
        .collect();
    assert!(naming.len() <= 1, "the Prometheus crate is named in {naming:?}");
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = ["src", "tests", "benches"]
        .into_iter()
        .filter(|folder| root().join(folder).is_dir())
        .flat_map(sources)
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines", path.strip_prefix(root()).unwrap().display()))
        })
        .collect();
    assert!(long.is_empty(), "files of more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn no_test_is_skipped() {
    let marker = concat!("#[", "ignore");
    let skipped: Vec<PathBuf> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|path| fs::read_to_string(path).unwrap().contains(marker))
        .collect();
    assert!(skipped.is_empty(), "skipped tests in {skipped:?}");
}
