use super::*;
use crate::estimate::workload::{Engine, EngineName, Method, Parallelism, Training};
use crate::estimate::{Device, catalogued, estimate};

const MODELS: [&str; 4] = [
    "meta-llama/Llama-3.1-8B-Instruct",
    "google/gemma-2-9b-it",
    "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "deepseek-ai/DeepSeek-V2-Lite",
];

const ENGINES: [EngineName; 7] = [
    EngineName::Vllm,
    EngineName::Sglang,
    EngineName::Tgi,
    EngineName::Trtllm,
    EngineName::Llamacpp,
    EngineName::Ollama,
    EngineName::Generic,
];

fn workload(model: &str, task: Task, engine: EngineName) -> Workload {
    Workload {
        task,
        model: ModelFacts::Known(catalogued(model)),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(8192),
        batch_size: Some(2),
        engine: Engine { name: engine, ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    }
}

fn explained(workload: &Workload) -> (Explanation, Estimate) {
    let device = Device {
        product: "NVIDIA-H100-80GB-HBM3".to_owned(),
        visible: Bytes::from_gib(79.0),
        compute_capability: Some((9, 0)),
    };
    let estimate = estimate(workload, &device).unwrap();
    (explain(workload, &estimate).unwrap(), estimate)
}

fn sums(node: &Node, bounds: bool, place: &str) {
    for child in &node.children {
        sums(child, bounds, &format!("{place}/{}", child.name));
    }
    if node.children.is_empty() {
        return;
    }
    let sum: Interval = node.children.iter().map(|child| child.bytes).sum();
    assert_eq!(sum.likely, node.bytes.likely, "{place}");
    // Above the terms the bounds are those of whole scenarios.
    if bounds || node.name != "required" {
        assert_eq!(sum, node.bytes, "{place}");
    }
}

fn find<'a>(node: &'a Node, name: &str) -> &'a Node {
    fn within<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
        if node.name == name { Some(node) } else { node.children.iter().find_map(|child| within(child, name)) }
    }
    within(node, name).unwrap_or_else(|| panic!("no {name} in {node:?}"))
}

#[test]
fn parts_sum_to_what_is_required_for_every_engine() {
    for model in MODELS {
        for engine in ENGINES {
            let mut workload = workload(model, Task::Inference, engine);
            let (explanation, estimate) = explained(&workload);
            assert_eq!(explanation.required.bytes, estimate.per_gpu.required, "{model} {engine:?}");
            sums(&explanation.required, true, &format!("{model} {engine:?}"));
            assert!(!find(&explanation.required, "weights").children.is_empty());
            workload.parallelism.pipeline = 2;
            workload.engine.kv_cache_memory = Some(Bytes::from_gib(30.0));
            sums(&explained(&workload).0.required, false, &format!("{model} {engine:?}, two stages"));
        }
    }
}

#[test]
fn tensors_are_where_they_belong() {
    let (explanation, _) = explained(&workload(MODELS[0], Task::Inference, EngineName::Vllm));
    let weights = find(&explanation.required, "weights");
    let names: Vec<&str> = weights.children.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["embedding", "attention", "mlp", "norms", "head", "other"]);
    let down = find(weights, "down_proj");
    assert_eq!(down.bytes.likely, Bytes(32 * 4096 * 14336 * 2));
    assert_eq!(down.formula, "32 × 4096 × 14336 × 2 B");
    assert_eq!(find(weights, "attention").bytes.likely, Bytes(32 * (2 * 4096 * 4096 + 2 * 1024 * 4096) * 2));
    let (split, _) = explained(&Workload {
        parallelism: Parallelism { tensor: 4, ..Parallelism::default() },
        ..workload(MODELS[0], Task::Inference, EngineName::Vllm)
    });
    assert_eq!(find(&split.required, "down_proj").formula, "32 × 4096 × 14336 × 2 B / 4 ranks");
    let (mixture, _) = explained(&workload(MODELS[2], Task::Inference, EngineName::Vllm));
    let experts = find(&mixture.required, "experts").bytes.likely.as_f64();
    assert!(experts > 0.9 * find(&mixture.required, "weights").bytes.likely.as_f64());
    assert!(!find(&mixture.required, "router").children.is_empty());
}

#[test]
fn layers_that_look_back_alike_stand_together() {
    let (explanation, _) = explained(&workload(MODELS[1], Task::Inference, EngineName::Generic));
    let cache = find(&explanation.required, "kv_cache");
    let names: Vec<&str> = cache.children.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["21 × full", "21 × sliding"]);
    // 8192 tokens against a window of 4096.
    assert_eq!(cache.children[1].bytes.likely.0 * 2, cache.children[0].bytes.likely.0);
}

#[test]
fn a_training_step_has_its_moments_and_the_largest_is_the_peak() {
    let (explanation, estimate) = explained(&workload(MODELS[0], Task::Training, EngineName::Generic));
    sums(&explanation.required, false, "training");
    let phases: Vec<&str> = explanation.moments.iter().map(|moment| moment.phase.as_str()).collect();
    assert_eq!(phases, ["loss", "backward-start", "backward-end", "step"]);
    let peak = explanation.moments.iter().map(|moment| moment.bytes.likely).max().unwrap();
    let reported = estimate.training.unwrap().peak_allocated_bytes;
    assert!(peak.0.abs_diff(reported.0) < 16, "{peak} {reported}");
}

#[test]
fn the_reference_formula_is_not_taken_apart() {
    let plain = Workload { method: Method::Reference, ..workload(MODELS[0], Task::Inference, EngineName::Generic) };
    let (explanation, _) = explained(&plain);
    assert_eq!(explanation.required.children.len(), 2);
    assert!(explanation.required.children.iter().all(|term| term.children.is_empty() && !term.formula.is_empty()));
}
