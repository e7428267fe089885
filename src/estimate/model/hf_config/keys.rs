//! Typed and bounded access to the keys of a config: canonical names, other spellings, errors that name the key.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::ConfigError;

/// Widths, head counts and vocabularies beyond this are typing errors.
const MOST: u64 = 1 << 28;
/// No model has more layers; bounds the work that a hostile config can cause.
pub(super) const MOST_LAYERS: u64 = 4096;
/// Context lengths beyond this are typing errors.
const MOST_TOKENS: u64 = 1 << 40;

/// Canonical key, then the other spellings, in the order they are tried.
const ALIASES: &[(&str, &[&str])] = &[
    ("hidden_size", &["n_embd", "d_model", "hidden_dim"]),
    ("num_hidden_layers", &["n_layer", "num_layers", "n_layers"]),
    ("num_attention_heads", &["n_head", "n_heads", "num_heads"]),
    ("num_key_value_heads", &["num_kv_heads", "n_head_kv", "kv_n_heads"]),
    ("head_dim", &["kv_channels", "attention_head_dim", "d_kv"]),
    ("intermediate_size", &["n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "block_ff_dim", "ff_intermediate_size"]),
    ("vocab_size", &["padded_vocab_size"]),
    (
        "max_position_embeddings",
        &["n_positions", "n_ctx", "seq_length", "max_seq_len", "model_max_length", "max_sequence_length"],
    ),
    ("num_experts", &["num_local_experts", "n_routed_experts", "moe_num_experts"]),
    ("num_experts_per_tok", &["num_experts_per_token", "experts_per_token", "moe_top_k", "moe_k", "top_k_experts"]),
    ("n_shared_experts", &["num_shared_experts", "moe_num_shared_experts"]),
    ("num_nextn_predict_layers", &["mtp_num_hidden_layers"]),
    ("torch_dtype", &["dtype"]),
];

/// Keys of one config object, with those of the object around it as a fallback for a few (dtype, tying).
pub(super) struct Keys<'a> {
    object: &'a Map<String, Value>,
    /// Where the object lies, for messages: empty or `text_config.`.
    prefix: &'static str,
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Keys<'a> {
    pub(super) const fn new(object: &'a Map<String, Value>, prefix: &'static str) -> Self {
        Self { object, prefix, read: RefCell::new(BTreeSet::new()) }
    }

    /// The value under the canonical key or another spelling; `null` counts as absent.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.entry(key).map(|(_, value)| value)
    }

    fn entry(&self, key: &str) -> Option<(&'a str, &'a Value)> {
        let others = ALIASES.iter().find(|(canonical, _)| *canonical == key).map_or(&[][..], |(_, others)| others);
        let mut found = None;
        for spelling in std::iter::once(&key).chain(others) {
            if let Some((name, value)) = self.object.get_key_value(*spelling) {
                self.read.borrow_mut().insert(name);
                if found.is_none() && !value.is_null() {
                    found = Some((name.as_str(), value));
                }
            }
        }
        found.or_else(|| self.inner(key, others))
    }

    /// MPT and DBRX keep some keys in objects of their own.
    fn inner(&self, key: &str, others: &[&str]) -> Option<(&'a str, &'a Value)> {
        ["attn_config", "ffn_config"].iter().find_map(|name| {
            let (name, inner) = self.object.get_key_value(*name)?;
            self.read.borrow_mut().insert(name);
            let inner = inner.as_object()?;
            let found = std::iter::once(&key).chain(others).find_map(|spelling| inner.get_key_value(*spelling))?;
            (!found.1.is_null()).then_some((found.0.as_str(), found.1))
        })
    }

    /// Keys of the object that no reader asked for.
    pub(super) fn unread(&self) -> Vec<(&'a str, &'a Value)> {
        let read = self.read.borrow();
        self.object.iter().filter(|(key, _)| !read.contains(key.as_str())).map(|(k, v)| (k.as_str(), v)).collect()
    }

    /// Whether the key is written at all, be it as `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// Marks a key as understood.
    pub(super) fn touch(&self, key: &str) {
        let _ = self.entry(key);
    }

    /// A nested object.
    pub(super) fn object(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.value(key).and_then(Value::as_object)
    }

    pub(super) fn missing(&self, key: &str, hint: &str) -> ConfigError {
        ConfigError::Missing { key: format!("{}{key}", self.prefix), hint: hint.to_owned() }
    }

    pub(super) fn invalid(&self, key: &str, allowed: impl Into<String>) -> ConfigError {
        let found = self.value(key).map_or_else(|| "absent".to_owned(), shorten);
        ConfigError::Invalid { key: format!("{}{key}", self.prefix), found, allowed: allowed.into() }
    }

    /// A whole number from 0 to `most`, if present.
    fn bounded(&self, key: &str, most: u64) -> Result<Option<u64>, ConfigError> {
        let Some((name, value)) = self.entry(key) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0).map(whole));
        match number {
            Some(n) if n <= most => Ok(Some(n)),
            _ => Err(self.invalid(name, format!("a whole number from 0 to {most} is allowed"))),
        }
    }

    /// A count, 0 allowed.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.bounded(key, MOST)
    }

    /// A size of at least 1, if present.
    pub(super) fn size_if(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.at_least_one(key, MOST)
    }

    fn at_least_one(&self, key: &str, most: u64) -> Result<Option<u64>, ConfigError> {
        match self.bounded(key, most)? {
            Some(0) => Err(self.invalid(key, "at least 1 is needed")),
            other => Ok(other),
        }
    }

    /// A size of at least 1 that must be there.
    pub(super) fn size(&self, key: &str) -> Result<u64, ConfigError> {
        self.size_if(key)?.ok_or_else(|| self.missing(key, "the size of the model depends on it"))
    }

    /// A size of at least 1, or what transformers assumes without it.
    pub(super) fn size_or(&self, key: &str, default: u64) -> Result<u64, ConfigError> {
        Ok(self.size_if(key)?.unwrap_or(default))
    }

    /// Number of layers under `key`.
    pub(super) fn layers(&self, key: &str) -> Result<u64, ConfigError> {
        self.at_least_one(key, MOST_LAYERS)?.ok_or_else(|| self.missing(key, "the number of layers is needed"))
    }

    /// A context length or window in tokens.
    pub(super) fn tokens(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.at_least_one(key, MOST_TOKENS)
    }

    /// A number with a fraction.
    pub(super) fn real(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(f) if f.is_finite() && f.abs() < MOST as f64 => Ok(Some(f)),
                _ => Err(self.invalid(key, "a number is allowed")),
            },
        }
    }

    /// A flag, or what transformers assumes without it.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.invalid(key, "true or false is allowed")),
        }
    }

    /// A word.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(key, "a string is allowed")),
        }
    }

    /// A list with one entry per layer (longer lists, which also describe draft layers, are cut).
    pub(super) fn per_layer(&self, key: &str, layers: u64) -> Result<Option<&'a [Value]>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(list)) => match list.get(..layers as usize) {
                Some(list) => Ok(Some(list)),
                None => Err(ConfigError::Invalid {
                    key: format!("{}{key}", self.prefix),
                    found: format!("a list of {}", list.len()),
                    allowed: format!("one entry for each of the {layers} layers is needed"),
                }),
            },
            Some(_) => Err(self.invalid(key, "a list with one entry per layer is allowed")),
        }
    }

    /// A list of words with one entry per layer.
    pub(super) fn words(&self, key: &str, layers: u64) -> Result<Option<Vec<&'a str>>, ConfigError> {
        let Some(list) = self.per_layer(key, layers)? else { return Ok(None) };
        let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        words.map(Some).ok_or_else(|| self.invalid(key, "a list of strings is allowed"))
    }

    /// A list of 0 and 1 (or false and true) with one entry per layer.
    pub(super) fn switches(&self, key: &str, layers: u64) -> Result<Option<Vec<bool>>, ConfigError> {
        let Some(list) = self.per_layer(key, layers)? else { return Ok(None) };
        let switch = |value: &Value| value.as_bool().or_else(|| value.as_u64().map(|n| n != 0));
        let switches: Option<Vec<bool>> = list.iter().map(switch).collect();
        switches.map(Some).ok_or_else(|| self.invalid(key, "a list of 0 and 1 is allowed"))
    }

    /// Layer numbers.
    pub(super) fn indices(&self, key: &str) -> Result<Option<BTreeSet<u64>>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(list)) => {
                let indices: Option<BTreeSet<u64>> = list.iter().map(Value::as_u64).collect();
                indices.map(Some).ok_or_else(|| self.invalid(key, "a list of layer numbers is allowed"))
            }
            Some(_) => Err(self.invalid(key, "a list of layer numbers is allowed")),
        }
    }
}

/// Saturating conversion of a whole, non-negative float.
const fn whole(f: f64) -> u64 {
    f as u64
}

/// The JSON text of a value, cut so that hostile values cannot flood a message.
pub(super) fn shorten(value: &Value) -> String {
    const MOST_CHARS: usize = 40;
    let text = match value {
        Value::Array(list) => return format!("a list of {}", list.len()),
        Value::Object(_) => return "an object".to_owned(),
        Value::String(text) => format!("`{}`", text.chars().take(MOST_CHARS).collect::<String>()),
        other => other.to_string(),
    };
    text.chars().take(MOST_CHARS + 2).collect()
}
