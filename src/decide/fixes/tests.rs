use std::sync::Arc;

use super::*;
use crate::decide::inventory::{CapacitySource, GpuClass, Sharing};
use crate::decide::solve::Slice;
use crate::estimate::workload::{Engine, EngineName, Method, ModelFacts, Parallelism, Training};
use crate::estimate::{Bytes, Device, catalogued};

fn class(product: &str, gib: f64, sharing: Sharing, resource: &str) -> Candidate {
    let device =
        Device { product: product.to_owned(), visible: Bytes::from_gib(gib), compute_capability: Some((8, 0)) };
    let class = GpuClass { sharing, ..GpuClass::whole(device, resource, CapacitySource::Given) };
    let gpus_per_node = if sharing == Sharing::Mig { 1 } else { 8 };
    Candidate { class: Arc::new(class), gpus_per_node, nodes: 1, crowding: None }
}

fn whole(gib: f64) -> Candidate {
    class("NVIDIA-A100-SXM4-80GB", gib, Sharing::Exclusive, "nvidia.com/gpu")
}

fn slice(profile: &str, gib: f64) -> Candidate {
    let product = format!("NVIDIA-A100-SXM4-80GB-MIG-{profile}");
    class(&product, gib, Sharing::Mig, &format!("nvidia.com/mig-{profile}"))
}

fn llama(context: u64) -> Workload {
    Workload {
        task: Task::Inference,
        model: ModelFacts::Known(catalogued("meta-llama/Llama-3.1-8B-Instruct")),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(context),
        batch_size: None,
        engine: Engine { name: EngineName::Vllm, ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    }
}

fn fixes(workload: &Workload, candidates: &Candidates) -> Vec<Fix> {
    let slices = [("1g.10gb", 9.5), ("3g.40gb", 39.0), ("7g.80gb", 78.0)].map(|(profile, gib)| Slice {
        parent: "NVIDIA-A100-SXM4-80GB".to_owned(),
        profile: profile.to_owned(),
        candidate: slice(profile, gib),
    });
    let shelf = Shelf { devices: [24.0, 48.0, 80.0].map(whole).to_vec(), slices: slices.to_vec() };
    Search { workload, gpus: 1, candidates, strictness: Strictness::default(), shelf: &shelf }.run()
}

fn of<'a>(fixes: &'a [Fix], strategy: &str) -> &'a Fix {
    fixes.iter().find(|fix| fix.strategy == strategy).unwrap_or_else(|| panic!("no {strategy}: {fixes:?}"))
}

#[test]
fn the_context_is_the_largest_round_one_that_fits() {
    for gib in [22.0, 23.0, 24.0, 28.0] {
        let candidates = Candidates { eligible: vec![whole(gib)], ..Candidates::default() };
        let found = fixes(&llama(131_072), &candidates);
        let tokens: u64 = of(&found, "context").changes[0].to.parse().unwrap();
        let step = if tokens < 4096 { 256 } else { 1024 };
        assert_eq!(tokens % step, 0, "{tokens}");
        let fits = |tokens| {
            let fit = fit::fit(&llama(tokens), &whole(gib), Strictness::default()).unwrap();
            fit.verdict == Verdict::Fits
        };
        assert!(fits(tokens) && !fits(tokens + step), "{gib}: {tokens}");
    }
}

#[test]
fn the_sequences_are_the_most_that_fit() {
    let mut workload = llama(4096);
    workload.engine.name = EngineName::Generic;
    workload.batch_size = Some(100);
    let candidates = Candidates { eligible: vec![whole(40.0)], ..Candidates::default() };
    let found = fixes(&workload, &candidates);
    let n: u64 = of(&found, "sequences").changes[0].to.parse().unwrap();
    let fits = |n| {
        let fewer = Workload { batch_size: Some(n), ..workload.clone() };
        fit::fit(&fewer, &whole(40.0), Strictness::default()).unwrap().verdict == Verdict::Fits
    };
    assert!(fits(n) && !fits(n + 1), "{n}");
}

#[test]
fn a_micro_batch_keeps_the_global_batch() {
    let mut workload = llama(4096);
    workload.task = Task::Training;
    workload.batch_size = Some(24);
    workload.training.precision = crate::estimate::workload::Precision::from_name("bf16");
    workload.training.checkpointing = crate::estimate::workload::Checkpointing::from_name("full");
    workload.training.loss = crate::estimate::workload::Loss::from_name("fused");
    let candidates = Candidates { eligible: vec![whole(110.0)], ..Candidates::default() };
    let found = fixes(&workload, &candidates);
    let changes = &of(&found, "microbatch").changes;
    let to = |n: usize| changes[n].to.parse::<u64>().unwrap();
    assert_eq!((to(0) * to(1), changes[1].from.as_str()), (24, "1"), "{changes:?}");
}

#[test]
fn slices_grow_by_their_resource_and_devices_by_their_product() {
    let small = slice("1g.10gb", 9.5);
    let other = (slice("3g.40gb", 39.0), "offers another resource".to_owned());
    let candidates = Candidates { eligible: vec![small.clone()], excluded: vec![other], ..Candidates::default() };
    let found = fixes(&llama(4096), &candidates);
    let steer = of(&found, "steer");
    let change = &steer.changes[0];
    assert_eq!(
        [change.path.as_str(), change.from.as_str(), change.to.as_str()],
        ["resources.limits", "nvidia.com/mig-1g.10gb: 1", "nvidia.com/mig-3g.40gb: 1"]
    );
    // Without such a slice in the cluster the catalogue's smallest that fits is named.
    let alone = Candidates { eligible: vec![small], ..Candidates::default() };
    let found = fixes(&llama(4096), &alone);
    assert_eq!(of(&found, "gpu-class").changes[0].to, "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb");
    let found = fixes(&llama(131_072), &Candidates { eligible: vec![whole(14.0)], ..Candidates::default() });
    assert_eq!(of(&found, "gpu-class").gpu_class, "NVIDIA-A100-SXM4-80GB-48GiB");
}

#[test]
fn the_same_question_has_the_same_answer() {
    let candidates = Candidates { eligible: vec![whole(24.0)], ..Candidates::default() };
    assert_eq!(fixes(&llama(131_072), &candidates), fixes(&llama(131_072), &candidates));
}
