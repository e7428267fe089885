//! `docs/accuracy.md` is written by the tests and must not go stale.

use std::fs;

const HEAD: &str = "\
# Accuracy

Written by `UPDATE=1 cargo test --test accuracy`; the same test fails when the figures move. Every figure is a mean
absolute percentage error over rows of [tests/data](../tests/data/README.md), with the median, the worst row, and, where
an interval is given, how many measurements lie inside and how wide it is. The rules were fitted with these rows in
view, so expect somewhat worse on others. No rule names a row or a model.

";

const PEERS: &str = "\
Others on the same vLLM 0.19 / H100 start-ups (their published or re-run figures): aiconfigurator 0.12 weights 1.6 %,
non-KV 11.6 %, KV pool 2.8 %, KV tokens 11.7 % (25 configurations); llm-d-planner KV pool 7.8 %; KAITO non-KV 8.8 %, KV
pool 6.0 % given the true weights; GPUStack non-KV 16.7 %; 1.2 times the weights, non-KV 9.8 %.

";

const TRAINING: &str = "\
No run that finished was measured below the lower bound, on which alone a denial rests, but for rows that contradict
themselves: they hold less than their bare states on the GPUs that they claim, and count in the error. Where rows leave
something unsaid, the comparison assumes it: one node of eight GPUs for distributed optimizers without a world size,
unfused attention in Megatron's oldest environments, a micro-batch of one for pipelines that give a batch per rank. Without
the second assumption the error of the Megatron rows is 5.6 %.
";

fn page() -> String {
    let block = |lines: Vec<String>| format!("```text\n{}\n```\n\n", lines.join("\n"));
    let mut page = HEAD.to_owned();
    page.push_str("## vLLM, one version and card\n\n");
    page.push_str(&block(crate::serving::table()));
    page.push_str(PEERS);
    page.push_str("## vLLM, many versions and cards\n\n");
    page.push_str(&block(crate::vllm_versions::table()));
    page.push_str("## Other serving engines\n\n");
    page.push_str(&block(crate::engines::table()));
    page.push_str("## Training\n\n");
    page.push_str(&block(crate::training::table()));
    page.push_str(&block(crate::megatron::table()));
    page.push_str(TRAINING);
    page
}

#[test]
fn the_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/accuracy.md");
    let wanted = page();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "docs/accuracy.md is stale: run UPDATE=1 cargo test --test accuracy");
}
