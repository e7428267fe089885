//! Trainers.

use proptest::prelude::*;
use vramguard::estimate::workload::{
    Checkpointing, Engine, Lora, Method, ModelFacts, Parallelism, Precision, Sharding, Task, Training, Workload,
};
use vramguard::estimate::{Bytes, Device, Estimate, estimate};

use crate::{at_most, in_order, models};

fn precision() -> impl Strategy<Value = Option<Precision>> {
    prop_oneof![
        Just(None),
        Just(Some(Precision::Fp32)),
        Just(Some(Precision::Bf16)),
        Just(Some(Precision::MixedBf16)),
        Just(Some(Precision::Fp8)),
    ]
}

fn trainer() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), Just(Some("torchtitan")), Just(Some("ms-swift")), Just(Some("litgpt"))]
        .prop_map(|name| name.map(str::to_owned))
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
    pub fn workload()(
        model in models::model(),
        (precision, trainer) in (precision(), trainer()),
        (batch, sequence) in (1_u64..32, 1_u64..16_384),
        (data, tensor) in (2_u64..64, prop_oneof![3 => Just(1_u64), 1 => Just(2)]),
        sharding in prop_oneof![Just(Sharding::Zero2), Just(Sharding::Zero3), Just(Sharding::Fsdp)],
        checkpointing in prop_oneof![Just(None), Just(Some(Checkpointing::None)), Just(Some(Checkpointing::Full))],
        adapters in any::<bool>(),
    ) -> Workload {
        Workload {
            task: Task::Training,
            model: ModelFacts::Known(model),
            parallelism: Parallelism { tensor, data, ..Parallelism::default() },
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            context_length: Some(sequence),
            batch_size: Some(batch),
            engine: Engine::default(),
            training: Training {
                precision,
                trainer,
                sharding: Some(sharding),
                checkpointing,
                lora: adapters.then(lora),
                ..Training::default()
            },
            method: Method::Auto,
        }
    }
}

pub fn run(workload: &Workload) -> Option<Estimate> {
    let device = Device { product: "any".to_owned(), visible: Bytes::from_gib(80.0), compute_capability: None };
    estimate(workload, &device).ok()
}

proptest! {
    #![proptest_config(crate::config(128))]

    #[test]
    fn bounds_are_in_order_and_terms_add_up(workload in workload()) {
        let Some(estimate) = run(&workload) else { return Ok(()) };
        prop_assert!(in_order(&estimate), "{estimate:?}");
        let sum: Bytes = estimate.terms.iter().map(|term| term.bytes.likely).sum();
        prop_assert_eq!(sum, estimate.per_gpu.required.likely);
    }

    #[test]
    fn more_gpus_never_need_more_each_under_sharding(workload in workload()) {
        let mut more = workload.clone();
        more.parallelism.data *= 2;
        let (Some(few), Some(many)) = (run(&workload), run(&more)) else { return Ok(()) };
        prop_assert!(at_most(many.per_gpu.required, few.per_gpu.required), "{:?} {:?}", many.per_gpu, few.per_gpu);
    }

    #[test]
    fn checkpointing_never_raises_activations(workload in workload()) {
        let with = |checkpointing| {
            let mut changed = workload.clone();
            changed.training.checkpointing = Some(checkpointing);
            run(&changed).map(|estimate| estimate.training.unwrap().activations_bytes)
        };
        let (Some(none), Some(selective), Some(full)) =
            (with(Checkpointing::None), with(Checkpointing::Selective), with(Checkpointing::Full)) else {
            return Ok(());
        };
        prop_assert!(full <= selective && selective <= none, "{full} {selective} {none}");
    }

    #[test]
    fn adapters_never_have_more_optimizer_state(workload in workload()) {
        let with = |lora| {
            let mut changed = workload.clone();
            changed.training.lora = lora;
            run(&changed).map(|estimate| estimate.training.unwrap().optimizer_bytes)
        };
        let (Some(adapters), Some(full)) = (with(Some(lora())), with(None)) else { return Ok(()) };
        prop_assert!(adapters <= full, "{adapters} {full}");
    }

    #[test]
    fn each_stage_of_zero_needs_no_more_than_the_one_before(workload in workload()) {
        let with = |sharding| {
            let mut changed = workload.clone();
            changed.training.sharding = Some(sharding);
            run(&changed).map(|estimate| {
                let detail = estimate.training.unwrap();
                detail.parameters_bytes + detail.gradients_bytes + detail.optimizer_bytes
            })
        };
        let stages = [Sharding::Zero3, Sharding::Zero2, Sharding::Zero1, Sharding::Ddp].map(with);
        let states: Vec<Bytes> = stages.into_iter().flatten().collect();
        prop_assert!(states.windows(2).all(|pair| pair[0] <= pair[1] + Bytes(64)), "{states:?}");
    }

    #[test]
    fn larger_micro_batches_never_need_less(workload in workload(), more in 1_u64..16) {
        let larger = Workload { batch_size: workload.batch_size.map(|batch| batch + more), ..workload.clone() };
        let (Some(few), Some(many)) = (run(&workload), run(&larger)) else { return Ok(()) };
        prop_assert!(at_most(few.per_gpu.required, many.per_gpu.required), "{:?} {:?}", few.per_gpu, many.per_gpu);
    }
}
