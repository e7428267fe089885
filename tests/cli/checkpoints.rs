//! Checkpoint files on the command line: real bytes beat derived ones, hostile files are clear errors.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::support::{Folder, Run, check, vramguard_args};

const HIDDEN: u64 = 256;
const VOCAB: u64 = 1000;
const LAYERS: u64 = 4;

fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "intermediate_size": 512, "vocab_size": VOCAB, "torch_dtype": "bfloat16", "tie_word_embeddings": false,
        "max_position_embeddings": 2048,
    })
}

/// Names and shapes of the layers from `first` up to `end`.
fn layers(first: u64, end: u64) -> Vec<(String, Vec<u64>)> {
    let mut out = Vec::new();
    for layer in first..end {
        let name = |module: &str| format!("model.layers.{layer}.{module}.weight");
        out.extend(
            ["q_proj", "k_proj", "v_proj", "o_proj"].map(|m| (name(&format!("self_attn.{m}")), vec![HIDDEN, HIDDEN])),
        );
        out.extend(["gate_proj", "up_proj"].map(|m| (name(&format!("mlp.{m}")), vec![512, HIDDEN])));
        out.push((name("mlp.down_proj"), vec![HIDDEN, 512]));
        out.extend(["input_layernorm", "post_attention_layernorm"].map(|m| (name(m), vec![HIDDEN])));
    }
    out
}

fn outer() -> Vec<(String, Vec<u64>)> {
    vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ]
}

/// Writes a file without its data, which is never read; gives the bytes of its tensors.
fn safetensors(path: &Path, tensors: &[(String, Vec<u64>)]) -> u64 {
    let mut header = json!({});
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<u64>();
        header[name] = json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, end]});
        at = end;
    }
    let header = header.to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + at).unwrap();
    at
}

/// A folder with config, index and two shards.
fn sharded() -> (Folder, u64) {
    let folder = Folder::with(&[]);
    let at = |file: &str| folder.path(file);
    let first = safetensors(at("model-00001-of-00002.safetensors").as_ref(), &layers(0, 2));
    let rest: Vec<_> = layers(2, LAYERS).into_iter().chain(outer()).collect();
    let bytes = first + safetensors(at("model-00002-of-00002.safetensors").as_ref(), &rest);
    let map = |tensors: Vec<(String, Vec<u64>)>, file: &str| {
        tensors.into_iter().map(|(name, _)| (name, json!(file))).collect::<Vec<_>>()
    };
    let mut weights: serde_json::Map<String, Value> =
        map(layers(0, 2), "model-00001-of-00002.safetensors").into_iter().collect();
    weights.extend(map(rest, "model-00002-of-00002.safetensors"));
    let index = json!({"metadata": {"total_size": bytes}, "weight_map": weights});
    std::fs::write(at("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::write(at("config.json"), config().to_string()).unwrap();
    (folder, bytes)
}

fn estimate(arguments: &[&str]) -> Run {
    let mut all = vec!["estimate", "--engine", "vllm", "-o", "json"];
    all.extend(arguments);
    vramguard_args(&all)
}

fn weights(run: &Run) -> u64 {
    assert_eq!(run.code, 0, "{run}");
    run.json()["estimate"]["serving"]["weightsBytes"].as_u64().unwrap()
}

/// Loader and kernels round: the engine's bytes are the checkpoint's within a MiB.
fn near(found: u64, bytes: u64) {
    assert!(found.abs_diff(bytes) < 1 << 20, "{found} against {bytes}");
}

#[test]
fn a_folder_an_index_and_a_file_agree() {
    let (folder, bytes) = sharded();
    let dir = &folder.path("");
    let whole = estimate(&["--checkpoint", dir]);
    near(weights(&whole), bytes);
    assert!(whole.stdout.contains("the checkpoint's own"), "{whole}");
    let index = folder.path("model.safetensors.index.json");
    assert_eq!(weights(&estimate(&["--safetensors", &index])), weights(&whole));
    // Without the shards, the index still says how many bytes there are.
    std::fs::remove_file(folder.path("model-00001-of-00002.safetensors")).unwrap();
    assert_eq!(weights(&estimate(&["--safetensors", &index])), weights(&whole));
    let one = folder.path("one.safetensors");
    let all: Vec<_> = layers(0, LAYERS).into_iter().chain(outer()).collect();
    assert_eq!(safetensors(one.as_ref(), &all), bytes);
    assert_eq!(weights(&estimate(&["--safetensors", &one])), weights(&whole));
}

#[test]
fn hostile_files_are_clear_errors() {
    let (folder, _) = sharded();
    let path = folder.path("bad.safetensors");
    let head = |json: &str| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes
    };
    let tensor = |offsets: &str| format!(r#"{{"dtype":"U8","shape":[4],"data_offsets":{offsets}}}"#);
    let (a, b) = (tensor("[0,4]"), tensor("[2,6]"));
    for (bytes, says) in [
        (Vec::new(), "needs 8 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "at most"),
        (1000_u64.to_le_bytes().to_vec(), "cut"),
        (head("[]"), "not readable"),
        (head("{"), "not readable"),
        (head(&format!(r#"{{"a":{a},"b":{b}}}"#)), "overlaps"),
        (head(&format!(r#"{{"a":{a},"a":{a}}}"#)), "tensor"),
        (head(&format!(r#"{{"a":{a}}}"#)), "cut or damaged"),
        (head(r#"{"a":{"dtype":"U8","shape":[18446744073709551615,2],"data_offsets":[0,4]}}"#), "do not fit"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let run = estimate(&["--safetensors", &path]);
        assert!(run.code == 2 && run.stdout.contains(says), "{says}: {run}");
        assert!(run.stdout.contains("BAD_INPUT") && run.stdout.contains("hint"), "{run}");
    }
    let index = folder.path("model.safetensors.index.json");
    let outside = json!({"metadata": {"total_size": 10}, "weight_map": {"a": "../../etc/passwd"}});
    std::fs::write(&index, outside.to_string()).unwrap();
    let run = estimate(&["--safetensors", &index]);
    assert!(run.code == 2 && run.stdout.contains("no name of a file beside it"), "{run}");
    for gguf in [b"GGUF".to_vec(), b"PK\x03\x04".to_vec(), [b"GGUF\x03\0\0\0".as_slice(), &[0xff; 16]].concat()] {
        std::fs::write(&path, &gguf).unwrap();
        let run = estimate(&["--gguf", &path]);
        assert!(run.code == 2 && run.stdout.contains("BAD_INPUT"), "{run}");
    }
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let (folder, _) = sharded();
    let index = folder.path("model.safetensors.index.json");
    let run = estimate(&["--safetensors", &index, "--model", "Qwen/Qwen2.5-0.5B-Instruct"]);
    assert!(run.code == 2 && run.stdout.contains("different models"), "{run}");
    let empty = Folder::with(&[]);
    let run = estimate(&["--checkpoint", &empty.path("")]);
    assert!(run.code == 2 && run.stdout.contains("no config.json"), "{run}");
}

#[test]
fn settings_beside_the_config_are_read() {
    let (folder, _) = sharded();
    std::fs::write(folder.path("quantize_config.json"), r#"{"bits":4,"group_size":128}"#).unwrap();
    let run = estimate(&["--checkpoint", &folder.path("")]);
    // The tensors are of 16 bit: they contradict the settings.
    assert!(run.code == 2 && run.stdout.contains("quantizations"), "{run}");
}

/// A pod that serves a folder whose bytes are annotated.
fn pod(bytes: &str, quantization: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","annotations":{{"vramguard.io/checkpoint-bytes":"{bytes}"}}}},
        "spec":{{"containers":[{{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":["--model=/models/Llama-3.1-70B-Instruct",
        "--max-model-len=4096"{quantization}],"resources":{{"limits":{{"nvidia.com/gpu":"1"}}}}}}]}}}}"#
    )
}

#[test]
fn annotated_bytes_decide_where_a_path_does_not() {
    let weights = |bytes: &str, quantization: &str| {
        let run = check(&pod(bytes, quantization), "-o json");
        let report = run.json()["results"][0].clone();
        (report["verdict"].as_str().unwrap().to_owned(), report["estimate"]["serving"]["weightsBytes"].as_f64())
    };
    let gib = |bytes: Option<f64>| bytes.unwrap_or(0.0) / f64::from(1 << 30);
    // Four bits: the quantization is not said, the bytes are.
    let (_, four) = weights("37Gi", "");
    assert!((gib(four) - 37.0).abs() < 0.5, "{four:?}");
    let (_, named) = weights("37Gi", r#","--quantization=awq""#);
    assert!((gib(named) - 37.0).abs() < 0.5, "{named:?}");
    // An fp32 file of a 16-bit model is cast.
    let (_, cast) = weights("263Gi", "");
    assert!((gib(cast) - 131.5).abs() < 1.5, "{cast:?}");
    assert_eq!(weights("900Gi", "").0, "SPEC_CONFLICT");
    assert_eq!(weights("1Gi", "").0, "SPEC_CONFLICT");
}

/// A GGUF file of the same shape in f16, without its data.
fn gguf(path: &Path) -> u64 {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let counts = [
        ("context_length", 2048_u64),
        ("embedding_length", HIDDEN),
        ("block_count", LAYERS),
        ("feed_forward_length", 512),
        ("attention.head_count", 4),
    ];
    let layer = |n: u64| {
        let name = move |module: &str| format!("blk.{n}.{module}.weight");
        let mut all: Vec<(String, Vec<u64>)> =
            ["attn_q", "attn_k", "attn_v", "attn_output"].map(|m| (name(m), vec![HIDDEN, HIDDEN])).to_vec();
        all.extend(["ffn_gate", "ffn_up"].map(|m| (name(m), vec![HIDDEN, 512])));
        all.push((name("ffn_down"), vec![512, HIDDEN]));
        all.extend(["attn_norm", "ffn_norm"].map(|m| (name(m), vec![HIDDEN])));
        all
    };
    let mut tensors: Vec<(String, Vec<u64>)> = (0..LAYERS).flat_map(layer).collect();
    tensors.push(("token_embd.weight".to_owned(), vec![HIDDEN, VOCAB]));
    tensors.push(("output.weight".to_owned(), vec![HIDDEN, VOCAB]));
    tensors.push(("output_norm.weight".to_owned(), vec![HIDDEN]));
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((counts.len() as u64 + 1).to_le_bytes());
    bytes.extend([text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat());
    for (key, count) in counts {
        bytes.extend([text(&format!("llama.{key}")), 4_u32.to_le_bytes().to_vec()].concat());
        bytes.extend((count as u32).to_le_bytes());
    }
    let mut at = 0_u64;
    for (name, shape) in &tensors {
        bytes.extend(text(name));
        bytes.extend((shape.len() as u32).to_le_bytes());
        for size in shape {
            bytes.extend(size.to_le_bytes());
        }
        // f16, each tensor on a multiple of 32.
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(at.to_le_bytes());
        at = (at + 2 * shape.iter().product::<u64>()).next_multiple_of(32);
    }
    let mut file = File::create(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(bytes.len() as u64 + 64 + at).unwrap();
    at
}

#[test]
fn a_gguf_file_is_all_that_llama_cpp_needs() {
    let folder = Folder::with(&[]);
    let path = folder.path("tiny-f16.gguf");
    let bytes = gguf(path.as_ref());
    let run = vramguard_args(&["estimate", "--engine", "llamacpp", "--gguf", &path, "-o", "json"]);
    let report = run.json();
    assert_eq!(run.code, 0, "{run}");
    // The token embedding stays on the CPU.
    near(report["estimate"]["serving"]["weightsBytes"].as_u64().unwrap(), bytes - 2 * HIDDEN * VOCAB);
    assert_eq!(report["workload"]["model"], "tiny-f16");
    File::options().write(true).open(&path).unwrap().set_len(bytes / 2).unwrap();
    let cut = vramguard_args(&["estimate", "--gguf", &path, "-o", "json"]);
    assert!(cut.code == 2 && cut.stdout.contains("is cut"), "{cut}");
    let part = folder.path("big-00001-of-00002.gguf");
    gguf(part.as_ref());
    let missing = vramguard_args(&["estimate", "--gguf", &part, "-o", "json"]);
    assert!(missing.code == 2 && missing.stdout.contains("big-00002-of-00002.gguf is missing"), "{missing}");
}
