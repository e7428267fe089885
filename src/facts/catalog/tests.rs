use serde_json::Value;

use super::*;
use crate::estimate::dtype::DType;
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{Attention, TensorKind};
use crate::estimate::parallel::stages;
use crate::estimate::workload::Parallelism;

/// Counts that transformers, published totals and checkpoint headers agree on (`data/README.md`).
const EXPECTED: &str = include_str!("../../../tests/data/parameters.jsonl");

/// Architectures for which no reader can say the size, with the reason.
const NOT_UNDERSTOOD: &[(&str, &str)] = &[
    // Diffusion transformers.
    ("black-forest-labs/FLUX.1-dev", "vocab_size is missing"),
    ("black-forest-labs/FLUX.1-schnell", "vocab_size is missing"),
    // Latent experts and attention over residuals: no published description of their sizes.
    ("moonshotai/Kimi-K3", "is not understood for model type `kimi_k3`"),
    ("stepfun-ai/Step-3.7-Flash", "the model type `step3p7` is not known"),
    ("stepfun-ai/Step-3.7-Flash-FP8", "the model type `step3p7` is not known"),
];

/// Rows whose count is not published: the same architecture as a row whose is.
const UNCOUNTED: &[(&str, &str)] = &[
    ("sgl-project/DeepSeek-V4-Flash-FP8", "deepseek-ai/DeepSeek-V4-Flash"),
    ("sgl-project/DeepSeek-V4-Pro-FP8", "deepseek-ai/DeepSeek-V4-Pro"),
];

fn expected() -> impl Iterator<Item = Value> {
    EXPECTED.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn find(reference: &str) -> Arc<Model> {
    Catalog::embedded().find(reference).unwrap()
}

#[test]
fn rows_are_sorted_and_every_line_is_one() {
    let rows = &Catalog::embedded().rows;
    assert_eq!(rows.len(), TEXT.lines().count());
    assert!(rows.is_sorted_by(|a, b| a.key < b.key));
    assert!(rows.iter().all(|row| row.id().unwrap().to_lowercase() == row.key));
}

#[test]
fn parameter_counts_are_exact() {
    let mut wrong = Vec::new();
    for row in expected() {
        let id = row["id"].as_str().unwrap();
        let counted = match Catalog::embedded().find(id) {
            Ok(model) => Some(model.parameters()),
            Err(LookupError::Unreadable { reason: source, .. }) => {
                let reason = NOT_UNDERSTOOD.iter().find(|(known, _)| *known == id);
                if !reason.is_some_and(|(_, reason)| source.to_string().contains(reason)) {
                    wrong.push(format!("{id}: {source}"));
                }
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let same = UNCOUNTED.iter().find(|(uncounted, _)| *uncounted == id).map(|(_, same)| find(same).parameters());
        if counted != same.or(row["total"].as_u64()) {
            let off = i128::from(counted.unwrap()) - i128::from(row["total"].as_u64().unwrap_or(0));
            wrong.push(format!("{id}: {counted:?} instead of {} ({off:+}), {}", row["total"], row["breakdown"]));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ids_aliases_forks_and_paths_lead_to_one_model() {
    let references = [
        "meta-llama/Llama-2-7b-hf",
        "META-LLAMA/llama-2-7B-HF",
        "Llama-2-7b-hf",
        "llama-2-7b",
        "NousResearch/Llama-2-7b-hf",
        "meta-llama/Llama-2-7b-chat-hf",
        "/models/Llama-2-7b-hf",
        "/models/Llama-2-7b-hf/",
        "/data/hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d771dfac7d292323805ebc428287df4f9",
        "https://huggingface.co/meta-llama/Llama-2-7b-hf",
    ];
    for reference in references {
        assert!(Arc::ptr_eq(&find(reference), &find("meta-llama/Llama-2-7b-hf")), "{reference}");
    }
    assert_eq!(find("llama-3-8b").parameters(), 8_030_261_248);
    assert_eq!(find("meta-llama/Meta-Llama-3-8B-Instruct").parameters(), 8_030_261_248);
    assert_eq!(find("Qwen/Qwen2.5-7B-Instruct").parameters(), 7_615_616_512);
}

#[test]
fn quantized_variants_are_the_base_with_a_quantization() {
    let cases = [
        ("TheBloke/Llama-2-7B-AWQ", "awq"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "gptq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "gptq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "gptq-int8"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8", "fp8"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "fp8"),
        ("unsloth/llama-3-8b-bnb-4bit", "nf4"),
        ("TheBloke/Llama-2-7B-GGUF", "q4_k_m"),
        ("TheBloke/Llama-2-7B-GGUF:Q8_0", "q8_0"),
        ("/models/llama-2-7b.Q5_K_M.gguf", "q5_k_m"),
    ];
    for (reference, quantization) in cases {
        let model = find(reference);
        assert_eq!(model.quantization.as_ref().map(|q| q.name.as_str()), Some(quantization), "{reference}");
        assert!(Arc::ptr_eq(&model, &find(reference)), "kept");
    }
    assert_eq!(find("TheBloke/Llama-2-7B-AWQ").parameters(), 6_738_415_616);
}

#[test]
fn unknown_names_get_near_ones_and_hostile_names_an_answer() {
    let error = Catalog::embedded().find("meta-llama/Lama-2-7b-hf").unwrap_err().to_string();
    assert!(error.contains("did you mean `meta-llama/Llama-2-7b-hf`"), "{error}");
    let error = Catalog::embedded().find("somebody/something-else-entirely").unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
    for hostile in ["", "/", "////", "-awq", ".gguf", ":", "é/ü", "\0", &"a".repeat(1 << 20)] {
        let error = Catalog::embedded().find(hostile).unwrap_err().to_string();
        assert!(error.len() < 1000, "{error}");
    }
}

#[test]
fn rows_say_where_they_come_from() {
    let entry = Catalog::embedded().entry("llama-2-7b").unwrap();
    assert_eq!(entry.id, "meta-llama/Llama-2-7b-hf");
    assert!(!entry.source.is_empty() && !entry.recalled);
    assert!(Catalog::embedded().entry("google/flan-t5-base").unwrap().recalled);
}

/// Rows whose listed cache differs from the model's, with the reason.
fn cache_differs(id: &str, model_type: &str) -> bool {
    // Rows without `layer_types`: transformers and vLLM give these a window on three of four layers.
    let windows_not_listed = id.to_lowercase().starts_with("allenai/olmo-3");
    // Llama has no windows, whatever the config says.
    let windows_not_used = id == "mistralai/mathstral-7B-v0.1";
    // The list counts the encoder's output, or the window beside compressed caches, as a window.
    windows_not_listed || windows_not_used || ["whisper", "t5", "deepseek_v4"].contains(&model_type)
}

#[test]
fn caches_per_token_are_exact() {
    let mut wrong = Vec::new();
    for row in expected() {
        let id = row["id"].as_str().unwrap();
        let Ok(model) = Catalog::embedded().find(id) else { continue };
        let kv = &row["kv"];
        if kv["full_elems_per_token"].is_null() || cache_differs(id, &model.model_type) {
            continue;
        }
        let full = kv["full_elems_per_token"].as_f64().unwrap() as u64;
        let windows = kv["sliding"].as_array().unwrap();
        let sliding: u64 = windows.iter().map(|window| window["elems_per_token"].as_u64().unwrap()).sum();
        let read = (model.unbounded_kv_elements_per_token(), model.kv_elements_per_token());
        if read != (full, full + sliding) {
            wrong.push(format!("{id} [{}]: {read:?} instead of {kv}", model.model_type));
        }
        // The list keeps as many convolution columns as the kernel is wide, engines one less.
        let states = kv["state_per_sequence"].as_array().cloned().unwrap_or_default();
        let listed: u64 = states.iter().map(|state| state["state_elems"].as_u64().unwrap()).sum();
        let recurrent: u64 = model
            .layers
            .iter()
            .map(|group| match &group.attention {
                Attention::Linear(state) | Attention::Mamba(state) => group.count * state.recurrent,
                _ => 0,
            })
            .sum();
        if listed != recurrent {
            wrong.push(format!("{id}: state {recurrent} instead of {states:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn draft_layers_are_exact_where_they_are_read() {
    let mut wrong = Vec::new();
    for row in expected() {
        let (id, Some(listed)) = (row["id"].as_str().unwrap(), row["mtp"].as_u64()) else { continue };
        let read = find(id).mtp_parameters();
        // Their configs do not say that the checkpoints have draft layers.
        let unsaid = ["XiaomiMiMo/MiMo-V2-Flash", "Qwen/Qwen3-Next-80B-A3B-Instruct"];
        if read != listed && !unsaid.contains(&id) {
            wrong.push(format!("{id}: {read} instead of {listed} ({:+})", i128::from(read) - i128::from(listed)));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// Built without memory by transformers 5.23: id, parameters, those of the last layer.
const BUILT: &[(&str, u64, u64)] = &[
    ("meta-llama/Llama-2-7b-hf", 6_738_415_616, 202_383_360),
    ("meta-llama/Meta-Llama-3-8B", 8_030_261_248, 218_112_000),
    ("meta-llama/Llama-3.1-70B", 70_553_706_496, 855_654_400),
    ("meta-llama/Llama-3.1-405B", 405_853_388_800, 3_187_703_808),
    ("meta-llama/Llama-3.2-1B", 1_235_814_400, 60_821_504),
    ("meta-llama/Llama-3.2-3B", 3_212_749_824, 100_669_440),
    ("mistralai/Mistral-7B-v0.1", 7_241_732_096, 218_112_000),
    ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, 1_451_270_144),
    ("Qwen/Qwen2.5-7B", 7_615_616_512, 233_057_792),
    ("Qwen/Qwen3-0.6B", 596_049_920, 15_730_944),
    ("Qwen/Qwen3-8B", 8_190_735_360, 192_946_432),
    ("Qwen/Qwen3-32B", 32_762_123_264, 487_598_336),
    ("Qwen/Qwen3-30B-A3B", 30_532_122_624, 623_120_640),
    ("Qwen/Qwen3-235B-A22B", 235_093_634_560, 2_487_755_008),
    ("google/gemma-2-9b", 9_241_705_984, 198_195_200),
    ("google/gemma-2-2b", 2_614_341_888, 77_865_984),
    ("openai/gpt-oss-20b", 20_914_757_184, 823_186_976),
    ("openai/gpt-oss-120b", 116_829_156_672, 3_213_080_192),
    ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552, 113_252_352),
    // transformers keeps the correction of each of 58 routers, 256 numbers, outside the parameters.
    ("deepseek-ai/DeepSeek-V3", 671_026_404_352 + 58 * 256, 11_507_286_016 + 256),
];

#[test]
fn models_are_as_transformers_builds_them() {
    for (id, parameters, last) in BUILT {
        let model = find(id);
        assert_eq!(model.parameters(), *parameters, "{id}");
        assert_eq!(model.layers.last().unwrap().layer_parameters(), *last, "{id}: last layer");
    }
    // Gemma 3 without its tower.
    let text: u64 = find("google/gemma-3-27b-it")
        .weights()
        .filter(|(_, tensor)| tensor.kind != TensorKind::Tower)
        .map(|(count, tensor)| count * tensor.parameters())
        .sum();
    assert_eq!(text, 27_009_346_304);
}

#[test]
fn a_look_up_is_quick() {
    let catalog = Catalog::embedded();
    let _ = find("llama-2-7b");
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        let _ = catalog.find("NousResearch/Llama-2-7b-hf").unwrap();
    }
    // Far below a millisecond each even without optimisation; wide, so that a busy machine does not fail it.
    assert!(start.elapsed().as_millis() < 1000, "{:?}", start.elapsed());
}

/// Weights that vLLM logged, GiB per GPU, by the measured rows' ids.
const LOGGED: &str = include_str!("../../../tests/data/measured-vllm-0.19-h100.jsonl");

/// GiB of the worst stage.
fn stored(
    model: &Model,
    dtype: DType,
    named: Option<&Quantization>,
    (tensor, pipeline, expert): (u64, u64, u64),
) -> f64 {
    let quantization = model.quantization.as_ref().or(named);
    let parallelism = Parallelism { tensor, expert, ..Parallelism::default() };
    let storage = Storage { dtype, quantization, parallelism, attention_data: 1, fused: true };
    let stages = stages(model, pipeline, None).unwrap();
    stages.iter().map(|stage| storage.stage(model, stage)).max().unwrap().gib()
}

/// Tables of rotary positions count as weights in the log: 32 MiB for 128 k positions of Llama 3.1.
const ROTARY: f64 = 0.04;
/// Where they are large: 1 M positions of Gemma 3 (scaled 8 times), 10 M of Llama 4.
const LONG_ROTARY: [&str; 3] =
    ["google/gemma-3-4b-it", "google/gemma-3-12b-it", "meta-llama/Llama-4-Scout-17B-16E-Instruct"];

#[test]
fn logged_weights_are_met() {
    let (mut met, mut wrong) = (0, Vec::new());
    for line in LOGGED.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let Some(logged) = row["weight_memory_gib"].as_f64() else { continue };
        let id = row["model"].as_str().unwrap();
        let Ok(model) = Catalog::embedded().find(id) else { continue };
        let dtype = row["dtype"].as_str().unwrap().parse().unwrap();
        let named = row["quantization"].as_str().and_then(Quantization::from_name);
        let degrees = (row["tp"].as_u64().unwrap(), row["pp"].as_u64().unwrap(), 1);
        let bytes = stored(&model, dtype, named.as_ref(), degrees);
        if LONG_ROTARY.contains(&id) {
            assert!(bytes < logged, "{id}");
        } else if (bytes - logged).abs() > 0.005 * logged + ROTARY {
            wrong.push(format!("{id} {degrees:?}: {bytes:.3} instead of {logged}"));
        } else {
            met += 1;
        }
    }
    assert!(wrong.is_empty() && met > 40, "{met} met, not {}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Weights that engines logged or checkpoints publish: id, tensor and expert parallelism, GiB per GPU.
const STORED: &[(&str, u64, u64, f64)] = &[
    ("Qwen/Qwen2.5-7B-Instruct-AWQ", 1, 1, 5.29),
    ("Qwen/Qwen3-8B-AWQ", 1, 1, 5.68),
    ("Qwen/Qwen3-8B-FP8", 1, 1, 8.8),
    ("neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w8a8", 1, 1, 67.7229),
    ("nvidia/GLM-5.2-NVFP4", 4, 4, 106.69),
    ("moonshotai/Kimi-K2.5", 1, 1, 554.32),
    ("openai/gpt-oss-20b", 1, 1, 12.82),
    ("openai/gpt-oss-120b", 1, 1, 60.77),
    ("Qwen/Qwen3-14B", 1, 1, 27.52),
    ("Qwen/Qwen3-0.6B", 1, 1, 1.1201),
];

#[test]
fn quantized_checkpoints_are_as_large_as_published() {
    for (id, tensor, expert, gib) in STORED {
        let bytes = stored(&find(id), DType::Bf16, None, (*tensor, 1, *expert));
        assert!((bytes / gib - 1.0).abs() < 0.015, "{id}: {bytes:.3} instead of {gib}");
    }
}

#[test]
fn mixed_precision_is_narrow_where_the_weights_are() {
    // fp4 experts beside fp8: 1547 of 1573 thousand million weights.
    for (id, gib) in [("deepseek-ai/DeepSeek-V4-Pro", 790.0), ("nvidia/DeepSeek-V4-Pro-NVFP4", 840.0)] {
        let bytes = stored(&find(id), DType::Bf16, None, (1, 1, 1));
        assert!((bytes / gib - 1.0).abs() < 0.03, "{id}: {bytes:.3}");
    }
    // A dense one: mlp in fp4, mixers in fp8.
    let mixed = stored(&find("nvidia/Qwen3.6-27B-NVFP4"), DType::Bf16, None, (1, 1, 1));
    let plain = stored(&find("Qwen/Qwen3.5-27B"), DType::Bf16, None, (1, 1, 1));
    assert!((0.3..0.55).contains(&(mixed / plain)), "{mixed:.2} of {plain:.2}");
}

#[test]
fn quantized_variants_resolve_to_their_base() {
    for (name, quantization) in [
        ("Qwen/Qwen3-8B-AWQ", "awq"),
        ("Qwen/Qwen3-8B-GPTQ-Int4", "gptq"),
        ("someone/Qwen3-8B-Int4-GPTQ", "gptq"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "int4"),
        ("neuralmagic/Qwen3-8B.w8a8", "int8"),
        ("RedHatAI/Qwen3-8B-FP8-dynamic", "fp8"),
        ("nvidia/Llama-3.1-8B-Instruct-FP4", "nvfp4"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "nf4"),
        ("mlx-community/Qwen3-8B-4bit", "int4"),
        ("lmstudio-community/Qwen3-8B-GGUF", "q4_k_m"),
        ("bartowski/Qwen3-8B-GGUF:Q8_0", "q8_0"),
        ("someone/Qwen3-8B-GPTQ-W4A16", "gptq"),
    ] {
        let model = Catalog::embedded().find(name).unwrap();
        assert_eq!(model.quantization.as_ref().map(|found| found.name.as_str()), Some(quantization), "{name}");
    }
    assert!(Catalog::embedded().find("meta/llama-3.1-8b-instruct").unwrap().quantization.is_none());
}
