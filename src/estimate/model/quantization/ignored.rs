//! Lists of modules that a quantized checkpoint leaves in 16 bit: names, globs or regular expressions of paths such as
//! `model.layers.3.self_attn.q_proj`, `model.layers.*.self_attn*`, `re:.*shared_experts.*`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Quantization;

/// Entries read of one list; real ones have up to some ten thousand.
const MOST_ENTRIES: usize = 1 << 16;

/// Blocks that are named as a whole, with the linear modules in them.
const BLOCKS: &[(&str, &[&str])] = &[
    ("self_attn", ATTENTION),
    ("attn", ATTENTION),
    ("attention", ATTENTION),
    ("linear_attn", &["in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "in_proj_qkvz", "in_proj_ba", "out_proj"]),
    ("indexer", &["wq_b", "wk"]),
];
const ATTENTION: &[&str] = &[
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "qkv_proj",
    "q_a_proj",
    "q_b_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
    "wq_b",
    "wk",
];

/// What the lists leave out, by block or module, with the layers they name.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    /// Module or block to the layer numbers it was named with; all layers if `everywhere`.
    layers: BTreeMap<String, BTreeSet<u64>>,
    everywhere: BTreeSet<String>,
}

impl Ignored {
    /// Adds a list; of one that was cut for the catalogue (`{_list_len, first}`), what is left of it.
    pub(super) fn add(&mut self, list: &Value) {
        let list = list.get("first").unwrap_or(list);
        for entry in list.as_array().into_iter().flatten().take(MOST_ENTRIES).filter_map(Value::as_str) {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &str) {
        let plain = entry.trim_start_matches("re:").replace("\\.", ".").replace(['*', '^', '$'], "");
        let mut parts: Vec<&str> = plain.split('.').filter(|part| !part.is_empty()).collect();
        let layer = parts.iter().find_map(|part| part.parse::<u64>().ok());
        while parts.last().is_some_and(|part| part.parse::<u64>().is_ok() || *part == "weight") {
            parts.pop();
        }
        let dense = parts.last().is_some_and(|part| part.starts_with('(') && part.ends_with("_proj"));
        let Some(last) = (if dense { Some("mlp") } else { parts.last().copied() }) else { return };
        match layer {
            Some(layer) => {
                let _ = self.layers.entry(last.to_owned()).or_default().insert(layer);
            }
            None => {
                let _ = self.everywhere.insert(last.to_owned());
            }
        }
    }

    /// Named everywhere, or in about as many layers as anything is: the first and last layers, which some checkpoints
    /// leave out as a whole, do not count.
    fn names(&self, module: &str) -> bool {
        let most = self.layers.values().map(BTreeSet::len).max().unwrap_or(0);
        self.everywhere.contains(module) || self.layers.get(module).is_some_and(|layers| 2 * layers.len() >= most)
    }

    /// The quantization without what is left out.
    pub(super) fn apply(&self, quantization: Quantization) -> Quantization {
        let mut ignored: BTreeSet<&str> = BTreeSet::new();
        for (block, modules) in BLOCKS {
            if self.names(block) {
                ignored.extend(*modules);
            }
        }
        let modules = BLOCKS.iter().flat_map(|(_, modules)| modules.iter()).chain(&["in_proj", "out_proj"]);
        ignored.extend(modules.filter(|module| self.names(module)));
        let shared = self.names("shared_experts") || self.names("shared_expert");
        let experts_only = ignored.contains("o_proj") && (shared || self.names("mlp")) && !self.names("experts");
        Quantization { ignored: ignored.into_iter().map(str::to_owned).collect(), experts_only, ..quantization }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn without(list: &Value) -> Quantization {
        let mut ignored = Ignored::default();
        ignored.add(list);
        ignored.apply(Quantization::from_name("nvfp4").unwrap())
    }

    #[test]
    fn patterns_name_blocks_and_modules() {
        assert!(without(&json!(["lm_head", "model.layers.3.mlp.gate"])).ignored.is_empty());
        assert!(without(&json!(["model.layers.*.self_attn"])).ignored.iter().any(|module| module == "q_proj"));
        assert_eq!(without(&json!(["model.layers.0.self_attn.kv_b_proj", "lm_head"])).ignored, ["kv_b_proj"]);
        let kimi = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"];
        assert!(without(&json!(kimi)).experts_only);
    }

    #[test]
    fn first_and_last_layers_are_not_the_rule() {
        let mut list: Vec<String> = (0..126).map(|i| format!("model.layers.{i}.self_attn.q_proj")).collect();
        list.extend(["model.layers.0.self_attn.o_proj".to_owned(), "model.layers.125.mlp.down_proj".to_owned()]);
        assert_eq!(without(&json!(list)).ignored, ["q_proj"]);
    }
}
