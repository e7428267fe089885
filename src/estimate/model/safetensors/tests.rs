use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::estimate::model::checkpoint::{Mismatch, attach};
use crate::estimate::model::{Model, hf_config};

/// A header with its length before it.
fn head(json: &str) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes
}

fn file(entries: &Value) -> Vec<u8> {
    head(&entries.to_string())
}

fn problem(entries: &Value) -> String {
    read(&file(entries), None).map(|facts| facts.bytes).unwrap_err().to_string()
}

fn tiny() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
        "vocab_size": 32, "torch_dtype": "bfloat16", "tie_word_embeddings": true,
    })
}

/// The tensors of [`tiny`] with the head stored beside the embedding.
fn tiny_header(head: bool, dtype: &str, element: u64) -> Value {
    let mut shapes =
        vec![("model.embed_tokens.weight".to_owned(), vec![32, 8]), ("model.norm.weight".to_owned(), vec![8])];
    for layer in 0..2 {
        let of = |module: &str| format!("model.layers.{layer}.{module}.weight");
        shapes.extend(["q_proj", "k_proj", "v_proj", "o_proj"].map(|m| (of(&format!("self_attn.{m}")), vec![8, 8])));
        shapes.extend(["gate_proj", "up_proj"].map(|m| (of(&format!("mlp.{m}")), vec![16, 8])));
        shapes.push((of("mlp.down_proj"), vec![8, 16]));
        shapes.extend(["input_layernorm", "post_attention_layernorm"].map(|m| (of(m), vec![8])));
    }
    if head {
        shapes.push(("lm_head.weight".to_owned(), vec![32, 8]));
    }
    let mut at = 0;
    let mut header = json!({"__metadata__": {"format": "pt"}});
    for (name, shape) in shapes {
        let end = at + shape.iter().product::<u64>() * element;
        header[name] = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        at = end;
    }
    header
}

fn tiny_model() -> Model {
    hf_config::read("tiny", &tiny()).unwrap()
}

#[test]
fn a_header_gives_bytes_by_format_and_hints() {
    let bytes = file(&tiny_header(true, "BF16", 2));
    let facts = read(&bytes, None).unwrap();
    let parameters = tiny_model().parameters();
    assert_eq!(facts.bytes, 2 * (parameters + 32 * 8));
    assert_eq!(facts.by_dtype.iter().collect::<Vec<_>>(), [(&"BF16", &facts.bytes)]);
    assert_eq!(facts.hints, Hints { layers: Some(2), embedding: Some((32, 8)), head: true });
    let length = bytes.len() as u64 + facts.bytes;
    assert_eq!(read(&bytes, Some(length)).unwrap(), facts);
    let error = read(&bytes, Some(length - 1)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("tensors end at byte {length} of the file")), "{error}");
}

#[test]
fn stored_copies_and_wider_formats_are_not_loaded() {
    let expected = 2 * tiny_model().parameters();
    for header in [tiny_header(true, "BF16", 2), tiny_header(false, "BF16", 2), tiny_header(true, "F32", 4)] {
        let mut model = tiny_model();
        attach(&mut model, &read(&file(&header), None).unwrap()).unwrap();
        assert_eq!(model.checkpoint_bytes.map(|bytes| bytes.total), Some(expected));
    }
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let facts = read(&file(&tiny_header(false, "BF16", 2)), None).unwrap();
    let with = |key: &str, value: Value| {
        let mut config = tiny();
        config[key] = value;
        let mut model = hf_config::read("tiny", &config).unwrap();
        attach(&mut model, &facts).map(|()| model.checkpoint_bytes.map(|bytes| bytes.total))
    };
    assert_eq!(with("num_hidden_layers", json!(3)), Err(Mismatch::Layers { found: 2, expected: 3 }));
    assert_eq!(with("hidden_size", json!(4)), Err(Mismatch::Width { found: 8, expected: 4 }));
    let error = with("intermediate_size", json!(160)).unwrap_err().to_string();
    assert!(error.contains("of different models or quantizations"), "{error}");
}

#[test]
fn an_index_gives_the_total() {
    let index = json!({
        "metadata": {"total_size": 16_060_522_496_u64},
        "weight_map": {"model.layers.31.mlp.up_proj.weight": "a", "lm_head.weight": "b", "model.embed_tokens.weight": "a"},
    });
    let facts = read_index(index.to_string().as_bytes()).unwrap();
    assert_eq!((facts.bytes, facts.hints.layers, facts.hints.head), (16_060_522_496, Some(32), true));
    let mut model = hf_config::read(
        "llama-3-8b",
        &json!({
            "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128_256,
        }),
    )
    .unwrap();
    attach(&mut model, &facts).unwrap();
    assert_eq!(
        model.checkpoint_bytes.map(|bytes| bytes.total),
        Some(2 * model.parameters()),
        "published: 8030261248 parameters"
    );
    for broken in [json!({"metadata": {}, "weight_map": {}}), json!({"weight_map": {}}), json!([]), json!(null)] {
        assert!(read_index(broken.to_string().as_bytes()).is_err(), "{broken}");
    }
    for size in [json!(0), json!(-1), json!(1.5), json!(1e300)] {
        let index = json!({"metadata": {"total_size": size}, "weight_map": {}});
        assert!(read_index(index.to_string().as_bytes()).is_err(), "{index}");
    }
}

#[test]
fn hostile_headers_are_errors() {
    assert_eq!(read(&[], None), Err(SafetensorsError::Truncated { needed: 8, given: 0 }));
    assert_eq!(read(&[1; 7], None), Err(SafetensorsError::Truncated { needed: 8, given: 7 }));
    assert_eq!(read(&u64::MAX.to_le_bytes(), None), Err(SafetensorsError::TooLong(u64::MAX)));
    assert_eq!(read(&25_000_001_u64.to_le_bytes(), None), Err(SafetensorsError::TooLong(25_000_001)));
    let cut = head("{}");
    assert_eq!(read(&cut[..9], None), Err(SafetensorsError::Truncated { needed: 10, given: 9 }));
    assert!(read(&head(&"[".repeat(100_000)), None).is_err(), "deep");
    let deep = format!(r#"{{"__metadata__":{}}}"#, "[".repeat(100_000));
    assert!(read(&head(&deep), None).is_err(), "deep");
    let mut foreign = 4_u64.to_le_bytes().to_vec();
    foreign.extend([b'{', 0xff, 0xfe, b'}']);
    assert!(read(&foreign, None).is_err(), "not UTF-8");
    assert!(read(&head(r#"{"a":1,"a":2}"#), None).is_err());
}

#[test]
fn hostile_tensors_are_errors() {
    let one = |shape: Value, offsets: Value| json!({"x": {"dtype": "F16", "shape": shape, "data_offsets": offsets}});
    let huge = 1_u64 << 63;
    assert!(problem(&one(json!([huge, huge]), json!([0, 8]))).contains("more bytes than there can be"));
    assert!(problem(&one(json!([huge]), json!([0, 8]))).contains("do not fit the shape"));
    assert!(problem(&one(json!([4]), json!([8, 0]))).contains("do not fit the shape"));
    assert!(problem(&one(json!([4]), json!([0, 6]))).contains("which needs 8 bytes"));
    assert!(problem(&one(json!([4]), json!([2, 10]))).contains("a gap before its data"));
    assert!(problem(&one(json!([-1]), json!([0, 8]))).contains("not readable"));
    assert!(problem(&one(json!([1.5]), json!([0, 8]))).contains("not readable"));
    assert!(problem(&one(Value::from(vec![1; 17]), json!([0, 2]))).contains("17 dimensions"));
    let overlap = json!({
        "x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "y": {"dtype": "U8", "shape": [8], "data_offsets": [4, 12]},
    });
    assert!(problem(&overlap).contains("`y`: its data overlaps another tensor's"), "{}", problem(&overlap));
    let unknown = json!({"x": {"dtype": "F3", "shape": [8], "data_offsets": [0, 8]}});
    assert!(problem(&unknown).contains("the format `F3` is not known"));
    let odd = json!({"x": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}});
    assert!(problem(&odd).contains("do not fit"), "half a byte is left");
    let twice =
        r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert!(read(&head(twice), None).unwrap_err().to_string().contains("occurs twice"));
    // Empty tensors and scalars are fine.
    let fine = json!({"e": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}, "s": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}});
    assert_eq!(read(&file(&fine), None).unwrap().bytes, 4);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in ".{0,200}") {
        let _ = read(&bytes, Some(bytes.len() as u64));
        let _ = read(&head(&json), None);
        let _ = read_index(json.as_bytes());
    }

    #[test]
    fn damaged_headers_are_refused_or_hold_together(at in 0_usize..2000, byte in any::<u8>()) {
        let mut bytes = file(&tiny_header(true, "BF16", 2));
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(facts) = read(&bytes, None) {
            prop_assert_eq!(facts.bytes, facts.tensors.iter().map(|t| t.bytes).sum::<u64>());
        }
    }

    #[test]
    fn any_numbers_are_handled(shape in proptest::collection::vec(any::<u64>(), 0..4), begin in any::<u64>(), end in any::<u64>()) {
        let _ = read(&file(&json!({"x": {"dtype": "F64", "shape": shape, "data_offsets": [begin, end]}})), Some(100));
    }
}

proptest! {
    /// Indexes of any kind neither panic nor name files elsewhere.
    #[test]
    fn shards_lie_beside_their_index(names in proptest::collection::vec("[a-z./\\\\]{0,8}", 0..6)) {
        let map: serde_json::Map<String, Value> =
            names.iter().enumerate().map(|(n, name)| (format!("t{n}"), json!(name))).collect();
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
        if let Ok(shards) = shards(index.as_bytes()) {
            prop_assert!(shards.iter().all(|name| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.')));
        }
    }
}
