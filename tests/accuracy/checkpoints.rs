//! Derived sizes of checkpoints against the sizes of published files, by quantization method.

use std::collections::BTreeMap;

use vramguard::facts::catalog::Catalog;

/// Repositories that hold the weights twice, in two formats.
const TWICE: &[&str] = &["openai/gpt-oss-120b", "openai/gpt-oss-20b"];
/// Least ratio and greatest ratio of derived to published bytes by method.
const BOUNDS: (f64, f64) = (0.994, 1.006);

/// Id, bytes, and what the file holds that the catalogue's row does not say.
fn published() -> Vec<(&'static str, f64, &'static str)> {
    let rows = include_str!("../data/checkpoint-sizes.tsv").lines();
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[0], columns[1].parse().unwrap(), columns[3])
    })
    .collect()
}

#[test]
fn derived_sizes_are_those_of_published_files() {
    let mut by_method: BTreeMap<String, Vec<(f64, &str)>> = BTreeMap::new();
    for (id, bytes, more) in published() {
        let model = Catalog::embedded().find(id).unwrap();
        let bytes = if TWICE.contains(&id) { bytes / 2.0 } else { bytes };
        // Files hold draft layers, and some a head that is tied.
        let drafts = model.draft_bytes();
        let candidates = [model.stored_bytes(), model.stored_bytes() + drafts];
        let best = candidates
            .map(|derived| derived / bytes)
            .into_iter()
            .min_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()));
        let ratio = best.unwrap();
        if !more.is_empty() {
            println!("left out: {ratio:.4} {id}: {more}");
            assert!(ratio < 1.0, "{id}: {more}");
            continue;
        }
        let method = model.quantization.as_ref().map_or_else(|| "16 bit".to_owned(), |q| q.name.clone());
        by_method.entry(method).or_default().push((ratio, id));
    }
    for (method, ratios) in &by_method {
        let error = ratios.iter().map(|(ratio, _)| (ratio - 1.0).abs()).sum::<f64>() / ratios.len() as f64;
        println!("{method}: {} files, mean error {:.2} %", ratios.len(), error * 100.0);
        for (ratio, id) in ratios {
            println!("  {ratio:.4} {id}");
        }
    }
    let wrong: Vec<_> =
        by_method.values().flatten().filter(|(ratio, _)| !(BOUNDS.0..=BOUNDS.1).contains(ratio)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
