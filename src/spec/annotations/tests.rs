use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::estimate::dtype::DType;
use crate::estimate::workload::{
    Checkpointing, EngineName, Method, Optimizer, Parallelism, Precision, Sharding, Task, Version,
};
use crate::spec::declaration::{Declaration, ModelReference};

fn read_all(pairs: &[(&str, &str)]) -> Result<Declaration, SpecError> {
    let map: Annotations = pairs.iter().map(|(k, v)| (format!("{PREFIX}{k}"), (*v).to_owned())).collect();
    let mut draft = Draft::default();
    read_control(&map, &mut draft)?;
    read(&map, &mut draft)?;
    Ok(draft.finish())
}

fn problem(pairs: &[(&str, &str)]) -> String {
    read_all(pairs).unwrap_err().to_string()
}

const BLOCK: &str = "
task: inference
model: meta-llama/Llama-2-7b-hf
dtype: fp16
quantization: awq
kvCacheDtype: fp8
contextLength: 4096
batchSize: 4
parallelism: {tensor: 2, pipeline: 1, data: 1, expert: 1, context: 1}
engine: {name: vllm, version: 0.19.0, memoryFraction: 0.9}
";

const TRAINING: &str = "
parameters: 6.74B
layers: 32
hiddenSize: 4096
training:
  optimizer: adamw
  precision: mixed-bf16
  sharding: zero3
  checkpointing: full
  lora: {rank: 16, targets: [q_proj, v_proj]}
";

#[test]
fn the_block_of_the_documentation_is_read() {
    let found = read_all(&[("spec", BLOCK)]).unwrap();
    assert_eq!(found.task, Some(Task::Inference));
    assert_eq!(found.model, Some(ModelReference::Name("meta-llama/Llama-2-7b-hf".into())));
    assert_eq!((found.dtype, found.kv_cache_dtype), (Some(DType::Fp16), Some(DType::Fp8)));
    assert_eq!(found.quantization.as_deref(), Some("awq"));
    assert_eq!((found.context_length, found.batch_size), (Some(4096), Some(4)));
    assert_eq!(found.parallelism, Parallelism { tensor: 2, ..Parallelism::default() });
    assert_eq!((found.engine.name, found.engine.version), (EngineName::Vllm, Some(Version([0, 19, 0]))));
    assert_eq!(found.engine.memory_fraction, Some(0.9));
    assert_eq!(found.origins["parallelism.tensor"], Origin::Annotation);
}

#[test]
fn training_settings_mean_training() {
    let found = read_all(&[("spec", TRAINING)]).unwrap();
    assert_eq!(found.task, Some(Task::Training));
    let shape = ModelReference::Shape {
        parameters: 6.74e9,
        layers: Some(32),
        hidden_size: Some(4096),
        heads: None,
        head_dim: None,
    };
    assert_eq!(found.model, Some(shape));
    let training = found.training;
    assert_eq!(training.optimizer, Some(Optimizer::AdamW));
    assert_eq!(training.precision, Some(Precision::MixedBf16));
    assert_eq!(training.sharding, Some(Sharding::Zero3));
    assert_eq!(training.checkpointing, Some(Checkpointing::Full));
    let lora = training.lora.unwrap();
    assert_eq!((lora.rank, lora.targets, lora.quantized_base), (16, vec!["q_proj".into(), "v_proj".into()], false));
}

#[test]
fn json_in_the_block_and_flat_keys_say_the_same() {
    let json = json!({"model": "m", "contextLength": 4096, "parallelism": {"tensor": 2, "data": 4},
        "engine": {"name": "vllm", "memoryFraction": 0.8}, "training": {"lora": {"rank": 8}}});
    let block = read_all(&[("spec", &json.to_string())]).unwrap();
    let flat = read_all(&[
        ("model", "m"),
        ("context-length", "4k"),
        ("tensor-parallel", "2"),
        ("parallelism-data", "4"),
        ("engine", "vllm"),
        ("memory-fraction", "0.8"),
        ("lora-rank", "8"),
    ])
    .unwrap();
    let pairs = read_all(&[
        ("model", "m"),
        ("context-length", "4096"),
        ("parallelism", "tensor=2, data=4"),
        ("engine", "name=vllm,memoryFraction=0.8"),
        ("lora", "8"),
    ])
    .unwrap();
    assert_eq!(block, flat);
    assert_eq!(block, pairs);
}

#[test]
fn every_field_has_a_flat_key_that_reaches_it() {
    for field in FIELDS {
        for name in field.flat.iter().map(ToString::to_string).chain([to_kebab(field.path)]) {
            let text = if matches!(field.kind, fields::Kind::Object(_)) { "{}" } else { "1" };
            let found = flat(&format!("{PREFIX}{name}"), text).unwrap();
            let reached = found.iter().any(|(_, f, _)| f.path == field.path);
            // `engine` alone is the group's name and `engine.name` its main field.
            assert!(reached || name == "engine", "{name} does not reach {}", field.path);
        }
    }
    let mut names: Vec<String> = FIELDS.iter().map(|f| to_kebab(f.path)).collect();
    names.extend(FIELDS.iter().flat_map(|f| f.flat.iter().map(ToString::to_string)));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "no flat key stands for two fields");
}

#[test]
fn unknown_fields_and_keys_are_errors_with_a_suggestion() {
    for (pairs, expected) in [
        (
            &[("spec", "contextLenght: 1")],
            "vramguard.io/spec: contextLenght: unknown field; did you mean `contextLength`?",
        ),
        (&[("spec", "context_length: 1")], "unknown field; did you mean `contextLength`?"),
        (&[("spec", "tensor: 2")], "unknown field; did you mean `parallelism.tensor`?"),
        (
            &[("spec", "parallelism: {tensr: 2}")],
            "vramguard.io/spec: parallelism.tensr: unknown field; did you mean `tensor`?",
        ),
        (&[("spec", "xyzzy: 2")], "unknown field; allowed: task, model"),
        (&[("contextlength", "1")], "vramguard.io/contextlength: unknown annotation; did you mean `context-length`?"),
        (&[("rightsise", "x")], "did you mean `rightsize`?"),
        (&[("xyzzy", "x")], "vramguard.io/xyzzy: unknown annotation"),
        (
            &[("mode", "enforced")],
            "vramguard.io/mode: `enforced` is not known; allowed: off, audit, warn, enforce; did you mean `enforce`?",
        ),
        (&[("rightsize", "gpu")], "did you mean `gpus`?"),
        (&[("spec", "training: {sharding: zero5}")], "vramguard.io/spec: training.sharding: `zero5` is not known"),
        (&[("quantization", "awk")], "did you mean `awq`?"),
    ] {
        let text = problem(pairs);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn absurd_values_name_field_value_and_range() {
    for (field, value, range) in [
        ("batchSize", "0", "from 1 to"),
        ("batchSize", "-4", "from 1 to"),
        ("batchSize", "1.5", "from 1 to"),
        ("batchSize", "99999999999999999999999999", "from 1 to"),
        ("contextLength", "-1", "from 1 to 100000000"),
        ("contextLength", "1e30", "from 1 to 100000000"),
        ("parameters", "-7B", "from 1 to 1e15"),
        ("parameters", "'1e400'", "from 1 to 1e15"),
        ("parameters", "'NaN'", "from 1 to 1e15"),
        ("engine.memoryFraction", "1.5", "above 0 and at most 1"),
        ("parallelism.tensor", "0", "from 1 to"),
        ("model", "''", "must not be empty"),
        ("model", "[a]", "not a list"),
        ("config", "text", "must be an object"),
    ] {
        let (yaml, key) = match field.split_once('.') {
            Some((group, name)) => (format!("{group}: {{{name}: {value}}}"), field),
            None => (format!("{field}: {value}"), field),
        };
        let text = problem(&[("spec", &yaml)]);
        assert!(text.starts_with(&format!("vramguard.io/spec: {key}: ")) && text.contains(range), "{text}");
    }
    for value in ["1e400", ".nan", ".inf"] {
        let text = problem(&[("spec", &format!("task: inference\nparameters: {value}"))]);
        assert!(text.contains("parameters") || text.contains("line 2"), "{text}");
    }
}

#[test]
fn one_field_given_twice_must_have_one_value() {
    assert!(read_all(&[("spec", "contextLength: 4096"), ("context-length", "4k")]).is_ok());
    let text = problem(&[("spec", "contextLength: 4096"), ("context-length", "8k")]);
    assert!(text.contains("vramguard.io/context-length: contradicts `vramguard.io/spec: contextLength`"), "{text}");
    let text = problem(&[("tensor-parallel", "2"), ("parallelism-tensor", "2")]);
    assert!(text.contains("a second time"), "{text}");
    let text = problem(&[("spec", "model: a\nmodel: b\n")]);
    assert!(text.contains("line 2") && text.contains("duplicate"), "{text}");
}

#[test]
fn a_malformed_block_says_where() {
    let text = problem(&[("spec", "model: m\ncontextLength: [1\n")]);
    assert!(text.starts_with("vramguard.io/spec: line "), "{text}");
    assert!(problem(&[("spec", "just text")]).contains("must be an object such as"));
    assert!(problem(&[("spec", "[]")]).contains("must be an object such as"));
    assert!(problem(&[("spec", &"x".repeat(LARGEST_BLOCK + 1))]).contains("longer than 256 KiB"));
    assert_eq!(read_all(&[("spec", "")]).unwrap(), Declaration::default());
}

#[test]
fn what_vramguard_writes_is_no_declaration() {
    let written: Annotations =
        [(ESTIMATE, "{}"), (VERDICT, "FITS"), (RIGHTSIZED, "x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert!(!describes_workload(&written));
    let mut draft = Draft::default();
    read(&written, &mut draft).unwrap();
    assert_eq!(draft.finish(), Declaration::default());
}

#[test]
fn control_keys_are_read() {
    let found = read_all(&[("mode", "warn"), ("exempt-reason", "tested"), ("rightsize", "steer, gpus")]).unwrap();
    assert_eq!(found.mode, Some(Mode::Warn));
    assert_eq!(found.exempt_reason.as_deref(), Some("tested"));
    assert_eq!(found.rightsize, ["steer", "gpus"]);
    assert_eq!(read_all(&[("method", "reference")]).unwrap().method, Method::Reference);
}

#[test]
fn a_name_keeps_a_given_shape_as_fallback_and_a_config_beats_a_name() {
    let found = read_all(&[("model", "me/mine"), ("parameters", "7B"), ("layers", "32")]).unwrap();
    assert_eq!(found.model, Some(ModelReference::Name("me/mine".into())));
    assert!(matches!(found.fallback, Some(ModelReference::Shape { layers: Some(32), .. })));
    let found = read_all(&[("spec", "model: me/mine\nconfig: {hidden_size: 64}")]).unwrap();
    assert_eq!(found.model, Some(ModelReference::Config(json!({"hidden_size": 64}))));
    assert_eq!(found.model_name.as_deref(), Some("me/mine"));
    assert_eq!(read_all(&[("config", "{\"hidden_size\": 64}")]).unwrap().model, found.model);
}

#[test]
fn qlora_follows_from_a_four_bit_base() {
    let found = read_all(&[("spec", "quantization: nf4\ntraining: {lora: {rank: 8}}")]).unwrap();
    assert!(found.training.lora.unwrap().quantized_base);
}

proptest! {
    #[test]
    fn arbitrary_annotations_never_panic(pairs in proptest::collection::btree_map("[a-z-]{0,16}", "(?s).{0,40}", 0..5)) {
        let map: Annotations = pairs.into_iter().map(|(k, v)| (format!("{PREFIX}{k}"), v)).collect();
        let mut draft = Draft::default();
        let _ = read_control(&map, &mut draft);
        let _ = read(&map, &mut draft);
    }

    #[test]
    fn arbitrary_values_of_known_fields_never_panic(index in 0..FIELDS.len(), text in ".{0,30}") {
        let key = format!("{PREFIX}{}", to_kebab(FIELDS[index].path));
        let map = Annotations::from([(key, text)]);
        let mut draft = Draft::default();
        if let Err(error) = read(&map, &mut draft) {
            prop_assert!(error.location.starts_with(PREFIX));
        }
    }
}
