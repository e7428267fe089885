//! Checks of a server's start-up that need no bytes: rows of rules, each certain for the engines and versions it names.

use crate::estimate::model::quantization::Scales;
use crate::estimate::model::{Model, Quantization, Tensor, TensorKind};
use crate::estimate::workload::{EngineName, Version, Workload};
use crate::estimate::{Device, Refusal};

/// What a rule looks at.
struct Start<'a> {
    workload: &'a Workload,
    model: &'a Model,
    device: &'a Device,
}

/// A check of some engines' start-up.
struct Rule {
    engines: &'static [EngineName],
    check: fn(&Start<'_>) -> Option<Refusal>,
}

use EngineName::{Sglang, Tgi, Vllm};

const RULES: &[Rule] = &[
    Rule { engines: &[Vllm], check: context },
    Rule { engines: &[Vllm], check: quantization },
    Rule { engines: &[Vllm], check: batched_tokens },
    Rule { engines: &[Tgi], check: pool_tokens },
    Rule { engines: &[Vllm, Sglang], check: vocabulary },
    Rule { engines: &[Vllm, Sglang], check: groups },
];

/// Everything that the engine surely refuses.
pub(super) fn refusals(workload: &Workload, model: &Model, device: &Device) -> Vec<Refusal> {
    let start = Start { workload, model, device };
    let rules = RULES.iter().filter(|rule| rule.engines.contains(&workload.engine.name));
    rules.filter_map(|rule| (rule.check)(&start)).collect()
}

/// vLLM (`_get_and_verify_max_len`) refuses a context beyond the config's, unless a variable allows it. SGLang's versions
/// differ: some refuse, some warn.
fn context(start: &Start<'_>) -> Option<Refusal> {
    let engine = &start.workload.engine;
    let (asked, most) = (start.workload.context_length?, start.model.max_position_embeddings?);
    (asked > most && !engine.allow_long_context).then(|| Refusal {
        code: "CONTEXT_BEYOND_MODEL",
        message: format!(
            "a context of {asked} tokens exceeds the model's {most}: lower it to {most}, or set \
             VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 where the model's positions are stretched"
        ),
    })
}

/// The least compute capability at which any version of vLLM has a kernel (`get_min_capability`): formats that newer
/// GPUs compute in run weight-only on older ones, down to these.
const LEAST_CAPABILITY: &[(&str, (u8, u8))] =
    &[("awq", (7, 5)), ("fp8", (7, 5)), ("fbgemm_fp8", (7, 5)), ("nvfp4", (7, 5)), ("nf4", (7, 0)), ("gptq", (6, 0))];

fn quantization(start: &Start<'_>) -> Option<Refusal> {
    let quantization = stored(start)?;
    let capability = start.device.compute_capability?;
    let (_, least) = LEAST_CAPABILITY.iter().find(|(name, _)| *name == quantization.name)?;
    (capability < *least).then(|| Refusal {
        code: "QUANTIZATION_UNSUPPORTED",
        message: format!(
            "{} needs compute capability {}.{}, {} has {}.{}",
            quantization.name, least.0, least.1, start.device.product, capability.0, capability.1
        ),
    })
}

/// Before 0.8, prompts were not cut into chunks up to this context unless asked.
const UNCHUNKED: u64 = 32_768;

/// `SchedulerConfig` refuses steps that hold fewer tokens than sequences, or than a prompt that is not cut into chunks.
fn batched_tokens(start: &Start<'_>) -> Option<Refusal> {
    let engine = &start.workload.engine;
    let tokens = engine.max_num_batched_tokens?;
    let refusal = |what: String, least: u64| {
        let message = format!("{what}: raise --max-num-batched-tokens from {tokens} to {least}");
        Some(Refusal { code: "BATCHED_TOKENS_TOO_FEW", message })
    };
    if let Some(sequences) = engine.max_num_seqs.filter(|sequences| *sequences > tokens) {
        return refusal(format!("a step of {tokens} tokens holds no {sequences} sequences"), sequences);
    }
    let context = start.workload.context_length.or(start.model.max_position_embeddings)?;
    let version = engine.version?;
    let whole = match engine.chunked_prefill {
        // Versions between ignore the flag or fall back to the engine before.
        Some(false) => version < Version([0, 8, 0]) || version >= Version([0, 12, 0]),
        Some(true) => false,
        None => version < Version([0, 8, 0]) && context <= UNCHUNKED,
    };
    if whole && tokens < context && !engine.auto_context {
        return refusal(format!("a prompt of {context} tokens is not cut into chunks"), context);
    }
    None
}

/// The launcher's own check.
fn pool_tokens(start: &Start<'_>) -> Option<Refusal> {
    let (context, pool) = (start.workload.context_length?, start.workload.engine.max_total_tokens?);
    (context > pool).then(|| Refusal {
        code: "POOL_BELOW_CONTEXT",
        message: format!("--max-total-tokens {context} exceeds --max-batch-total-tokens {pool}: raise the latter"),
    })
}

/// Rows that the vocabulary is padded to a multiple of (`VocabParallelEmbedding`).
const VOCABULARY_PADDING: u64 = 64;

fn vocabulary(start: &Start<'_>) -> Option<Refusal> {
    let tensor = start.workload.parallelism.tensor;
    let padded = start.model.vocab_size.checked_next_multiple_of(VOCABULARY_PADDING)?;
    (tensor > 1 && !padded.is_multiple_of(tensor)).then(|| Refusal {
        code: "VOCABULARY_NOT_DIVIDED",
        message: format!("tensor parallelism {tensor} does not divide the padded vocabulary ({padded})"),
    })
}

/// Modules whose inputs are divided, and those whose outputs are.
const BY_INPUT: &[&str] = &["o_proj", "down_proj"];
const BY_OUTPUT: &[&str] = &["gate_proj", "up_proj"];

/// AWQ, GPTQ and block-wise fp8 layers refuse parts that are no whole groups or blocks; experts are repacked instead.
fn groups(start: &Start<'_>) -> Option<Refusal> {
    let tensor = start.workload.parallelism.tensor;
    let quantization = stored(start).filter(|_| tensor > 1)?;
    let (input, output) = match quantization.scales {
        Scales::PerGroup { group, .. } if matches!(quantization.name.as_str(), "awq" | "gptq") => (group, 1),
        Scales::PerBlock { rows, cols, .. } if quantization.name == "fp8" => (cols, rows),
        _ => return None,
    };
    let cut = |stored: &Tensor| {
        let (size, unit) = if BY_INPUT.contains(&stored.module) {
            (stored.cols, input)
        } else if BY_OUTPUT.contains(&stored.module) {
            (stored.rows, output)
        } else {
            return None;
        };
        let part = size / tensor;
        (size.is_multiple_of(tensor) && !part.is_multiple_of(unit.max(1))).then_some((part, unit))
    };
    let linear = start.model.layers.iter().flat_map(|group| &group.tensors);
    let mut linear = linear.filter(|stored| stored.kind == TensorKind::Linear && quantization.covers(stored));
    let (module, (part, unit)) = linear.find_map(|stored| Some((stored.module, cut(stored)?)))?;
    Some(Refusal {
        code: "GROUPS_NOT_DIVIDED",
        message: format!(
            "tensor parallelism {tensor} leaves {part} columns or rows of {module} to a rank, no multiple of the {} \
             group of {unit}: use a smaller degree, with pipeline parallelism for the rest",
            quantization.name
        ),
    })
}

/// The quantization in force.
fn stored<'a>(start: &Start<'a>) -> Option<&'a Quantization> {
    start.workload.quantization.as_ref().or(start.model.quantization.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::serving::fixtures::{self, Shape};

    fn codes(engine: EngineName, edit: impl FnOnce(&mut Workload, &mut Model, &mut Device)) -> Vec<&'static str> {
        let mut model = fixtures::dense(&Shape::LLAMA_8B);
        let (mut workload, mut device) = fixtures::on(engine, model.clone(), 79.15);
        workload.context_length = Some(4096);
        edit(&mut workload, &mut model, &mut device);
        refusals(&workload, &model, &device).iter().map(|refusal| refusal.code).collect()
    }

    #[test]
    fn a_context_beyond_the_models_is_refused_unless_allowed() {
        let long = |allowed: bool| {
            codes(Vllm, |workload, model, _| {
                workload.context_length = Some(model.max_position_embeddings.unwrap() + 1);
                workload.engine.allow_long_context = allowed;
            })
        };
        assert_eq!(long(false), ["CONTEXT_BEYOND_MODEL"]);
        assert!(long(true).is_empty());
        for engine in [Sglang, Tgi] {
            assert!(codes(engine, |workload, _, _| workload.context_length = Some(1 << 30)).is_empty());
        }
    }

    #[test]
    fn formats_run_weight_only_on_older_gpus_but_not_on_the_oldest() {
        let on = |name: &str, capability| {
            codes(Vllm, |_, model, device| {
                model.quantization = Quantization::from_name(name);
                device.compute_capability = Some(capability);
            })
        };
        for (name, capability) in
            [("fp8", (8, 0)), ("nvfp4", (8, 0)), ("awq", (7, 5)), ("gptq", (7, 0)), ("mxfp4", (7, 5))]
        {
            assert!(on(name, capability).is_empty(), "{name}");
        }
        for name in ["awq", "fp8", "nvfp4"] {
            assert_eq!(on(name, (7, 0)), ["QUANTIZATION_UNSUPPORTED"], "{name}");
        }
    }

    #[test]
    fn steps_hold_every_sequence_and_uncut_prompts() {
        let with = |version: Option<[u16; 3]>, chunked: Option<bool>, sequences: Option<u64>| {
            codes(Vllm, |workload, _, _| {
                let engine = &mut workload.engine;
                engine.version = version.map(Version);
                engine.chunked_prefill = chunked;
                engine.max_num_seqs = sequences;
                engine.max_num_batched_tokens = Some(2048);
            })
        };
        assert_eq!(with(None, None, Some(4096)), ["BATCHED_TOKENS_TOO_FEW"]);
        assert_eq!(with(Some([0, 19, 0]), Some(false), None), ["BATCHED_TOKENS_TOO_FEW"]);
        assert_eq!(with(Some([0, 6, 3]), None, None), ["BATCHED_TOKENS_TOO_FEW"]);
        for (version, chunked) in [(None, Some(false)), (Some([0, 19, 0]), None), (Some([0, 6, 3]), Some(true))] {
            assert!(with(version, chunked, Some(256)).is_empty(), "{version:?} {chunked:?}");
        }
    }

    #[test]
    fn ranks_hold_whole_groups() {
        let split = |name: &str, tensor: u64, intermediate: u64| {
            codes(Vllm, |workload, model, _| {
                *model = fixtures::dense(&Shape { intermediate, ..Shape::LLAMA_8B });
                model.quantization = Quantization::from_name(name);
                workload.parallelism.tensor = tensor;
            })
        };
        // A 72B model's width of 29,568 is 231 groups of 128.
        assert_eq!(split("awq", 8, 29_568), ["GROUPS_NOT_DIVIDED"]);
        assert_eq!(split("gptq", 2, 29_568), ["GROUPS_NOT_DIVIDED"]);
        assert!(split("awq", 8, 29_696).is_empty() && split("awq", 1, 29_568).is_empty());
        assert!(split("int8", 8, 29_568).is_empty());
        assert_eq!(codes(Vllm, |workload, _, _| workload.parallelism.tensor = 7), ["VOCABULARY_NOT_DIVIDED"]);
    }

    #[test]
    fn tgi_checks_its_own_numbers() {
        assert_eq!(codes(Tgi, |workload, _, _| workload.engine.max_total_tokens = Some(2048)), ["POOL_BELOW_CONTEXT"]);
        assert!(codes(Tgi, |workload, _, _| workload.engine.max_total_tokens = Some(4096)).is_empty());
    }
}
