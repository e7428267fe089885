//! `estimate --solve`.

use insta::assert_snapshot;
use serde_json::Value;

use super::support::{Run, vramguard};

const LLAMA: &str = "--model meta-llama/Llama-3.1-8B-Instruct --engine vllm --engine-version 0.19.0";

fn estimate(flags: &str) -> Run {
    vramguard(&format!("estimate {flags} -o json"))
}

fn solution(run: &Run, question: &str) -> Value {
    let report = run.json();
    let solutions = report["solutions"].as_array().unwrap_or_else(|| panic!("{run}"));
    solutions.iter().find(|solution| solution["question"] == question).unwrap_or_else(|| panic!("{run}")).clone()
}

#[test]
fn the_answer_is_what_to_type() {
    // The plain formula: its figures follow no calibration.
    let shape = "--parameters 6.74e9 --layers 32 --hidden-size 4096 --heads 32 --head-dim 128";
    let run = vramguard(&format!(
        "estimate --method reference {shape} --batch-size 4 --context-length 4096 --gpu A10 --solve context,concurrency"
    ));
    assert_eq!(run.code, 0, "{run}");
    let answers = run.stdout.split_once("\n\ncontext").unwrap().1;
    assert_snapshot!(answers, @r"
                4864 tokens: --context-length 4864
                       needs 22.05 GiB of 22.07 GiB usable on NVIDIA-A10-22GiB; 4992 needs at least
                       22.30 GiB of 22.07

    concurrency        4 sequences, as it is
                       needs 20.55 GiB of 22.07 GiB usable on NVIDIA-A10-22GiB; 5 needs at least 22.55
                       GiB of 22.07
    ");
}

#[test]
fn a_context_fits_when_typed_and_128_tokens_more_may_not() {
    for (engine, gpu) in [
        ("vllm --engine-version 0.19.0", "A10"),
        ("sglang", "L40S"),
        ("tgi", "A10"),
        ("trtllm", "L40S"),
        ("llamacpp", "A10"),
        ("generic", "A10"),
    ] {
        let flags = format!("--model meta-llama/Llama-3.1-8B-Instruct --engine {engine} --gpu {gpu}");
        let run = estimate(&format!("{flags} --solve context"));
        let context = solution(&run, "context");
        assert_eq!((run.code, context["outcome"].as_str()), (0, Some("proven")), "{run}");
        let tokens: u64 = context["value"].as_str().unwrap().parse().unwrap();
        let verdict = |tokens: u64| estimate(&format!("{flags} --context-length {tokens}")).json()["verdict"].clone();
        assert_eq!(verdict(tokens), "FITS", "{engine}");
        if tokens < 131_072 {
            assert_ne!(verdict(tokens + 128), "FITS", "{engine}: {tokens}");
            assert_eq!(context["beyond"]["value"], (tokens + 128).to_string());
        }
    }
}

#[test]
fn flags_are_those_of_the_engine() {
    let typed = |engine: &str, question: &str| {
        let flags = format!("--model meta-llama/Llama-3.1-8B-Instruct --engine {engine} --context-length 4096");
        let run = estimate(&format!("{flags} --gpu A10 --solve {question}"));
        solution(&run, question)["changes"][0]["path"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(typed("vllm", "concurrency"), "--max-num-seqs");
    assert_eq!(typed("sglang", "context"), "--context-length");
    assert_eq!(typed("tgi", "context"), "--max-total-tokens");
    assert_eq!(typed("trtllm", "context"), "--max_seq_len");
    assert_eq!(typed("llamacpp", "concurrency"), "--ctx-size");
    assert_eq!(typed("ollama", "context"), "OLLAMA_CONTEXT_LENGTH");
    assert_eq!(typed("generic", "context"), "--context-length");
}

#[test]
fn hardware_is_found_without_any_given() {
    let run = estimate(&format!("{LLAMA} --context-length 8192 --solve all"));
    assert_eq!(run.code, 0, "{run}");
    let names: Vec<String> = run.json()["solutions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|solution| solution["question"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["gpu", "mig"]);
    let gpu = solution(&run, "gpu");
    let fits = |gpu: &str| estimate(&format!("{LLAMA} --context-length 8192 --gpu {gpu}")).json()["verdict"].clone();
    assert_eq!(fits(gpu["value"].as_str().unwrap()), "FITS");
    assert_ne!(fits(gpu["beyond"]["value"].as_str().unwrap()), "FITS", "the next smaller one");
    assert_eq!(gpu["changes"][0]["path"], "nodeSelector nvidia.com/gpu.product");
    let mig = solution(&run, "mig");
    assert!(mig["changes"][0]["to"].as_str().unwrap().starts_with("nvidia.com/mig-"), "{mig}");
}

#[test]
fn all_questions_of_a_task_are_answered_on_nodes_too() {
    let serving = estimate(&format!("{LLAMA} --context-length 8192 --nodes examples/nodes.yaml --solve all"));
    let trained =
        "--model meta-llama/Llama-2-7b-hf --task training --precision mixed-bf16 --batch-size 4 --context-length 4096";
    let training = estimate(&format!("{trained} --gpu A100-80GB --solve all"));
    for (run, wanted) in [
        (&serving, &["context", "concurrency", "tensor-parallel", "kv-cache-dtype", "quantization", "gpu", "mig"][..]),
        (&training, &["micro-batch", "sequence-length", "pipeline-parallel", "checkpointing", "sharding"][..]),
    ] {
        for question in wanted {
            let solution = solution(run, question);
            assert!(solution["outcome"].is_string(), "{solution}");
        }
    }
    assert_eq!(training.code, 1, "some questions have no answer on one card: {training}");
    assert_eq!(solution(&training, "micro-batch")["outcome"], "nothing");
    let floor = &solution(&training, "micro-batch")["beyond"];
    assert!(floor["need"]["low"].as_u64() > floor["usableBytes"].as_u64(), "{floor}");
}

#[test]
fn questions_that_cannot_be_answered_say_what_to_add() {
    let cases = [
        (format!("{LLAMA} --solve context"), "asks what fits on a GPU, and none is given", "--gpu GPU"),
        (format!("{LLAMA} --gpu A10 --solve micro-batch"), "is no question about inference", "ask one of context"),
        (format!("{LLAMA} --gpu A10 --solve contxt"), "'contxt'", "context"),
        (format!("{LLAMA} --gpu A11 --solve context"), "unknown GPU `A11`", "did you mean"),
        (format!("{LLAMA} --gpu A10 --nodes examples/nodes.yaml --solve gpu"), "cannot be used with", "--help"),
        ("--model no/such-model --gpu A10 --solve context".to_owned(), "no/such-model", "vramguard models"),
        (format!("{LLAMA} --nodes examples/none.yaml --solve gpu"), "examples/none.yaml", ""),
    ];
    for (flags, said, hint) in cases {
        let run = vramguard(&format!("estimate {flags}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run}");
        assert!(run.stderr.contains(said) && run.stderr.contains(hint), "{flags}: {run}");
    }
    let json = vramguard(&format!("estimate {LLAMA} --solve context -o json"));
    assert_eq!(json.code, 2);
    assert!(json.json()["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--nodes")), "{json}");
}

#[test]
fn impossible_parallelism_is_no_answer_but_degrees_are() {
    let run = vramguard(&format!("estimate {LLAMA} --tensor-parallel 3 --gpu A10 --solve tensor-parallel"));
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("does not divide attention heads"), "{run}");
}
