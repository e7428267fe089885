use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::decide::inventory::{CapacitySource, GpuClass};
use crate::estimate::dtype::DType;
use crate::estimate::workload::{Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training};
use crate::estimate::{Bytes, Device, catalogued};

const ENGINES: [EngineName; 6] = [
    EngineName::Vllm,
    EngineName::Sglang,
    EngineName::Tgi,
    EngineName::Trtllm,
    EngineName::Llamacpp,
    EngineName::Generic,
];

const LLAMA: &str = "meta-llama/Llama-3.1-8B-Instruct";

fn workload(model: &str, task: Task, engine: EngineName) -> Workload {
    Workload {
        task,
        model: ModelFacts::Known(catalogued(model)),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(8192),
        batch_size: None,
        engine: Engine { name: engine, ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    }
}

fn gpu(gib: f64) -> Candidate {
    let device = Device {
        product: "NVIDIA-A100-SXM4-80GB".to_owned(),
        visible: Bytes::from_gib(gib),
        compute_capability: Some((8, 0)),
    };
    let class = GpuClass::whole(device, "nvidia.com/gpu", CapacitySource::Given);
    Candidate { class: Arc::new(class), gpus_per_node: 8, nodes: 1, crowding: None }
}

fn on(gib: &[f64]) -> Candidates {
    Candidates { eligible: gib.iter().map(|gib| gpu(*gib)).collect(), ..Candidates::default() }
}

fn ask(workload: &Workload, gib: &[f64], question: Question) -> Solution {
    let candidates = on(gib);
    let strictness = Strictness::default();
    let devices = [12.0, 16.0, 24.0, 48.0, 80.0, 140.0].map(gpu).to_vec();
    let slices = [4.75, 9.5, 19.5, 39.0]
        .map(|gib| Slice {
            parent: "NVIDIA-A100-SXM4-80GB".to_owned(),
            profile: format!("{gib}gb"),
            candidate: gpu(gib),
        })
        .to_vec();
    Solver { workload, candidates: &candidates, strictness, shelf: &Shelf { devices, slices } }.solve(question)
}

/// The verdict on one GPU, without the solver.
fn verdict(workload: &Workload, gib: f64, wanted: bool) -> Verdict {
    fit::fit(workload, &gpu(gib), Strictness { require_wanted: wanted }).unwrap().verdict
}

fn number(solution: &Solution) -> u64 {
    solution.value.as_deref().unwrap_or_else(|| panic!("{solution:?}")).parse().unwrap()
}

#[test]
fn the_context_fits_and_128_tokens_more_do_not() {
    for engine in ENGINES {
        let workload = workload(LLAMA, Task::Inference, engine);
        let solution = ask(&workload, &[24.0], Question::Context);
        assert_eq!(solution.outcome, Outcome::Proven, "{engine:?}: {solution:?}");
        let tokens = number(&solution);
        let with = |tokens| verdict(&Workload { context_length: Some(tokens), ..workload.clone() }, 24.0, false);
        assert_eq!(with(tokens), Verdict::Fits, "{engine:?}");
        if tokens < 131_072 {
            assert_ne!(with(tokens + 128), Verdict::Fits, "{engine:?}: {tokens}");
            assert_eq!(solution.beyond.unwrap().value, (tokens + 128).to_string());
        }
        assert!(solution.likely.unwrap() >= tokens && solution.at_most >= solution.likely, "{engine:?}");
    }
}

#[test]
fn the_models_own_maximum_ends_the_context() {
    let solution = ask(&workload(LLAMA, Task::Inference, EngineName::Vllm), &[140.0], Question::Context);
    assert_eq!((solution.value.as_deref(), solution.beyond), (Some("131072"), None));
    assert!(solution.note.contains("own maximum"), "{}", solution.note);
}

#[test]
fn the_sequences_fit_at_once_and_one_more_does_not() {
    for engine in ENGINES {
        let workload = workload(LLAMA, Task::Inference, engine);
        let solution = ask(&workload, &[40.0], Question::Concurrency);
        let n = number(&solution);
        let with = |n| verdict(&Knobs::of(engine).with_sequences(&workload, n), 40.0, true);
        assert_eq!(with(n), Verdict::Fits, "{engine:?}");
        assert_ne!(with(n + 1), Verdict::Fits, "{engine:?}: {n}");
    }
}

#[test]
fn where_nothing_fits_the_floor_is_named() {
    let solution = ask(&workload(LLAMA, Task::Inference, EngineName::Vllm), &[12.0], Question::Context);
    assert_eq!((solution.outcome, &solution.value), (Outcome::Nothing, &None));
    let floor = solution.beyond.unwrap();
    assert_eq!((floor.value.as_str(), floor.verdict), ("128", Verdict::TooBig));
    assert!(floor.need.low > floor.usable_bytes && solution.changes.is_empty());
}

#[test]
fn the_largest_of_several_classes_counts() {
    let workload = workload(LLAMA, Task::Inference, EngineName::Vllm);
    let both = ask(&workload, &[40.0, 24.0], Question::Context);
    assert_eq!(both.value, ask(&workload, &[40.0], Question::Context).value);
    assert!(number(&both) > number(&ask(&workload, &[24.0], Question::Context)));
}

#[test]
fn tensor_parallel_degrees_divide_heads_and_vocabulary() {
    let qwen = workload("Qwen/Qwen2.5-7B-Instruct", Task::Inference, EngineName::Vllm);
    // 28 heads, 4 of keys and values; 7 divides neither the padded vocabulary nor those.
    assert_eq!(tensor_degrees(&qwen, 1).collect::<Vec<_>>(), [1, 2, 4]);
    let solution = ask(&qwen, &[12.0], Question::TensorParallel);
    let degree = number(&solution);
    let with = |tensor| {
        let parallelism = Parallelism { tensor, ..Parallelism::default() };
        verdict(&Workload { parallelism, ..qwen.clone() }, 12.0, false)
    };
    assert_eq!(with(degree), Verdict::Fits);
    assert!([1, 2, 4].into_iter().filter(|smaller| *smaller < degree).all(|n| with(n) != Verdict::Fits));
    let llamacpp = workload(LLAMA, Task::Inference, EngineName::Llamacpp);
    assert_eq!(ask(&llamacpp, &[12.0], Question::TensorParallel).outcome, Outcome::NotApplicable);
}

#[test]
fn stages_divide_what_one_gpu_cannot_hold() {
    let workload = workload(LLAMA, Task::Inference, EngineName::Vllm);
    let stages = number(&ask(&workload, &[12.0], Question::PipelineParallel));
    let with = |pipeline| {
        let parallelism = Parallelism { pipeline, ..Parallelism::default() };
        verdict(&Workload { parallelism, ..workload.clone() }, 12.0, false)
    };
    assert_eq!(with(stages), Verdict::Fits);
    assert!((1..stages).all(|fewer| with(fewer) != Verdict::Fits), "{stages}");
}

#[test]
fn the_smallest_hardware_that_fits_is_named() {
    let workload = workload(LLAMA, Task::Inference, EngineName::Vllm);
    let device = ask(&workload, &[], Question::Gpu);
    let proof = device.proof.unwrap();
    assert_eq!((proof.verdict, proof.gpu_class.as_str()), (Verdict::Fits, "NVIDIA-A100-SXM4-80GB-24GiB"));
    assert_ne!(verdict(&workload, 16.0, false), Verdict::Fits);
    let slice = ask(&workload, &[80.0], Question::Mig);
    assert_eq!(slice.value.as_deref(), Some("39gb of A100-SXM4-80GB"));
    assert_eq!([19.5, 39.0].map(|gib| verdict(&workload, gib, false) == Verdict::Fits), [false, true]);
    let two = Parallelism { tensor: 2, ..Parallelism::default() };
    let split = Workload { parallelism: two, ..workload };
    assert_eq!(ask(&split, &[80.0], Question::Mig).outcome, Outcome::NotApplicable);
}

#[test]
fn a_narrow_cache_frees_half_of_it() {
    let mut workload = workload(LLAMA, Task::Inference, EngineName::Vllm);
    workload.context_length = Some(131_072);
    let solution = ask(&workload, &[33.0], Question::KvCacheDtype);
    assert_eq!(solution.value.as_deref(), Some("fp8"));
    let fp8 = &solution.alternatives[1];
    assert_eq!(fp8.frees_bytes, 8 << 30, "half of 131072 tokens of 131072 B");
    let narrow = Workload { kv_cache_dtype: Some(DType::Fp8), ..workload };
    assert_eq!(Some(number(&ask(&narrow, &[33.0], Question::Context))), fp8.max_context);
}

#[test]
fn quantized_weights_are_offered_once() {
    let plain = workload(LLAMA, Task::Inference, EngineName::Vllm);
    let solution = ask(&plain, &[16.0], Question::Quantization);
    assert_eq!(solution.value.as_deref(), Some("fp8"));
    assert!(solution.alternatives.iter().skip(1).all(|tried| tried.frees_bytes > 4 << 30), "{solution:?}");
    let quantized = Workload { quantization: crate::estimate::model::Quantization::from_name("awq"), ..plain };
    assert_eq!(ask(&quantized, &[16.0], Question::Quantization).outcome, Outcome::NotApplicable);
}

fn training() -> Workload {
    let mut workload = workload(LLAMA, Task::Training, EngineName::Generic);
    workload.batch_size = Some(4);
    workload.training.precision = crate::estimate::workload::Precision::from_name("bf16");
    workload.training.checkpointing = crate::estimate::workload::Checkpointing::from_name("full");
    workload.training.loss = crate::estimate::workload::Loss::from_name("fused");
    workload
}

#[test]
fn training_answers_are_the_last_that_fit() {
    let workload = training();
    let batch = number(&ask(&workload, &[140.0], Question::MicroBatch));
    let with = |n| verdict(&Workload { batch_size: Some(n), ..workload.clone() }, 140.0, false);
    assert_eq!((with(batch), with(batch + 1) == Verdict::Fits), (Verdict::Fits, false), "{batch}");
    let tokens = number(&ask(&workload, &[140.0], Question::SequenceLength));
    let with = |n| verdict(&Workload { context_length: Some(n), ..workload.clone() }, 140.0, false);
    assert_eq!((with(tokens), with(tokens + 128) == Verdict::Fits), (Verdict::Fits, false), "{tokens}");
}

#[test]
fn checkpointing_and_sharding_name_the_least_invasive() {
    let mut workload = training();
    workload.training.checkpointing = None;
    workload.batch_size = Some(1);
    let checkpointing = ask(&workload, &[140.0], Question::Checkpointing);
    let names: Vec<&str> = checkpointing.alternatives.iter().map(|tried| tried.evaluated.value.as_str()).collect();
    assert_eq!(names, ["none", "selective", "full"]);
    let needs = checkpointing.alternatives.iter().map(|tried| tried.evaluated.need.likely);
    assert!(needs.is_sorted_by(|more, less| more >= less), "{checkpointing:?}");
    let sharding = ask(&training(), &[40.0], Question::Sharding);
    assert_eq!(sharding.outcome, Outcome::Proven, "{sharding:?}");
    let gpus = sharding.alternatives.iter().filter(|tried| tried.evaluated.verdict == Verdict::Fits);
    let fewest = gpus.min_by_key(|tried| tried.gpus).unwrap();
    assert_eq!(sharding.value.as_ref(), Some(&fewest.evaluated.value));
    assert!(fewest.gpus > 1);
}

#[test]
fn impossible_workloads_have_no_answer_but_a_reason() {
    let mut workload = workload(LLAMA, Task::Inference, EngineName::Vllm);
    workload.parallelism.tensor = 3;
    let solution = ask(&workload, &[80.0], Question::Context);
    assert_eq!(solution.outcome, Outcome::Nothing);
    assert!(solution.note.contains("does not divide"), "{}", solution.note);
    let wide = Parallelism { tensor: 16, ..Parallelism::default() };
    let nowhere = ask(&Workload { parallelism: wide, ..workload }, &[80.0], Question::Context);
    assert!(nowhere.note.contains("no node has the 16 GPUs"), "{}", nowhere.note);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn more_memory_never_gives_a_smaller_context(
        engine in proptest::sample::select(&ENGINES[..]), gib in 14.0..90.0_f64, more in 0.1..60.0_f64,
    ) {
        let workload = workload(LLAMA, Task::Inference, engine);
        let on = |gib: f64| ask(&workload, &[gib], Question::Context);
        let (small, large) = (on(gib), on(gib + more));
        let tokens = |solution: &Solution| solution.value.as_deref().map_or(0, |value| value.parse::<u64>().unwrap());
        if large.outcome == small.outcome {
            prop_assert!(tokens(&large) >= tokens(&small), "{small:?} {large:?}");
        } else {
            prop_assert!(small.outcome != Outcome::Proven, "{small:?} {large:?}");
        }
        prop_assert!(large.at_most >= small.at_most && large.likely >= small.likely, "{small:?} {large:?}");
    }
}
