//! Which parameters adapters train, from the model's own tensor table.

use crate::estimate::memory::activations::Adapters;
use crate::estimate::model::{Model, Tensor, TensorKind};
use crate::estimate::workload::Lora;

/// How trainers spell modules, and the modules that hold them: the first that the model has is meant.
const SPELLINGS: &[(&str, &[&str])] = &[
    ("q_proj", &["q_proj", "qkv_proj", "query_key_value", "c_attn", "q_b_proj"]),
    ("k_proj", &["k_proj", "qkv_proj", "query_key_value", "c_attn", "kv_b_proj"]),
    ("v_proj", &["v_proj", "qkv_proj", "query_key_value", "c_attn", "kv_b_proj"]),
    ("o_proj", &["o_proj", "out_proj", "dense", "c_proj"]),
    ("gate_proj", &["gate_proj", "gate_up_proj", "w1"]),
    ("up_proj", &["up_proj", "gate_up_proj", "fc1", "dense_h_to_4h", "c_fc", "w3"]),
    ("down_proj", &["down_proj", "fc2", "dense_4h_to_h", "c_proj", "w2"]),
    ("query", &["q_proj", "qkv_proj", "query_key_value", "c_attn"]),
    ("key", &["k_proj", "qkv_proj", "query_key_value", "c_attn"]),
    ("value", &["v_proj", "qkv_proj", "query_key_value", "c_attn"]),
    ("projection", &["o_proj", "out_proj", "dense", "c_proj"]),
    ("output_proj", &["o_proj", "out_proj", "dense"]),
    ("wq", &["q_proj"]),
    ("wk", &["k_proj"]),
    ("wv", &["v_proj"]),
    ("wo", &["o_proj"]),
    ("w1", &["gate_proj", "gate_up_proj"]),
    ("w2", &["down_proj", "up_proj"]),
    ("w3", &["up_proj", "gate_up_proj"]),
    ("mlp", &["gate_proj", "up_proj", "down_proj"]),
    ("c_attn", &["c_attn", "qkv_proj", "query_key_value"]),
    ("c_proj", &["c_proj", "o_proj"]),
    ("linear_qkv", &["q_proj", "k_proj", "v_proj"]),
    ("linear_proj", &["o_proj"]),
    ("linear_fc1", &["gate_proj", "up_proj"]),
    ("linear_fc2", &["down_proj"]),
];

/// Spellings that mean every module of their list, not the first that the model has.
const GROUPS: &[&str] = &["mlp", "c_attn", "linear_qkv", "linear_fc1"];

/// What trainers adapt when nothing is said.
const DEFAULT_TARGETS: [&str; 2] = ["q_proj", "v_proj"];

/// The modules that adapters attach to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Targets {
    modules: Vec<&'static str>,
    /// None of the declared names is a module of the model: the default was taken.
    pub(super) unmatched: bool,
}

impl Targets {
    pub(super) fn resolve(lora: &Lora, model: &Model) -> Self {
        let mut modules = Vec::new();
        for target in &lora.targets {
            match_target(target, model, &mut modules);
        }
        let unmatched = modules.is_empty() && !lora.targets.is_empty();
        if modules.is_empty() {
            for target in DEFAULT_TARGETS {
                match_target(target, model, &mut modules);
            }
        }
        if modules.is_empty() {
            modules.extend(linear(model));
        }
        modules.sort_unstable();
        modules.dedup();
        Self { modules, unmatched }
    }

    /// Parameters of the adapters beside one tensor: a matrix into the rank and one out of it.
    pub(super) fn adapter_parameters(&self, tensor: &Tensor, rank: u64) -> f64 {
        if !self.contains(tensor) {
            return 0.0;
        }
        rank as f64 * (tensor.rows as f64 + tensor.cols as f64) * tensor.copies as f64
    }

    fn contains(&self, tensor: &Tensor) -> bool {
        tensor.kind == TensorKind::Linear && tensor.cols > 1 && self.modules.contains(&tensor.module)
    }

    /// Which projections of a layer save inputs for adapters.
    pub(super) fn adapters(&self, lora: &Lora) -> Adapters {
        let any = |names: &[&str]| names.iter().filter(|name| self.modules.contains(*name)).count() as f64;
        let fused = any(&["qkv_proj", "query_key_value", "c_attn"]);
        Adapters {
            width: if lora.fp32_adapters { 4.0 } else { 2.0 },
            qkv: any(&["q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa"]) + fused,
            output: any(&["o_proj", "out_proj", "dense"]).min(1.0),
            up: any(&["gate_proj", "up_proj", "gate_up_proj", "fc1", "dense_h_to_4h", "c_fc", "w1", "w3"]).min(2.0),
            down: any(&["down_proj", "fc2", "dense_4h_to_h", "w2"]).min(1.0),
            dropout: lora.dropout,
        }
    }
}

fn linear(model: &Model) -> impl Iterator<Item = &'static str> {
    model.weights().filter(|(_, t)| t.kind == TensorKind::Linear && t.cols > 1).map(|(_, tensor)| tensor.module)
}

fn match_target(target: &str, model: &Model, modules: &mut Vec<&'static str>) {
    let name = target.trim().rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    if matches!(name.as_str(), "all-linear" | "all" | "all linear" | "all_linear" | "linear") {
        modules.extend(linear(model));
        return;
    }
    if let Some(module) = linear(model).find(|module| *module == name) {
        modules.push(module);
        return;
    }
    let Some((spelling, candidates)) = SPELLINGS.iter().find(|(spelling, _)| *spelling == name) else { return };
    let known = candidates.iter().filter_map(|candidate| linear(model).find(|module| module == candidate));
    if GROUPS.contains(spelling) {
        modules.extend(known);
    } else {
        modules.extend(known.take(1));
    }
    if *spelling == "c_attn" && modules.is_empty() {
        modules.extend(linear(model).filter(|module| matches!(*module, "q_proj" | "k_proj" | "v_proj")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::training::models::llama3_8b;

    fn lora(targets: &[&str]) -> Lora {
        Lora {
            rank: 16,
            targets: targets.iter().map(|&target| target.to_owned()).collect(),
            quantized_base: false,
            double_quantization: false,
            fp32_adapters: true,
            dropout: false,
            modules_to_save: Vec::new(),
        }
    }

    fn trainable(targets: &[&str]) -> f64 {
        let model = llama3_8b();
        let targets = Targets::resolve(&lora(targets), &model);
        model.weights().map(|(count, tensor)| count as f64 * targets.adapter_parameters(tensor, 16)).sum()
    }

    #[test]
    fn adapters_count_what_peft_prints() {
        // PEFT on Llama-3-8B: r=16 on q,v trains 6,815,744 parameters; on all linear layers 41,943,040.
        assert!((trainable(&["q_proj", "v_proj"]) - 6_815_744.0).abs() < 0.5);
        assert!((trainable(&["all-linear"]) - 41_943_040.0).abs() < 0.5);
        assert!((trainable(&[]) - 6_815_744.0).abs() < 0.5, "the trainers' default");
    }

    #[test]
    fn other_spellings_mean_the_same_modules() {
        assert!((trainable(&["query", "value"]) - 6_815_744.0).abs() < 0.5);
        assert!((trainable(&["wq", "wv"]) - 6_815_744.0).abs() < 0.5);
    }

    #[test]
    fn unknown_modules_fall_back_and_say_so() {
        let targets = Targets::resolve(&lora(&["nonsense"]), &llama3_8b());
        assert!(targets.unmatched);
        assert_eq!(targets.modules, ["q_proj", "v_proj"]);
    }
}
