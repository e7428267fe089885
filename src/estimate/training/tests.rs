//! What must hold for training estimates.

use std::sync::Arc;

use super::models::{llama2_7b, llama3_8b, llama32_1b, llama32_3b, qwen3_06b};
use super::*;
use crate::estimate::units::Bytes;
use crate::estimate::workload::*;

const GIB: f64 = (1_u64 << 30) as f64;

fn h100() -> Device {
    Device { product: "NVIDIA-H100-80GB-HBM3".to_owned(), visible: Bytes::from_gib(79.2), compute_capability: None }
}

fn workload(model: Model, batch: u64, sequence: u64) -> Workload {
    Workload {
        task: Task::Training,
        model: ModelFacts::Known(Arc::new(model)),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(sequence),
        batch_size: Some(batch),
        engine: Engine::default(),
        training: Training::default(),
        method: Method::Auto,
    }
}

fn run(workload: &Workload) -> Estimate {
    estimate(workload, &h100()).unwrap()
}

fn allocated(workload: &Workload) -> f64 {
    run(workload).training.unwrap().peak_allocated_bytes.gib()
}

fn mixed(batch: u64, sequence: u64) -> Workload {
    let mut workload = workload(llama2_7b(), batch, sequence);
    workload.training.precision = Some(Precision::MixedBf16);
    workload
}

fn sharded(mut workload: Workload, sharding: Sharding, data: u64) -> Workload {
    workload.training.sharding = Some(sharding);
    workload.parallelism.data = data;
    workload
}

#[test]
fn states_take_sixteen_bytes_a_parameter_before_activations() {
    let mut workload = mixed(1, 1);
    workload.training.optimizer = Some(Optimizer::AdamW);
    let detail = run(&workload).training.unwrap();
    let states = (detail.parameters_bytes + detail.gradients_bytes + detail.optimizer_bytes).as_f64();
    assert!((states / 6_738_415_616.0 - 16.0).abs() < 1e-6, "{states}");
}

#[test]
fn llama2_7b_unsharded_is_surely_too_big_for_eighty_gib() {
    assert!(run(&mixed(4, 4096)).per_gpu.required.low > Bytes::from_gib(80.0));
}

#[test]
fn llama2_7b_over_four_gpus_fits_likely() {
    let required = run(&sharded(mixed(4, 4096), Sharding::Zero3, 4)).per_gpu.required;
    assert!(required.low < Bytes::from_gib(60.0), "{}", required.low);
    assert!(required.likely < Bytes::from_gib(79.0), "{}", required.likely);
}

#[test]
fn fully_sharded_over_four_gpus_takes_thirty_gib_each() {
    let mut workload = sharded(mixed(1, 2048), Sharding::Fsdp, 4);
    workload.training.checkpointing = Some(Checkpointing::Full);
    let likely = run(&workload).per_gpu.required.likely.gib();
    assert!((28.0..=35.0).contains(&likely), "{likely}");
}

#[test]
fn terms_sum_to_the_requirement_and_allocated_reserved_and_device_totals_are_apart() {
    let estimate = run(&sharded(mixed(4, 4096), Sharding::Fsdp, 8));
    let sum: Bytes = estimate.terms.iter().map(|term| term.bytes.likely).sum();
    assert_eq!(sum, estimate.per_gpu.required.likely);
    let allocated = estimate.training.as_ref().unwrap().peak_allocated_bytes;
    assert!(allocated < estimate.per_gpu.reserved.likely);
    assert!(estimate.per_gpu.reserved.likely < estimate.per_gpu.required.likely);
    assert!(estimate.terms.iter().all(|term| !term.formula.is_empty()));
    assert_eq!(estimate.gpus, 8);
}

/// Step peaks of PyTorch's own memory tracker over the real modules on fake tensors.
#[test]
fn step_peaks_match_the_tracked_ones() {
    let rows: [(Model, u64, u64, Precision, Checkpointing, Loss, f64); 11] = [
        (llama32_1b(), 1, 2048, Precision::Bf16, Checkpointing::None, Loss::Default, 13.377),
        (llama32_1b(), 1, 2048, Precision::Bf16, Checkpointing::Full, Loss::Default, 10.186),
        (llama32_1b(), 1, 2048, Precision::MixedBf16, Checkpointing::None, Loss::Default, 23.718),
        (llama32_1b(), 1, 2048, Precision::MixedBf16, Checkpointing::Full, Loss::Default, 20.372),
        (llama32_1b(), 4, 2048, Precision::Bf16, Checkpointing::Full, Loss::Default, 19.289),
        (llama32_3b(), 2, 4096, Precision::Bf16, Checkpointing::None, Loss::Default, 59.657),
        (llama32_3b(), 4, 768, Precision::Bf16, Checkpointing::None, Loss::Default, 33.591),
        (llama32_1b(), 1, 2048, Precision::Bf16, Checkpointing::Full, Loss::Chunked, 10.186),
        (llama32_3b(), 2, 4096, Precision::Bf16, Checkpointing::Full, Loss::Chunked, 25.405),
        (llama32_1b(), 1, 8192, Precision::Bf16, Checkpointing::Full, Loss::Default, 19.337),
        (qwen3_06b(), 1, 4096, Precision::Bf16, Checkpointing::None, Loss::Default, 18.431),
    ];
    for (model, batch, sequence, precision, checkpointing, loss, expected) in rows {
        let mut workload = workload(model, batch, sequence);
        workload.training.precision = Some(precision);
        workload.training.checkpointing = Some(checkpointing);
        workload.training.loss = Some(loss);
        let actual = allocated(&workload);
        let error = actual / expected - 1.0;
        assert!(error.abs() < 0.02, "{batch}x{sequence} {precision:?} {checkpointing:?}: {actual} for {expected}");
    }
}

#[test]
fn the_phase_with_the_peak_is_named() {
    let mut workload = workload(llama32_1b(), 4, 2048);
    workload.training.checkpointing = Some(Checkpointing::Full);
    assert_eq!(run(&workload).training.unwrap().peak_phase, "forward");
    workload.batch_size = Some(1);
    workload.context_length = Some(16);
    assert_ne!(run(&workload).training.unwrap().peak_phase, "forward");
}

#[test]
fn the_largest_phase_is_the_peak() {
    let mut workload = sharded(mixed(2, 4096), Sharding::Fsdp, 8);
    workload.parallelism.pipeline = 2;
    let views = phases(&workload).unwrap();
    assert_eq!(views.len(), 8, "four phases of two stages");
    let largest = views.iter().map(PhaseView::likely).max().unwrap();
    let peak = run(&workload).training.unwrap().peak_allocated_bytes;
    assert!(largest.gib() > 0.999 * peak.gib() && largest.gib() < 1.001 * peak.gib(), "{largest} {peak}");
}

fn states(change: impl Fn(&mut Training)) -> f64 {
    let mut workload = mixed(1, 16);
    change(&mut workload.training);
    let detail = run(&workload).training.unwrap();
    (detail.parameters_bytes + detail.gradients_bytes + detail.optimizer_bytes).as_f64()
}

#[test]
fn projected_gradients_keep_small_states() {
    // GaLore of rank 1024 on Llama-2-7B: two states of rank x long side and a projector of rank x short side.
    let full = states(|_| ());
    let projected = states(|training| training.projection_rank = Some(1024));
    let layer = 4.0 * (1024.0 * (2.0 * 4096.0 + 4096.0)) + 3.0 * (1024.0 * (2.0 * 11008.0 + 4096.0));
    let matrices = 32.0 * (4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0);
    let expected = full - matrices * 8.0 + 32.0 * layer * 4.0;
    assert!((projected / expected - 1.0).abs() < 1e-6, "{projected} {expected}");
}

#[test]
fn one_active_layer_has_states_and_the_others_none() {
    // BAdam and LISA: two bytes for all parameters in the limit, sixteen for the active ones.
    let active = states(|training| training.active_layers = Some(1));
    let layer = 4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0 + 8192.0;
    let outer = 2.0 * 32000.0 * 4096.0 + 4096.0;
    let expected = 16.0 * (layer + outer) + 2.0 * 31.0 * layer;
    assert!((active / expected - 1.0).abs() < 1e-6, "{active} {expected}");
}

#[test]
fn averages_and_other_models_are_added_whole() {
    let full = states(|_| ());
    let average = states(|training| training.moving_average = true);
    assert!((average - full - 4.0 * 6_738_415_616.0).abs() < 16.0, "{average}");
    let reward = states(|training| training.other_parameters = 1_000_000_000);
    assert!((reward - full - 2e9).abs() < 16.0, "{reward}");
    let reference = states(|training| training.reference_models = 1);
    assert!((reference - full - 2.0 * 6_738_415_616.0).abs() < 16.0, "{reference}");
}

#[test]
fn updates_in_backward_remove_the_gradients() {
    let gradients = |inside| {
        let mut workload = mixed(1, 16);
        workload.training.optimizer_in_backward = inside;
        run(&workload).training.unwrap().gradients_bytes.as_f64()
    };
    assert!((gradients(false) / (4.0 * 6_738_415_616.0) - 1.0).abs() < 1e-6);
    assert!(gradients(true) < 0.05 * gradients(false));
}

#[test]
fn offloaded_checkpoints_leave_the_device() {
    let activations = |offload| {
        let mut workload = mixed(8, 4096);
        workload.training.checkpointing = Some(Checkpointing::Full);
        workload.training.activation_offload = offload;
        run(&workload).training.unwrap().activations_bytes
    };
    assert!(activations(true) < activations(false));
}

fn lora() -> Lora {
    Lora {
        rank: 16,
        targets: Vec::new(),
        quantized_base: false,
        double_quantization: false,
        fp32_adapters: true,
        dropout: false,
        modules_to_save: Vec::new(),
    }
}

#[test]
fn quantized_bases_take_a_quarter_of_sixteen_bit_ones() {
    let mut workload = workload(llama3_8b(), 1, 512);
    let mut lora = lora();
    workload.training.trainer = Some("torchtune".to_owned());
    workload.training.lora = Some(lora.clone());
    let plain = run(&workload).training.unwrap().parameters_bytes.gib();
    lora.quantized_base = true;
    workload.training.lora = Some(lora);
    let quantized = run(&workload).training.unwrap().parameters_bytes.gib();
    assert!((plain - 8.03e9 * 2.0 / GIB).abs() < 0.1, "{plain}");
    // Linear layers in 4 bit, embedding and head (1.05e9) in 16.
    assert!((quantized - (6.98e9 * 0.5625 + 1.05e9 * 2.0) / GIB).abs() < 0.1, "{quantized}");
}

#[test]
fn gradients_of_a_stream_of_their_own_are_reserved_beside_the_activations() {
    let mut workload = sharded(mixed(1, 8192), Sharding::Fsdp, 8);
    workload.training.checkpointing = Some(Checkpointing::None);
    workload.training.trainer = Some("torchtitan".to_owned());
    let estimate = run(&workload);
    let detail = estimate.training.as_ref().unwrap();
    assert_eq!(detail.peak_phase, "forward", "gradients do not exist at the peak");
    let beside = estimate.per_gpu.reserved.likely.as_f64() - detail.peak_allocated_bytes.as_f64();
    assert!(beside >= detail.gradients_bytes.as_f64(), "{beside}");
    // The allocator gives those blocks back before it fails: a denial does not count on them.
    assert!(estimate.per_gpu.reserved.low > estimate.per_gpu.required.low);
}

#[test]
fn a_known_trainer_assumes_less_than_an_unknown_one() {
    let width = |trainer: &str| {
        let mut workload = sharded(mixed(2, 4096), Sharding::Fsdp, 8);
        workload.training.checkpointing = Some(Checkpointing::Full);
        workload.training.loss = Some(Loss::Default);
        workload.training.trainer = Some(trainer.to_owned());
        let required = run(&workload).per_gpu.required;
        (required.high.as_f64() - required.low.as_f64()) / required.likely.as_f64()
    };
    assert!(width("torchtitan") < 0.75 * width("my-script"), "{} {}", width("torchtitan"), width("my-script"));
}

#[test]
fn cached_blocks_grow_no_further_than_with_typical_samples() {
    let cached = |sequence| {
        let mut workload = workload(llama3_8b(), 1, sequence);
        workload.training.precision = Some(Precision::Bf16);
        workload.training.trainer = Some("ms-swift".to_owned());
        workload.training.checkpointing = Some(Checkpointing::Full);
        workload.training.lora = Some(lora());
        let estimate = run(&workload);
        let logits: f64 =
            estimate.terms.iter().filter(|t| t.name == TermName::Logits).map(|t| t.bytes.likely.gib()).sum();
        (estimate.per_gpu.reserved.likely.gib() - estimate.training.unwrap().peak_allocated_bytes.gib(), logits)
    };
    let ((short, few), (long, many)) = (cached(2048), cached(8192));
    assert!(short > few, "more than the loss's buffers once over: {short} {few}");
    assert!(long / many < short / few, "{long} {many}");
}

#[test]
fn a_decoder_sees_targets_and_its_encoder_the_source() {
    let config = serde_json::json!({
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_model": 768, "num_layers": 12,
        "num_decoder_layers": 12, "num_heads": 12, "d_kv": 64, "d_ff": 3072, "feed_forward_proj": "relu",
        "vocab_size": 32128, "tie_word_embeddings": true,
    });
    let model = crate::estimate::model::hf_config::read("t5", &config).unwrap();
    let with = |target| {
        let mut workload = workload(model.clone(), 8, 512);
        workload.training.precision = Some(Precision::Bf16);
        workload.training.checkpointing = Some(Checkpointing::None);
        workload.training.target_length = target;
        run(&workload)
    };
    let logits = |estimate: &Estimate| {
        estimate.terms.iter().filter(|t| t.name == TermName::Logits).map(|t| t.bytes.likely.as_f64()).sum::<f64>()
    };
    assert!((logits(&with(Some(128))) * 4.0 / logits(&with(Some(512))) - 1.0).abs() < 1e-6);
    let activations = |target| with(target).training.unwrap().activations_bytes.as_f64();
    let (short, long) = (activations(Some(128)), activations(Some(512)));
    assert!(short > 0.4 * long && short < 0.75 * long, "the encoder's half stays: {short} {long}");
    let unsaid = with(None).per_gpu.required;
    assert!(
        unsaid.low < with(Some(128)).per_gpu.required.likely && unsaid.high > with(Some(256)).per_gpu.required.likely
    );
}

#[test]
fn draft_layers_are_trained_where_declared() {
    let mut model = llama3_8b();
    model.mtp = vec![crate::estimate::model::LayerGroup { count: 1, ..model.layers.first().unwrap().clone() }];
    let with = |layers| {
        let mut workload = workload(model.clone(), 1, 4096);
        workload.training.trainer = Some("megatron-lm".to_owned());
        workload.training.checkpointing = Some(Checkpointing::Full);
        workload.training.mtp_layers = layers;
        run(&workload)
    };
    let states = |estimate: &Estimate| estimate.training.as_ref().unwrap().parameters_bytes.as_f64();
    let layer: f64 = model.mtp.iter().flat_map(|group| &group.tensors).map(|tensor| tensor.parameters() as f64).sum();
    let (with_it, without) = (with(Some(1)), with(Some(0)));
    assert!((states(&with_it) - states(&without) - 2.0 * layer).abs() < 16.0);
    assert!(with_it.per_gpu.required.likely > without.per_gpu.required.likely);
    let unsaid = with(None).per_gpu.required;
    assert_eq!(unsaid.likely, without.per_gpu.required.likely);
    assert_eq!(unsaid.high, with_it.per_gpu.required.high);
}

#[test]
fn a_base_in_any_narrow_format_is_quantized_under_adapters() {
    use crate::estimate::model::Quantization;
    let mut workload = workload(llama3_8b(), 1, 512);
    workload.training.trainer = Some("torchtune".to_owned());
    workload.training.lora = Some(lora());
    let weights = |workload: &Workload| run(workload).training.unwrap().parameters_bytes.gib();
    let plain = weights(&workload);
    workload.quantization = Quantization::from_name("int8");
    let eight = weights(&workload);
    assert!(eight < 0.7 * plain, "{eight} {plain}");
    // A checkpoint that comes quantized needs no word about it.
    workload.quantization = None;
    let mut model = llama3_8b();
    model.quantization = Quantization::from_name("gptq");
    workload.model = ModelFacts::Known(Arc::new(model));
    assert!(weights(&workload) < 0.5 * plain);
}

#[test]
fn a_pipelines_batch_is_cut_where_the_trainer_cuts_it() {
    let peak = |trainer: &str, batch| {
        let mut workload = sharded(mixed(batch, 4096), Sharding::Fsdp, 4);
        workload.parallelism.pipeline = 4;
        workload.training.trainer = Some(trainer.to_owned());
        workload.training.checkpointing = Some(Checkpointing::Full);
        run(&workload).training.unwrap().peak_allocated_bytes
    };
    assert_eq!(peak("torchtitan", 4), peak("torchtitan", 16), "no more than the stages hold");
    assert!(peak("my-script", 4) < peak("my-script", 16));
}

#[test]
fn a_denial_does_not_rest_on_an_option_that_nobody_ruled_out() {
    let mut workload = sharded(mixed(2, 8192), Sharding::Fsdp, 8);
    workload.training.trainer = Some("torchtitan".to_owned());
    workload.training.checkpointing = Some(Checkpointing::Selective);
    workload.training.loss = Some(Loss::Default);
    let eager = run(&workload).per_gpu;
    workload.training.fused_kernels = Some(true);
    let compiled = run(&workload).per_gpu;
    assert!(eager.required.low <= compiled.required.low + Bytes(16), "it may be compiled");
    assert!(eager.reserved.low > compiled.reserved.low, "as declared");
}

#[test]
fn schedules_hold_as_many_micro_batches_as_they_must() {
    let activations = |schedule, stage_of_two| {
        let mut workload = mixed(1, 4096);
        workload.parallelism.pipeline = 4;
        workload.training.sharding = Some(Sharding::Megatron);
        workload.training.checkpointing = Some(Checkpointing::None);
        workload.training.micro_batches = Some(16);
        workload.training.schedule = schedule;
        let stages = stage_peaks(&workload).unwrap();
        if stage_of_two { stages.last().unwrap().allocated.likely } else { stages.first().unwrap().allocated.likely }
    };
    assert!(activations(Some(Schedule::AllForward), false) > activations(None, false), "16 instead of 4");
    assert_eq!(activations(Some(Schedule::ZeroBubble), false), activations(None, false));
    assert!(activations(Some(Schedule::ZeroBubble), true) > activations(None, true), "4 instead of 1");
}

#[test]
fn a_preference_pair_is_two_sequences() {
    let mut pairs = mixed(2, 2048);
    pairs.training.sequences_per_sample = Some(2);
    assert_eq!(run(&pairs).per_gpu.required, run(&mixed(4, 2048)).per_gpu.required);
}

#[test]
fn an_engine_beside_the_trainer_takes_its_share() {
    let mut workload = mixed(1, 2048);
    let alone = run(&workload).per_gpu.required;
    workload.training.colocated_share = Some(0.25);
    let beside = run(&workload).per_gpu.required;
    let share = Bytes::from_gib(0.25 * 79.2);
    assert_eq!(beside.low, alone.low, "it may sleep");
    assert!((beside.likely.gib() - alone.likely.gib() - share.gib()).abs() < 0.01);
}

#[test]
fn impossible_values_are_refused_with_the_field() {
    let invalid = estimate(&mixed(0, 4096), &h100()).unwrap_err();
    assert!(matches!(invalid, EstimateError::Invalid { field: "batchSize", .. }), "{invalid}");
    let mut workload = mixed(1, 4096);
    workload.context_length = None;
    let missing = estimate(&workload, &h100()).unwrap_err();
    assert!(matches!(missing, EstimateError::Missing { field: "contextLength", .. }), "{missing}");
    let mut workload = mixed(1, 4096);
    workload.parallelism.tensor = 3;
    assert!(matches!(estimate(&workload, &h100()), Err(EstimateError::Parallelism(_))));
    workload.parallelism = Parallelism { pipeline: 33, ..Parallelism::default() };
    assert!(matches!(estimate(&workload, &h100()), Err(EstimateError::Parallelism(_))));
    workload.parallelism = Parallelism { expert: 2, ..Parallelism::default() };
    assert!(matches!(estimate(&workload, &h100()), Err(EstimateError::Parallelism(_))));
}

#[test]
fn absurd_sizes_saturate() {
    let mut workload = mixed(u64::MAX, u64::MAX);
    assert_eq!(run(&workload).per_gpu.required.high, Bytes(u64::MAX));
    workload.parallelism.data = u64::MAX;
    workload.parallelism.context = u64::MAX;
    workload.training.sharding = Some(Sharding::Zero3);
    let estimate = run(&workload);
    assert!(estimate.per_gpu.required.low <= estimate.per_gpu.required.high);
}
