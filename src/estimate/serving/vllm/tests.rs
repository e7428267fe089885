//! What the engine makes of its parts.

use super::detail::thousands;
use super::*;
use crate::estimate::model::LinearState;
use crate::estimate::serving::fixtures::{self, Shape};
use crate::estimate::workload::{EngineName, Version};

fn run(workload: &Workload, device: &Device) -> Estimate {
    crate::estimate::estimate(workload, device).unwrap()
}

fn llama(version: [u16; 3]) -> (Workload, Device) {
    let (mut workload, device) = fixtures::on(EngineName::Vllm, fixtures::dense(&Shape::LLAMA_8B), 79.19);
    workload.context_length = Some(8192);
    workload.engine.version = Some(Version(version));
    (workload, device)
}

#[test]
fn counts_are_printed_with_separators() {
    assert_eq!([thousands(0), thousands(999), thousands(476_016)], ["0", "999", "476,016"]);
}

/// `gpu_model_runner.py`, `gpu_worker.py` and `kv_cache_utils.py` of the releases.
#[test]
fn logs_are_worded_as_the_version_words_them() {
    let log = |version| {
        let (workload, device) = llama(version);
        run(&workload, &device).serving.unwrap().expected_log
    };
    let old = log([0, 6, 6]);
    assert!(old[0].starts_with("Loading model weights took 14.9") && old[1].starts_with("# GPU blocks: "), "{old:?}");
    assert!(old[2].starts_with("Maximum concurrency for 8192 tokens per request: "), "{old:?}");
    let counted = log([0, 9, 0]);
    assert!(counted[0].ends_with("GiB") && counted[1].starts_with("GPU KV cache size: "), "{counted:?}");
    assert!(log([0, 11, 0])[1].starts_with("Available KV cache memory: "));
    let recent = log([0, 19, 0]);
    assert!(recent[0].ends_with("GiB memory") && recent.len() == 4, "{recent:?}");
    let line = &log([0, 29, 0])[2];
    assert!(line.contains(" tokens, Maximum concurrency for 8,192 tokens per request: "), "{line}");
}

/// Graphs and the default share came into the budget with 0.20; eager servers keep the graphs' part.
#[test]
fn graphs_count_from_0_20_on() {
    let graphs = |version, eager| {
        let (mut workload, device) = llama(version);
        workload.engine.enforce_eager = eager;
        let estimate = run(&workload, &device);
        estimate.terms.iter().find(|term| term.name == TermName::CudaGraphs).map(|term| term.bytes.likely)
    };
    assert_eq!(graphs([0, 19, 1], false), None);
    assert!(graphs([0, 20, 0], false).unwrap() > Bytes::from_gib(0.5));
    assert_eq!(graphs([0, 20, 0], true), None);
    // The newer model runner measures most of them.
    assert!(graphs([0, 25, 0], false) < graphs([0, 20, 0], false));
}

/// With full graphs every one of `max_num_seqs` sequences needs a block of recurrent states.
#[test]
fn recurrent_states_of_a_full_step() {
    let shape = Shape::LLAMA_8B;
    let state = LinearState {
        conv_channels: 8192,
        conv_kernel: 4,
        recurrent: 32 * 128 * 128,
        heads: 32,
        groups: 16,
        fp32_state: true,
    };
    let layers = [(8, Attention::Full(shape.attention())), (24, Attention::Linear(state))];
    let model = fixtures::model(&shape, layers.map(|(n, attention)| fixtures::layers(&shape, n, attention)).to_vec());
    let (mut workload, device) = fixtures::on(EngineName::Vllm, model, 23.6);
    workload.context_length = Some(8192);
    workload.engine.version = Some(Version([0, 22, 0]));
    workload.engine.max_num_seqs = Some(1024);
    let many = run(&workload, &device);
    assert!(many.per_gpu.required.likely > many.usable && many.per_gpu.required.low < many.usable);
    assert!(many.notes.iter().any(|note| note.contains("--max-num-seqs")), "{:?}", many.notes);
    workload.engine.max_num_seqs = Some(16);
    let few = run(&workload, &device);
    assert!(few.per_gpu.required.likely < few.usable && few.notes.iter().all(|n| !n.contains("--max-num-seqs")));
    workload.engine.max_num_seqs = Some(1024);
    workload.engine.enforce_eager = true;
    assert!(run(&workload, &device).per_gpu.required.likely < many.per_gpu.required.likely);
    // Prefixes are cached on request, and by default from 0.26 on: a second page for each group of layers.
    let one = |version, cached| {
        workload.engine.version = Some(Version(version));
        workload.engine.prefix_caching = cached;
        let estimate = run(&workload, &device);
        estimate.terms.iter().find(|term| term.name == TermName::KvCache).unwrap().bytes.likely
    };
    let mut one = one;
    assert!(one([0, 22, 0], Some(true)) > one([0, 22, 0], None));
    assert_eq!(one([0, 26, 0], None), one([0, 22, 0], Some(true)));
}
