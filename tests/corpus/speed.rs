//! Reading is fast enough to never matter. The bounds are generous: they hold for a debug build on a busy machine.

use std::time::{Duration, Instant};

use crate::read;

/// Readings of one manifest.
const TIMES: u32 = 10_000;
/// Longest mean time of one reading, parsing included.
const ONE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 1 });
/// Longest time for a tree of as many manifests.
const TREE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 8 });

#[test]
fn one_manifest_is_read_in_no_time() {
    let files = read::files();
    let (name, text) = files.iter().find(|(name, _)| name == "vllm.yaml").unwrap();
    let first = text.split("\n---").next().unwrap();
    // A debug build is sampled: its mean is as telling.
    let times = if cfg!(debug_assertions) { TIMES / 20 } else { TIMES };
    let start = Instant::now();
    for _ in 0..times {
        assert_eq!(read::read(name, first).len(), 1);
    }
    let mean = start.elapsed() / times;
    println!("one manifest: {mean:?}");
    assert!(mean < ONE, "{mean:?}");
}

#[test]
fn a_tree_of_ten_thousand_manifests_is_checked_in_seconds() {
    let files = read::files();
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<String> = files.iter().flat_map(|(_, text)| text.split("\n---").map(str::to_owned)).collect();
    for (index, text) in documents.iter().cycle().take(TIMES as usize).enumerate() {
        let sub = folder.path().join(format!("{}", index / 500));
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::write(sub.join(format!("{index}.yaml")), text).unwrap();
    }
    let start = Instant::now();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vramguard"));
    let output = command.args(["check", "-o", "json", "-f"]).arg(folder.path()).env_clear().output().unwrap();
    let took = start.elapsed();
    println!("a tree of {TIMES} manifests: {took:?}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = result["results"].as_array().unwrap().len();
    assert!(results >= TIMES as usize * 9 / 10, "{results} results: {}", String::from_utf8_lossy(&output.stderr));
    assert!(took < TREE, "{took:?}");
}
