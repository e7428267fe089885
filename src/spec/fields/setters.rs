//! How words become settings.

use std::str::FromStr;

use super::QUANTIZATIONS;
use crate::estimate::dtype::DType;
use crate::estimate::workload::{
    Checkpointing, EngineName, Loss, Method, Optimizer, Precision, Schedule, Sharding, Task, Version,
};
use crate::spec::draft::Draft;

const ENGINES: &[(&str, EngineName)] = &[
    ("vllm", EngineName::Vllm),
    ("sglang", EngineName::Sglang),
    ("tgi", EngineName::Tgi),
    ("trtllm", EngineName::Trtllm),
    ("tensorrt-llm", EngineName::Trtllm),
    ("llamacpp", EngineName::Llamacpp),
    ("llama.cpp", EngineName::Llamacpp),
    ("ollama", EngineName::Ollama),
    ("generic", EngineName::Generic),
];

pub(super) fn set_task(draft: &mut Draft, text: &str) -> bool {
    draft.out.task = match text {
        "inference" => Some(Task::Inference),
        "training" => Some(Task::Training),
        _ => return false,
    };
    true
}

pub(super) fn set_dtype(text: &str, target: &mut Option<DType>) -> bool {
    *target = match text {
        "auto" => None,
        _ => match DType::from_str(text) {
            Ok(dtype) => Some(dtype),
            Err(_) => return false,
        },
    };
    true
}

pub(super) fn set_quantization(draft: &mut Draft, text: &str) -> bool {
    let known = QUANTIZATIONS.contains(&text);
    if known {
        draft.out.quantization = Some(text.to_owned());
    }
    known
}

pub(super) fn set_engine(draft: &mut Draft, text: &str) -> bool {
    match ENGINES.iter().find(|(name, _)| *name == text) {
        Some((_, name)) => {
            draft.out.engine.name = *name;
            draft.out.engine_named = true;
            true
        }
        None => false,
    }
}

pub(super) fn set_version(draft: &mut Draft, text: &str) -> bool {
    draft.out.engine.version = version(text);
    draft.out.engine.version.is_some()
}

/// Every layer, or a number of layers from the last one on.
pub(super) fn set_gpu_layers(draft: &mut Draft, text: &str) -> bool {
    let layers = if text == "all" { Some(u64::MAX) } else { text.parse().ok().filter(|n| *n <= 100_000) };
    draft.out.engine.gpu_layers = layers;
    layers.is_some()
}

/// `v0.19.0`, `0.8.5.post1`, `0.11.0rc2+cu129`, `0.19`: the leading dotted numbers, at least two.
pub(in crate::spec) fn version(text: &str) -> Option<Version> {
    let mut numbers = [0_u16; 3];
    let mut found = 0;
    for (slot, part) in numbers.iter_mut().zip(text.trim().trim_start_matches(['v', 'V']).split('.')) {
        let digits: &str = part.get(..part.bytes().take_while(u8::is_ascii_digit).count()).unwrap_or("");
        let Ok(number) = digits.parse() else { break };
        *slot = number;
        found += 1;
        if digits.len() < part.len() {
            break;
        }
    }
    (found >= 2).then_some(Version(numbers))
}

macro_rules! name_setters {
    ($($function:ident: $type:ident => $slot:ident),+ $(,)?) => {
        $(pub(super) fn $function(draft: &mut Draft, text: &str) -> bool {
            let value = $type::from_name(text);
            if value.is_some() {
                draft.out.training.$slot = value;
            }
            value.is_some()
        })+
    };
}

name_setters! {
    set_optimizer: Optimizer => optimizer,
    set_precision: Precision => precision,
    set_sharding: Sharding => sharding,
    set_checkpointing: Checkpointing => checkpointing,
    set_loss: Loss => loss,
    set_schedule: Schedule => schedule,
}

pub(super) fn set_method(draft: &mut Draft, text: &str) -> bool {
    draft.out.method = match text {
        "auto" => Method::Auto,
        "reference" => Method::Reference,
        _ => return false,
    };
    true
}
