//! Models of the catalogue, and models from made-up configs of every kind of architecture.

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use serde_json::{Value, json};
use vramguard::estimate::model::{Model, hf_config};
use vramguard::facts::catalog::Catalog;

/// Dimensions of a made-up decoder.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub kind: Kind,
    pub layers: u64,
    pub hidden: u64,
    pub intermediate: u64,
    pub vocab: u64,
    pub experts: u64,
}

/// Architectures that differ in what they keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dense,
    Mixture,
    Latent,
    Window,
    Recurrent,
}

/// Heads of every made-up model: so many ranks can divide it.
const HEADS: u64 = 32;
const KV_HEADS: u64 = 8;

impl Shape {
    /// The config as its author would publish it.
    pub fn config(&self) -> Value {
        let mut config = json!({
            "hidden_size": self.hidden, "num_hidden_layers": self.layers, "intermediate_size": self.intermediate,
            "vocab_size": self.vocab, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
            "head_dim": 128, "max_position_embeddings": 131_072, "torch_dtype": "bfloat16",
            "tie_word_embeddings": false,
        });
        let more = match self.kind {
            Kind::Dense => json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}),
            Kind::Mixture => json!({
                "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": self.experts,
                "num_experts_per_tok": 2, "moe_intermediate_size": self.intermediate, "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            }),
            Kind::Latent => json!({
                "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "kv_lora_rank": 512,
                "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                "n_routed_experts": self.experts, "num_experts_per_tok": 2, "n_shared_experts": 1,
                "moe_intermediate_size": self.intermediate, "first_k_dense_replace": 1, "moe_layer_freq": 1,
                "num_key_value_heads": HEADS,
            }),
            Kind::Window => json!({
                "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "sliding_window": 4096,
                "query_pre_attn_scalar": 256, "hidden_activation": "gelu_pytorch_tanh",
            }),
            Kind::Recurrent => json!({
                "model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "num_experts": self.experts,
                "num_experts_per_tok": 2, "moe_intermediate_size": self.intermediate,
                "shared_expert_intermediate_size": self.intermediate, "full_attention_interval": 4,
                "decoder_sparse_step": 1, "mlp_only_layers": [], "linear_num_key_heads": 16,
                "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
                "linear_conv_kernel_dim": 4,
            }),
        };
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    /// The model that the config describes.
    pub fn model(&self) -> Arc<Model> {
        Arc::new(hf_config::read("made up", &self.config()).unwrap())
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Dense), Just(Kind::Mixture), Just(Kind::Latent), Just(Kind::Window), Just(Kind::Recurrent),]
}

prop_compose! {
    /// A made-up decoder of up to some trillions of parameters.
    pub fn shape()(
        kind in kind(),
        layers in 1_u64..24,
        hidden in 1_u64..64,
        intermediate in 1_u64..64,
        vocab in 1_u64..300_000,
        experts in 2_u64..64,
    ) -> Shape {
        Shape { kind, layers: layers * 4, hidden: hidden * 256, intermediate: intermediate * 256, vocab, experts }
    }
}

/// Every model that the catalogue understands.
fn known() -> &'static [Arc<Model>] {
    static KNOWN: OnceLock<Vec<Arc<Model>>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let catalog = Catalog::embedded();
        catalog.names().filter_map(|name| catalog.find(name).ok()).collect()
    })
}

/// A model of the catalogue or a made-up one.
pub fn model() -> impl Strategy<Value = Arc<Model>> {
    let named = any::<prop::sample::Index>().prop_map(|index| Arc::clone(index.get(known())));
    prop_oneof![2 => named, 1 => shape().prop_map(|shape| shape.model())]
}

#[test]
fn nearly_all_of_the_catalogue_takes_part() {
    assert!(known().len() * 10 >= Catalog::embedded().names().count() * 9, "{}", known().len());
}
