//! Reads the quantization of a checkpoint: `quantization_config` in `config.json`, or modelopt's `hf_quant_config.json`
//! beside it, merged in under `_hf_quant_config`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ignored::Ignored;
use super::{Exception, Quantization, Scales};
use crate::estimate::model::hf_config::ConfigError;

type Object = Map<String, Value>;

/// Reader of one `quant_method`.
type Method = fn(&Object) -> Option<Quantization>;

/// The methods that are understood.
const METHODS: &[(&str, Method)] = &[
    ("gptq", gptq),
    ("awq", awq),
    ("fp8", fp8),
    ("fbgemm_fp8", fp8_rows),
    ("compressed-tensors", compressed_tensors),
    ("bitsandbytes", bitsandbytes),
    ("mxfp4", mxfp4),
    ("modelopt", modelopt),
    ("modelopt_fp4", modelopt),
];

/// The quantization of a checkpoint, if its config names one.
///
/// # Errors
/// When the method or its numbers are not understood: the size of the weights would be a guess.
pub(in crate::estimate::model) fn read(root: &Object, text: &Object) -> Result<Option<Quantization>, ConfigError> {
    let object = |key: &str| [root, text].into_iter().find_map(|config| config.get(key)?.as_object());
    let config = object("quantization_config").or(object("compression_config"));
    if let Some(config) = config.filter(|config| !config.is_empty()) {
        let algorithm = config.get("quant_algo").map(|_| "modelopt");
        let method = algorithm.or(config.get("quant_method").and_then(Value::as_str)).unwrap_or_default();
        let found = METHODS.iter().find(|(name, _)| *name == method).and_then(|(_, read)| read(config));
        let expert_dtype = text.get("expert_dtype").and_then(Value::as_str);
        let found = found.map(|quantization| narrow_experts(quantization, expert_dtype));
        return found.map(Some).ok_or_else(|| unknown("quantization_config.quant_method", method));
    }
    let Some(config) = object("_hf_quant_config") else { return Ok(None) };
    let config = config.get("quantization").and_then(Value::as_object).unwrap_or(config);
    modelopt(config).map(Some).ok_or_else(|| unknown("hf_quant_config.quantization.quant_algo", ""))
}

fn unknown(key: &str, method: &str) -> ConfigError {
    let known: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
    ConfigError::Invalid {
        key: key.to_owned(),
        found: format!("`{}`", method.chars().take(40).collect::<String>()),
        allowed: format!("with these settings it is not understood; known methods are {}", known.join(", ")),
    }
}

fn number(config: &Object, keys: &[&str]) -> Option<i64> {
    keys.iter().find_map(|key| config.get(*key)?.as_i64())
}

/// Bits that a weight may have.
fn bits(config: &Object, keys: &[&str]) -> Option<f64> {
    number(config, keys).filter(|bits| (1..=16).contains(bits)).map(|bits| bits as f64)
}

fn flag(config: &Object, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Groups of `group` elements with `bytes` of side data; -1 is one group per row.
fn grouped(group: i64, bytes: f64) -> Option<Scales> {
    match u64::try_from(group) {
        Ok(0) => None,
        Ok(group) => Some(Scales::PerGroup { group, bytes }),
        Err(_) => Some(Scales::PerRow { bytes }),
    }
}

/// What stays unquantized, from whichever list the method keeps.
fn except(config: &Object, quantization: Quantization) -> Quantization {
    let lists = ["modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers", "llm_int8_skip_modules"];
    let mut ignored = Ignored::default();
    for list in lists {
        if let Some(list) = config.get(list) {
            ignored.add(list);
        }
    }
    ignored.apply(quantization)
}

fn gptq(config: &Object) -> Option<Quantization> {
    let bits = bits(config, &["bits"])?;
    let scales = grouped(number(config, &["group_size"]).unwrap_or(128), 2.0 + bits / 8.0)?;
    let name = if bits > 4.0 { "gptq-int8" } else { "gptq" };
    Some(except(config, Quantization::of_linear(name, bits, scales)))
}

fn awq(config: &Object) -> Option<Quantization> {
    let bits = bits(config, &["bits", "w_bit"])?;
    let scales = grouped(number(config, &["group_size", "q_group_size"]).unwrap_or(128), 2.0 + bits / 8.0)?;
    Some(except(config, Quantization::of_linear("awq", bits, scales)))
}

/// fp8 in blocks (DeepSeek, Qwen, MiniMax) or with one scale per tensor.
fn fp8(config: &Object) -> Option<Quantization> {
    let scales = match config.get("weight_block_size") {
        None | Some(Value::Null) => Scales::None,
        Some(block) => {
            let side = |i: usize| block.get(i)?.as_u64().filter(|side| *side > 0);
            Scales::PerBlock { rows: side(0)?, cols: side(1)?, bytes: 4.0 }
        }
    };
    Some(except(config, Quantization::of_linear("fp8", 8.0, scales)))
}

fn fp8_rows(config: &Object) -> Option<Quantization> {
    Some(except(config, Quantization::from_name("fbgemm_fp8")?))
}

fn bitsandbytes(config: &Object) -> Option<Quantization> {
    let four = flag(config, "load_in_4bit") || flag(config, "_load_in_4bit");
    let name = match (four, flag(config, "bnb_4bit_use_double_quant")) {
        (true, true) => "bitsandbytes",
        (true, false) => "nf4",
        (false, _) if flag(config, "load_in_8bit") || flag(config, "_load_in_8bit") => "int8",
        (false, _) => return None,
    };
    Some(except(config, Quantization::from_name(name)?))
}

fn mxfp4(config: &Object) -> Option<Quantization> {
    let quantization = except(config, Quantization::from_name("mxfp4")?);
    // Attention is always left out of it; then experts are all that remains.
    Some(Quantization { experts_only: true, ..quantization })
}

/// The weights of the group of settings that covers most: `config_groups` may hold several.
fn compressed_tensors(config: &Object) -> Option<Quantization> {
    let groups = config.get("config_groups")?.as_object()?;
    let format = config.get("format").and_then(Value::as_str).unwrap_or_default();
    let weights = groups.values().find_map(|group| group.get("weights")?.as_object())?;
    Some(except(config, weights_of(weights, format)?))
}

fn weights_of(weights: &Object, format: &str) -> Option<Quantization> {
    let bits = bits(weights, &["num_bits"])?;
    let float = weights.get("type").and_then(Value::as_str) == Some("float");
    let group = number(weights, &["group_size"]).unwrap_or(-1);
    let strategy = weights.get("strategy").and_then(Value::as_str).unwrap_or_default();
    let symmetric = weights.get("symmetric").and_then(Value::as_bool).unwrap_or(true);
    let zero_point = if symmetric { 0.0 } else { bits / 8.0 };
    let (name, scales) = match (float, bits as u64, strategy) {
        (true, 4, _) if format.starts_with("mxfp4") || group == 32 => ("mxfp4", grouped(32, 1.0)?),
        (true, 4, _) => ("nvfp4", grouped(if group > 0 { group } else { 16 }, 1.0)?),
        (true, 8, "block") => ("fp8", Scales::PerBlock { rows: 128, cols: 128, bytes: 4.0 }),
        (true, 8, "channel") => ("fp8", Scales::PerRow { bytes: 2.0 }),
        (true, 8, _) => ("fp8", Scales::None),
        (_, 8, "tensor") => ("int8", Scales::None),
        (_, 8, _) => ("int8", grouped(group, 2.0 + zero_point)?),
        _ => ("int4", grouped(group, 2.0 + zero_point)?),
    };
    Some(Quantization::of_linear(name, bits, scales))
}

/// modelopt's algorithms.
const ALGORITHMS: &[(&str, &str)] = &[
    ("FP8", "fp8"),
    ("FP8_PER_CHANNEL_PER_TOKEN", "fp8"),
    ("NVFP4", "nvfp4"),
    ("NVFP4_AWQ", "nvfp4"),
    ("W4A16_NVFP4", "nvfp4"),
    ("W4A16_AWQ", "int4"),
    ("W4A8_AWQ", "int4"),
    ("MXFP8", "mxfp8"),
];

fn algorithm(name: &str) -> Option<Quantization> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).and_then(|(_, name)| Quantization::from_name(name))
}

/// NVIDIA modelopt: the algorithm is named, for all or layer by layer.
fn modelopt(config: &Object) -> Option<Quantization> {
    let name = config.get("quant_algo").and_then(Value::as_str)?;
    let quantization = if name == "MIXED_PRECISION" { mixed(config)? } else { algorithm(name)? };
    Some(except(config, quantization))
}

/// The widest algorithm that is named holds for what is not named.
fn mixed(config: &Object) -> Option<Quantization> {
    let mut modules: BTreeMap<Option<&str>, Quantization> = BTreeMap::new();
    let layers = config.get("quantized_layers").map(|list| list.get("first").unwrap_or(list));
    for (path, layer) in layers.and_then(Value::as_object).into_iter().flatten() {
        let named = algorithm(layer.get("quant_algo")?.as_str()?)?;
        let experts = path.contains("experts") && !path.contains("shared");
        let module = if experts { None } else { path.rsplit('.').next() };
        // Where layers differ, the widest counts.
        match modules.get(&module) {
            Some(known) if known.bits >= named.bits => {}
            _ => drop(modules.insert(module, named)),
        }
    }
    if let Some(experts) = config.get("moe_quant_algo").and_then(Value::as_str) {
        let _ = modules.insert(None, algorithm(experts)?);
        // What surrounds the experts is then as `quant_method` says.
        if config.get("quant_method").and_then(Value::as_str) == Some("fp8") {
            let _ = modules.insert(Some(""), fp8(config)?);
        }
    }
    let widest = modules.values().max_by(|a, b| a.bits.total_cmp(&b.bits))?.clone();
    let differing = modules.into_iter().filter(|(_, quantization)| quantization.name != widest.name);
    let exceptions = differing
        .map(|(module, other)| Exception { module: module.map(str::to_owned), bits: other.bits, scales: other.scales })
        .collect();
    Some(Quantization { exceptions, ..widest })
}

/// DeepSeek V4 says beside the quantization that its experts are narrower.
fn narrow_experts(quantization: Quantization, expert_dtype: Option<&str>) -> Quantization {
    let experts = match expert_dtype {
        Some("fp4") if quantization.exceptions.is_empty() && quantization.bits > 4.0 => {
            Quantization::from_name("mxfp4")
        }
        _ => None,
    };
    let exceptions = experts.map(|experts| Exception { module: None, bits: experts.bits, scales: experts.scales });
    Quantization { exceptions: exceptions.into_iter().chain(quantization.exceptions).collect(), ..quantization }
}
