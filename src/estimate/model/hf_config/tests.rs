use serde_json::json;

use super::*;
use crate::estimate::model::{Attention, Mlp};

fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096, "torch_dtype": "float16",
    })
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

fn without(mut config: Value, key: &str) -> Value {
    config.as_object_mut().unwrap().remove(key);
    config
}

fn refusal(config: &Value) -> String {
    read("x", config).map(|model| model.parameters()).unwrap_err().to_string()
}

#[test]
fn a_llama_is_one_group_of_equal_layers() {
    let model = read("meta-llama/Llama-2-7b-hf", &llama()).unwrap();
    assert_eq!(model.parameters(), 6_738_415_616);
    assert_eq!((model.layers.len(), model.layer_count(), model.dtype), (1, 32, DType::Fp16));
    assert_eq!(model.max_position_embeddings, Some(4096));
    assert_eq!(model.kv_elements_per_token(), 32 * 2 * 4096);
    assert!(matches!(model.layers[0].mlp, Mlp::Dense { intermediate: 11008, gated: true }));
}

#[test]
fn missing_and_hostile_numbers_name_their_key() {
    for key in ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"] {
        let error = refusal(&without(llama(), key));
        assert!(error.starts_with(&format!("{key} is missing")), "{error}");
        for hostile in
            [json!(0), json!(-1), json!(1e300), json!(1.5), json!("4096"), json!([4096]), json!({}), json!(true)]
        {
            let error = refusal(&with(llama(), key, hostile.clone()));
            assert!(error.starts_with(&format!("{key} is ")), "{key} = {hostile}: {error}");
        }
    }
    let error = refusal(&with(llama(), "num_key_value_heads", json!(5)));
    assert_eq!(error, "num_key_value_heads is 5: it must divide num_attention_heads (32)");
    assert!(refusal(&with(llama(), "num_attention_heads", json!(33))).contains("must divide hidden_size"));
    assert!(refusal(&with(llama(), "num_hidden_layers", json!(1_000_000))).contains("from 0 to 4096"), "bounded work");
    assert!(refusal(&with(llama(), "torch_dtype", json!("bf17"))).starts_with("torch_dtype is `bf17`"));
    assert!(refusal(&json!([1, 2])).contains("must be a JSON object"));
    assert!(refusal(&json!(null)).contains("must be a JSON object"));
}

#[test]
fn keys_that_change_sizes_are_not_ignored() {
    let error = refusal(&with(llama(), "num_local_experts", json!(8)));
    assert!(error.starts_with("num_local_experts is not understood for model type `llama`"), "{error}");
    assert!(refusal(&with(llama(), "kv_lora_rank", json!(512))).starts_with("kv_lora_rank is not understood"));
    // Switched off, they say nothing.
    assert!(read("x", &with(llama(), "num_local_experts", json!(0))).is_ok());
    assert!(read("x", &with(llama(), "kv_lora_rank", Value::Null)).is_ok());
    assert!(
        refusal(&with(llama(), "vision_config", json!({"depth": 2}))).starts_with("vision_config is not understood")
    );
}

#[test]
fn unknown_types_are_llamas_only_if_they_say_so() {
    let unknown = with(llama(), "model_type", json!("novel"));
    assert!(refusal(&unknown).contains("`novel` is not known"));
    let like = with(unknown, "architectures", json!(["NovelForCausalLM"]));
    let like = with(with(like, "hidden_act", json!("silu")), "rms_norm_eps", json!(1e-5));
    assert_eq!(read("x", &like).unwrap().parameters(), 6_738_415_616);
    let error = refusal(&with(like, "use_new_thing", json!(true)));
    assert!(error.starts_with("use_new_thing is not understood for model type `novel`"), "{error}");
}

#[test]
fn latent_attention_needs_its_ranks() {
    let deepseek = json!({
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
        "intermediate_size": 18432, "vocab_size": 129_280, "kv_lora_rank": 512, "q_lora_rank": 1536,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "first_k_dense_replace": 3,
    });
    let model = read("x", &deepseek).unwrap();
    assert_eq!(model.parameters(), 671_026_419_200);
    assert_eq!(model.kv_elements_per_token(), 61 * 576);
    for key in ["kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "first_k_dense_replace", "num_experts_per_tok"] {
        assert!(refusal(&without(deepseek.clone(), key)).starts_with(&format!("{key} is missing")), "{key}");
    }
    assert!(refusal(&with(deepseek, "num_experts_per_tok", json!(257))).contains("must not exceed the 256 experts"));
}

#[test]
fn windows_follow_the_family() {
    let window = |model_type: &str, more: &[(&str, Value)]| {
        let mut config = with(with(llama(), "model_type", json!(model_type)), "sliding_window", json!(1024));
        for (key, value) in more {
            config = with(config, key, value.clone());
        }
        let model = read("x", &config).unwrap();
        let windowed = |group: &&LayerGroup| matches!(group.attention, Attention::Sliding { window: 1024, .. });
        model.layers.iter().filter(windowed).map(|group| group.count).sum::<u64>()
    };
    assert_eq!(window("llama", &[]), 0);
    assert_eq!(window("mistral", &[]), 32);
    assert_eq!(window("qwen2", &[]), 0, "unless it says that it uses it");
    assert_eq!(window("qwen2", &[("use_sliding_window", json!(true)), ("max_window_layers", json!(28))]), 4);
    assert_eq!(window("gemma2", &[("head_dim", json!(128))]), 16);
    assert_eq!(window("gemma3_text", &[("head_dim", json!(128))]), 27);
}

#[test]
fn nested_language_models_are_found() {
    let nested = json!({"model_type": "mistral3", "dtype": "bfloat16", "text_config": with(llama(), "model_type", json!("mistral"))});
    let model = read("x", &without(nested.clone(), "dtype")).unwrap();
    assert_eq!((model.parameters(), model.dtype), (6_738_415_616, DType::Fp16), "the text model's own format");
    let broken = json!({"text_config": without(llama(), "hidden_size")});
    assert!(refusal(&broken).starts_with("text_config.hidden_size is missing"));
}

#[test]
fn rope_scaling_lengthens_the_context() {
    let context = |scaling: Value| read("x", &with(llama(), "rope_scaling", scaling)).unwrap().max_position_embeddings;
    assert_eq!(context(json!({"type": "linear", "factor": 4.0})), Some(16_384));
    let yarn = json!({"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096});
    assert_eq!(context(yarn), Some(163_840));
    assert_eq!(context(json!({"rope_type": "llama3", "factor": 8.0})), Some(4096), "already counted");
    assert_eq!(context(Value::Null), Some(4096));
}

#[test]
fn quantized_checkpoints_say_how() {
    let read_with = |quantization: Value| read("x", &with(llama(), "quantization_config", quantization));
    let name = |quantization: Value| read_with(quantization).unwrap().quantization.map(|q| (q.name, q.experts_only));
    assert_eq!(name(json!({"quant_method": "awq", "bits": 4, "group_size": 128})), Some(("awq".to_owned(), false)));
    assert_eq!(
        name(json!({"quant_method": "gptq", "bits": 8, "group_size": -1})),
        Some(("gptq-int8".to_owned(), false))
    );
    assert_eq!(name(json!({"quant_method": "mxfp4"})), Some(("mxfp4".to_owned(), true)));
    assert_eq!(name(json!({})), None);
    for unreadable in [
        json!({"quant_method": "novel"}),
        json!({"quant_method": "gptq"}),
        json!({"quant_method": "gptq", "bits": 1e9}),
        json!({"quant_method": "gptq", "bits": 4, "group_size": 0}),
        json!({"quant_method": "fp8", "weight_block_size": [0, 128]}),
        json!({"quant_method": "compressed-tensors"}),
    ] {
        let error = read_with(unreadable.clone()).unwrap_err().to_string();
        assert!(error.starts_with("quantization_config.quant_method is `"), "{unreadable}: {error}");
    }
}

#[test]
fn gemma_3_counts_its_scaling_already() {
    let scaling = json!({"rope_type": "linear", "factor": 8.0});
    let config = with(with(llama(), "model_type", json!("gemma3_text")), "rope_scaling", scaling);
    let config = with(with(config, "sliding_window", json!(1024)), "max_position_embeddings", json!(131_072));
    assert_eq!(read("x", &config).unwrap().max_position_embeddings, Some(131_072));
}

/// Totals published for InternVL3-8B and Kimi-VL-A3B.
#[test]
fn towers_before_language_models_of_any_kind() {
    let qwen = json!({
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
        "num_hidden_layers": 28, "num_key_value_heads": 4, "vocab_size": 151_674, "tie_word_embeddings": false,
    });
    let vit = json!({
        "model_type": "intern_vit_6b", "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
        "num_hidden_layers": 24, "patch_size": [14, 14], "image_size": [448, 448], "qkv_bias": true,
    });
    for (model_type, text) in [("internvl_chat", "llm_config"), ("internvl", "text_config")] {
        let config = json!({"model_type": model_type, text: qwen, "vision_config": vit, "downsample_ratio": 0.5});
        assert_eq!(read(model_type, &config).unwrap().parameters(), 7_944_373_760);
    }
    let granite = json!({
        "model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32,
        "num_hidden_layers": 40, "num_key_value_heads": 8, "vocab_size": 49_156, "tie_word_embeddings": true,
    });
    let siglip = json!({
        "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16,
        "num_hidden_layers": 27, "patch_size": 14, "image_size": 384,
    });
    let config = json!({
        "model_type": "llava_next", "text_config": granite, "vision_config": siglip, "vision_feature_layer": [-24, -20, -12, -1],
        "tie_word_embeddings": true,
    });
    let total = read("llava_next", &config).unwrap().parameters();
    assert!((2_950_000_000..3_000_000_000).contains(&total), "{total}");
    let mut other = config;
    other["vision_config"]["model_type"] = json!("brand_new_vit");
    assert!(read("llava_next", &other).unwrap_err().to_string().contains("model_type"));
}
