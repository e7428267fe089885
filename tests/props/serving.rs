//! Servers.

use std::sync::Arc;

use proptest::prelude::*;
use vramguard::estimate::dtype::DType;
use vramguard::estimate::model::Model;
use vramguard::estimate::workload::{
    Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, Estimate, Interval, TermName, estimate};

use crate::models::{self, Kind, Shape};
use crate::{at_most, in_order};

pub const ENGINES: [EngineName; 7] = [
    EngineName::Vllm,
    EngineName::Sglang,
    EngineName::Tgi,
    EngineName::Trtllm,
    EngineName::Llamacpp,
    EngineName::Ollama,
    EngineName::Generic,
];

fn engine() -> impl Strategy<Value = EngineName> {
    prop::sample::select(&ENGINES[..])
}

/// An engine with nothing set.
pub fn plain(name: EngineName) -> Engine {
    Engine { name, ..Engine::default() }
}

fn version() -> impl Strategy<Value = Option<Version>> {
    prop_oneof![Just(None), (0_u16..2, 0_u16..30).prop_map(|(major, minor)| Some(Version([major, minor, 0])))]
}

fn degree() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(1_u64), 1 => Just(2), 1 => Just(4), 1 => Just(8)]
}

fn cache() -> impl Strategy<Value = Option<DType>> {
    prop_oneof![Just(None), Just(Some(DType::Bf16)), Just(Some(DType::Fp8))]
}

fn some<T: Clone + std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(values)
}

prop_compose! {
    fn settings()(
        (name, version) in (engine(), version()),
        (max_num_seqs, batched) in (some(1_u64..2048), some(64_u64..32_768)),
        (block, fraction) in (some(prop_oneof![Just(16_u64), Just(32), Just(64)]), some(0.3_f64..1.0)),
        (enforce_eager, loras, drafts) in (any::<bool>(), 0_u64..3, 0_u64..4),
        (slots, fit) in (some(1_u64..8), some(any::<bool>())),
    ) -> Engine {
        Engine {
            name,
            version,
            max_num_seqs,
            max_num_batched_tokens: batched,
            block_size: block,
            memory_fraction: fraction,
            enforce_eager,
            max_loras: loras,
            speculative_tokens: drafts,
            parallel_slots: slots,
            fit,
            ..Engine::default()
        }
    }
}

pub fn serving(model: Arc<Model>, engine: Engine) -> Workload {
    Workload {
        task: Task::Inference,
        model: ModelFacts::Known(model),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(4096),
        batch_size: None,
        engine,
        training: Training::default(),
        method: Method::Auto,
    }
}

prop_compose! {
    pub fn workload()(
        (model, engine) in (models::model(), settings()),
        (tensor, pipeline) in (degree(), degree()),
        (context, batch) in (1_u64..200_000, some(1_u64..256)),
        kv_cache_dtype in cache(),
    ) -> Workload {
        Workload {
            parallelism: Parallelism { tensor, pipeline, ..Parallelism::default() },
            kv_cache_dtype,
            context_length: Some(context),
            batch_size: batch,
            ..serving(model, engine)
        }
    }
}

pub fn device() -> Device {
    Device {
        product: "NVIDIA-H100-80GB-HBM3".to_owned(),
        visible: Bytes::from_gib(79.19),
        compute_capability: Some((9, 0)),
    }
}

pub fn run(workload: &Workload) -> Option<Estimate> {
    estimate(workload, &device()).ok()
}

/// The first vLLM engine prefills contexts above 32,768 in chunks, which then need less.
fn chunked_from_here(workload: &Workload, longer: Option<u64>) -> bool {
    let old =
        workload.engine.name == EngineName::Vllm && workload.engine.version.is_some_and(|v| v < Version([0, 8, 0]));
    old && workload.context_length <= Some(32_768) && longer > Some(32_768)
}

/// What is needed to start and serve, and what is wanted.
fn needs(estimate: &Estimate) -> [Interval; 2] {
    [estimate.per_gpu.required, estimate.per_gpu.wanted]
}

fn term(estimate: &Estimate, name: TermName) -> Interval {
    estimate.terms.iter().filter(|term| term.name == name).map(|term| term.bytes).sum()
}

/// Whether nothing that the first needs is more than what the second needs. Bounds are those of the worst stage, which
/// may be another one: of pipelines only the likely needs are compared.
fn never_less(base: &Estimate, more: &Estimate) -> bool {
    let staged = |interval: Interval| {
        if base.worst_rank == more.worst_rank { interval } else { Interval::exact(interval.likely) }
    };
    needs(base).into_iter().zip(needs(more)).all(|(base, more)| at_most(staged(base), staged(more)))
}

proptest! {
    #![proptest_config(crate::config(192))]

    #[test]
    fn bounds_are_in_order_and_terms_add_up(workload in workload()) {
        let Some(estimate) = run(&workload) else { return Ok(()) };
        prop_assert!(in_order(&estimate), "{estimate:?}");
        let sum: Interval = estimate.terms.iter().map(|term| term.bytes).sum();
        prop_assert_eq!(sum, estimate.per_gpu.required);
        prop_assert!(at_most(estimate.per_gpu.required, estimate.per_gpu.wanted));
    }

    #[test]
    fn more_context_or_sequences_never_need_less(workload in workload(), longer in 1_u64..50_000, batch in 1_u64..64) {
        let Some(base) = run(&workload) else { return Ok(()) };
        let context = workload.context_length.map(|context| context + longer);
        if chunked_from_here(&workload, context) {
            return Ok(());
        }
        let more = run(&Workload { context_length: context, ..workload.clone() }).unwrap();
        prop_assert!(never_less(&base, &more), "context: {:?} {:?}", base.per_gpu, more.per_gpu);
        let sequences = Workload { batch_size: Some(workload.batch_size.unwrap_or(1) + batch), ..workload.clone() };
        let few = run(&Workload { batch_size: Some(workload.batch_size.unwrap_or(1)), ..workload }).unwrap();
        let many = run(&sequences).unwrap();
        prop_assert!(never_less(&few, &many), "sequences: {:?} {:?}", few.per_gpu, many.per_gpu);
    }

    #[test]
    fn larger_models_never_need_less(shape in models::shape(), engine in settings(), which in 0_usize..3) {
        let mut larger = shape;
        match which {
            0 => larger.layers *= 2,
            1 => larger.intermediate += 512,
            _ => larger.vocab += 1024,
        }
        let (Some(base), Some(more)) =
            (run(&serving(shape.model(), engine.clone())), run(&serving(larger.model(), engine))) else {
            return Ok(());
        };
        prop_assert!(never_less(&base, &more), "{:?} {:?}", base.per_gpu, more.per_gpu);
    }

    #[test]
    fn more_ranks_or_stages_never_hold_more_weights(workload in workload()) {
        let Some(base) = run(&workload) else { return Ok(()) };
        let weights = |estimate: &Estimate| term(estimate, TermName::Weights);
        let mut split = workload.clone();
        split.parallelism.tensor *= 2;
        // The largest of some stages against the whole model.
        let mut whole = workload;
        whole.parallelism.pipeline = 1;
        for (fewer, more) in [(Some(base.clone()), run(&split)), (run(&whole), Some(base))] {
            let (Some(fewer), Some(more)) = (fewer, more) else { continue };
            // Another stage may be the worst when all are divided.
            let same = fewer.worst_rank == more.worst_rank || fewer.worst_rank.is_empty();
            prop_assert!(
                !same || at_most(weights(&more), weights(&fewer)), "{:?} {:?}", weights(&fewer), weights(&more)
            );
        }
    }

    #[test]
    fn a_narrower_cache_never_needs_more(workload in workload()) {
        let with = |format| run(&Workload { kv_cache_dtype: Some(format), ..workload.clone() });
        let (Some(wide), Some(narrow)) = (with(DType::Bf16), with(DType::Fp8)) else { return Ok(()) };
        prop_assert!(never_less(&narrow, &wide), "{:?} {:?}", narrow.per_gpu, wide.per_gpu);
    }

    #[test]
    fn absurd_sizes_and_degrees_never_overflow(
        kind in prop_oneof![Just(Kind::Dense), Just(Kind::Mixture), Just(Kind::Latent), Just(Kind::Recurrent)],
        engine in settings(),
        degrees in any::<[u64; 5]>(),
        (context, batch) in (any::<Option<u64>>(), any::<Option<u64>>()),
        (seqs, batched, block, loras) in any::<(Option<u64>, Option<u64>, Option<u64>, u64)>(),
    ) {
        // About 10^15 parameters.
        let shape = Shape { kind, layers: 1024, hidden: 1 << 19, intermediate: 1 << 20, vocab: 1 << 24, experts: 512 };
        let [tensor, pipeline, data, expert, context_parallel] = degrees;
        let wild = Parallelism { tensor, pipeline, data, expert, context: context_parallel };
        let tame = Parallelism { data, ..Parallelism::default() };
        let engine = Engine {
            max_num_seqs: seqs, max_num_batched_tokens: batched, block_size: block, max_loras: loras,
            max_lora_rank: loras, ..engine
        };
        for parallelism in [wild, tame] {
            let workload = Workload {
                parallelism, context_length: context, batch_size: batch, ..serving(shape.model(), engine.clone())
            };
            if let Some(estimate) = run(&workload) {
                prop_assert!(in_order(&estimate), "{estimate:?}");
            }
        }
    }
}
