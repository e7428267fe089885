use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::estimate::Bytes;

fn llama(layers: u64) -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": layers, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16",
    })
}

fn profile(namespace: Option<&str>, name: &str, spec: &Value) -> Arc<Profile> {
    Arc::new(Profile::of(namespace.map(str::to_owned), name.to_owned(), spec))
}

fn problem(spec: &Value) -> String {
    profile(None, "p", spec).facts.clone().unwrap_err()
}

#[test]
fn a_config_with_a_quantization_a_size_and_a_measurement_is_read() {
    let spec = json!({
        "config": llama(32), "quantization": "awq", "checkpointBytes": "3700Mi",
        "measured": {"requiredBytes": "9Gi", "contextLength": 4096},
    });
    let facts = profile(Some("team"), "llm", &spec).facts.clone().unwrap();
    let ModelFacts::Known(model) = facts.model else { panic!("{facts:?}") };
    assert_eq!(model.quantization.as_ref().unwrap().name, "awq");
    assert_eq!(model.checkpoint_bytes.map(|known| known.total), Some(3700 << 20));
    let measured = model.measured.unwrap();
    assert_eq!((measured.required, measured.gpus, measured.batch_size), (Bytes(9 << 30), 1, 1));
}

#[test]
fn a_shape_is_read_as_in_annotations() {
    let spec = json!({"parameters": "6.74B", "layers": 32, "hiddenSize": 4096, "heads": 32, "headDim": 128});
    let read = profile(None, "p", &spec);
    assert_eq!(read.status(Some(3)).parameters, Some(6_740_000_000));
    assert_eq!(read.status(Some(3)).observed_generation, Some(3));
    assert!(profile(None, "p", &json!({"parameters": 6_740_000_000_u64})).facts.is_ok());
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let cases = [
        (json!({}), "give config"),
        (json!({"config": llama(2), "parameters": "7B"}), "not both"),
        (json!({"config": {"model_type": "llama"}}), "spec.config: "),
        (json!({"config": llama(32), "checkpointBytes": "14Ti"}), "spec.checkpointBytes: "),
        (json!({"config": llama(32), "checkpointBytes": 0}), "more than 0"),
        (json!({"config": llama(2), "quantization": "awq2"}), "spec.quantization: `awq2`"),
        (json!({"config": llama(2), "layers": 3}), "without a config"),
        (json!({"parameters": "many"}), "spec.parameters: `many`"),
        (json!({"parameters": "7B", "measured": {"requiredBytes": 1, "contextLength": 1}}), "give config"),
        (json!({"config": llama(32), "measured": {"requiredBytes": "9Mi", "contextLength": 1}}), "cannot hold"),
        (json!({"config": llama(32), "measured": {"requiredBytes": "9Gi"}}), "contextLength"),
        (json!({"config": llama(2), "alias": ["x"]}), "unknown field `alias`"),
        (json!({"config": llama(2), "checkpointBytes": 1.5}), "a whole number or a text"),
    ];
    for (spec, words) in cases {
        assert!(problem(&spec).contains(words), "{spec}: {}", problem(&spec));
    }
}

#[test]
fn a_profile_that_cannot_be_used_still_has_its_names() {
    let all = Profiles::new([profile(None, "p", &json!({"aliases": ["org/llm"], "layers": "x"}))]);
    assert!(all.of_model("team", "org/llm").unwrap().facts.is_err());
    assert!(all.named("team", "p").is_some());
}

#[test]
fn a_namespace_comes_before_the_cluster_and_no_other_is_looked_at() {
    let spec = |alias: &str| json!({"aliases": [alias], "config": llama(2)});
    let all = Profiles::new([
        profile(None, "llm", &spec("org/llm")),
        profile(Some("team"), "llm", &spec("org/llm")),
        profile(Some("other"), "llm", &spec("org/secret")),
    ]);
    assert_eq!(all.len(), 3);
    let found = |namespace: &str, name: &str| all.of_model(namespace, name).map(|found| found.title());
    assert_eq!(found("team", "org/llm").unwrap(), "ModelProfile team/llm");
    assert_eq!(found("third", "org/llm").unwrap(), "ClusterModelProfile llm");
    assert_eq!(found("team", "org/secret"), None);
    assert_eq!(all.named("team", "llm").unwrap().title(), "ModelProfile team/llm");
    assert_eq!(all.named("", "llm").unwrap().title(), "ClusterModelProfile llm");
}

#[test]
fn references_match_in_the_ways_that_they_are_written() {
    let spec = json!({"aliases": ["Org/LLM", "/models/LLM/", "oci://reg.example/LLM:1"], "config": llama(2)});
    let all = Profiles::new([profile(Some(""), "llm", &spec)]);
    for name in ["org/llm", "Org/LLM", "hf://Org/LLM", " org/llm ", "/models/LLM", "oci://reg.example/LLM:1"] {
        assert!(all.of_model("default", name).is_some(), "{name}");
    }
    for name in ["/models/llm", "/models/LLM/x", "llm", "oci://reg.example/llm:1", "oci://reg.example/LLM:2", ""] {
        assert!(all.of_model("default", name).is_none(), "{name}");
    }
}

#[test]
fn of_two_with_one_alias_the_first_by_name_has_it() {
    let spec = |layers| json!({"aliases": ["llm"], "config": llama(layers)});
    let (a, b) = (profile(Some("t"), "a", &spec(2)), profile(Some("t"), "b", &spec(3)));
    for order in [[&a, &b], [&b, &a]] {
        let all = Profiles::new(order.map(Arc::clone));
        assert_eq!(all.of_model("t", "llm").unwrap().name, "a");
    }
}

#[test]
fn objects_of_both_kinds_are_recognised() {
    let object = |kind: &str| {
        json!({"apiVersion": "vramguard.io/v1", "kind": kind, "metadata": {"name": "m", "namespace": "t"},
               "spec": {"config": llama(2)}})
    };
    assert_eq!(Profile::read(&object("ModelProfile")).namespace.as_deref(), Some("t"));
    assert_eq!(Profile::read(&object("ClusterModelProfile")).namespace, None);
    assert!(Profile::is_one(&object("ModelProfile")) && !Profile::is_one(&object("Pod")));
    let foreign = json!({"apiVersion": "example.com/v1", "kind": "ModelProfile"});
    assert!(!Profile::is_one(&foreign));
}
