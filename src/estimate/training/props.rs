//! What must hold for any training workload.

use std::sync::Arc;

use proptest::prelude::*;

use super::models::{llama3_8b, llama32_1b, qwen3_06b};
use super::*;
use crate::estimate::workload::*;

fn model() -> impl Strategy<Value = Arc<Model>> {
    prop_oneof![Just(Arc::new(llama3_8b())), Just(Arc::new(llama32_1b())), Just(Arc::new(qwen3_06b()))]
}

fn sharding() -> impl Strategy<Value = Sharding> {
    prop_oneof![
        Just(Sharding::Zero1),
        Just(Sharding::Zero2),
        Just(Sharding::Zero3),
        Just(Sharding::Fsdp),
        Just(Sharding::Hsdp),
        Just(Sharding::Megatron),
    ]
}

fn precision() -> impl Strategy<Value = Option<Precision>> {
    prop_oneof![
        Just(None),
        Just(Some(Precision::Fp32)),
        Just(Some(Precision::Bf16)),
        Just(Some(Precision::MixedBf16)),
        Just(Some(Precision::MixedFp16)),
        Just(Some(Precision::Fp8)),
    ]
}

fn lora() -> Lora {
    Lora {
        rank: 16,
        targets: vec!["all-linear".to_owned()],
        quantized_base: false,
        double_quantization: false,
        fp32_adapters: true,
        dropout: false,
        modules_to_save: Vec::new(),
    }
}

prop_compose! {
    /// A workload that some trainer could run, with settings declared or not.
    fn workload()(
        model in model(),
        sharding in sharding(),
        precision in precision(),
        (batch, sequence) in (1_u64..64, 1_u64..32768),
        (tensor, pipeline) in (prop_oneof![Just(1_u64), Just(2), Just(4)], prop_oneof![Just(1_u64), Just(2), Just(4)]),
        data in 2_u64..64,
        checkpointing in prop_oneof![Just(None), Just(Some(Checkpointing::None)), Just(Some(Checkpointing::Full))],
        loss in prop_oneof![Just(None), Just(Some(Loss::Default)), Just(Some(Loss::Fused))],
        adapters in any::<bool>(),
    ) -> Workload {
        Workload {
            task: Task::Training,
            model: ModelFacts::Known(model),
            parallelism: Parallelism { tensor, pipeline, data, expert: 1, context: 1 },
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            context_length: Some(sequence),
            batch_size: Some(batch),
            engine: Engine::default(),
            training: Training {
                precision,
                sharding: Some(sharding),
                checkpointing,
                loss,
                lora: adapters.then(lora),
                ..Training::default()
            },
            method: Method::Auto,
        }
    }
}

fn run(workload: &Workload) -> Estimate {
    let device = Device { product: "any".to_owned(), visible: Bytes::from_gib(80.0), compute_capability: None };
    estimate(workload, &device).unwrap()
}

/// `a` needs no more than `b`, bound by bound, up to rounding to bytes.
fn at_most(a: Interval, b: Interval) -> bool {
    let slack = Bytes(16);
    a.low <= b.low + slack && a.likely <= b.likely + slack && a.high <= b.high + slack
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn more_gpus_never_need_more_per_gpu_under_sharding(workload in workload()) {
        let mut more = workload.clone();
        more.parallelism.data *= 2;
        prop_assert!(at_most(run(&more).per_gpu.required, run(&workload).per_gpu.required));
    }

    #[test]
    fn checkpointing_never_raises_activations(workload in workload()) {
        let with = |checkpointing| {
            let mut changed = workload.clone();
            changed.training.checkpointing = Some(checkpointing);
            run(&changed).training.unwrap().activations_bytes
        };
        let (none, selective, full) =
            (with(Checkpointing::None), with(Checkpointing::Selective), with(Checkpointing::Full));
        prop_assert!(full <= selective && selective <= none, "{full} {selective} {none}");
    }

    #[test]
    fn lora_never_has_more_optimizer_state_than_full_training(workload in workload()) {
        let with = |lora| {
            let mut changed = workload.clone();
            changed.training.lora = lora;
            run(&changed).training.unwrap().optimizer_bytes
        };
        prop_assert!(with(Some(lora())) <= with(None));
    }

    #[test]
    fn longer_sequences_and_larger_batches_never_need_less(workload in workload()) {
        let base = run(&workload).per_gpu.required;
        let mut longer = workload.clone();
        longer.context_length = workload.context_length.map(|sequence| sequence + 512);
        let mut larger = workload.clone();
        larger.batch_size = workload.batch_size.map(|batch| batch + 1);
        prop_assert!(at_most(base, run(&longer).per_gpu.required));
        prop_assert!(at_most(base, run(&larger).per_gpu.required));
    }

    #[test]
    fn terms_sum_to_the_requirement(workload in workload()) {
        let estimate = run(&workload);
        let sum: Bytes = estimate.terms.iter().map(|term| term.bytes.likely).sum();
        prop_assert_eq!(sum, estimate.per_gpu.required.likely);
        prop_assert!(estimate.per_gpu.required.low <= sum && sum <= estimate.per_gpu.required.high);
    }

    #[test]
    fn what_is_declared_only_narrows_the_interval(workload in workload()) {
        let mut silent = workload.clone();
        silent.training.checkpointing = None;
        silent.training.loss = None;
        let (said, unsaid) = (run(&workload).per_gpu.required, run(&silent).per_gpu.required);
        let slack = Bytes(16);
        prop_assert!(unsaid.low <= said.low + slack, "{unsaid:?} {said:?}");
    }

    #[test]
    fn extreme_numbers_never_panic(
        mut workload in workload(),
        batch in any::<Option<u64>>(),
        sequence in any::<Option<u64>>(),
        degrees in any::<[u64; 5]>(),
        (rank, accumulation, micro, chunks) in any::<(u64, u64, u64, u64)>(),
    ) {
        workload.batch_size = batch;
        workload.context_length = sequence;
        let [tensor, pipeline, data, expert, context] = degrees;
        workload.parallelism = Parallelism { tensor, pipeline, data, expert, context };
        workload.training.lora = Some(Lora { rank, ..lora() });
        workload.training.gradient_accumulation = Some(accumulation);
        workload.training.micro_batches = Some(micro);
        workload.training.virtual_stages = Some(chunks);
        let device = Device { product: "any".to_owned(), visible: Bytes(0), compute_capability: None };
        if let Ok(estimate) = estimate(&workload, &device) {
            prop_assert!(estimate.per_gpu.required.low <= estimate.per_gpu.required.high);
        }
        // The same with degrees that pass the checks.
        workload.parallelism = Parallelism { tensor: 1, pipeline: 1, data, expert: 1, context };
        if let Ok(estimate) = estimate(&workload, &device) {
            prop_assert!(estimate.per_gpu.required.low <= estimate.per_gpu.required.high);
        }
    }
}
