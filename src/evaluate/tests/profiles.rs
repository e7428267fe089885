//! Model facts that users add.

use std::sync::Arc;

use super::*;
use crate::facts::profile::Profile;

/// A config of the size of Llama 2 7B, half precision.
fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16", "max_position_embeddings": 4096,
    })
}

fn profile(name: &str, spec: &Value) -> Arc<Profile> {
    Arc::new(Profile::of(Some("team".to_owned()), name.to_owned(), spec))
}

fn judge_with(specs: &[Value], annotations: &Value, on: (&str, u64, u64)) -> Report {
    let profiles = Profiles::new(specs.iter().enumerate().map(|(n, spec)| profile(&format!("p{n}"), spec)));
    let pod = json!({
        "metadata": {"name": "p", "namespace": "team", "annotations": annotations},
        "spec": {"containers": [{"name": "server", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
    });
    let template: PodTemplate = serde_json::from_value(pod).unwrap();
    let inventory = nodes(&[on]);
    let policy = Policy::default();
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: &profiles,
        source: None,
        inventory: Some(&inventory),
        policy: &policy,
        config_maps: None,
    };
    let asked = PolicyInput { namespace: "team", ..PolicyInput::default() };
    evaluate(&template, &Source::default(), &asked, &environment).remove(0)
}

fn serving(field: &str, model: &str) -> Value {
    json!({ field: model, "vramguard.io/task": "inference", "vramguard.io/batch-size": "4", "vramguard.io/context-length": "4096" })
}

#[test]
fn a_model_that_only_a_profile_knows_is_judged_by_name_alias_and_path() {
    let specs = [json!({"aliases": ["acme/secret-llm", "/models/secret"], "config": config()})];
    let by = |field: &str, model: &str| judge_with(&specs, &serving(field, model), T4);
    for (field, model) in [
        ("vramguard.io/profile", "p0"),
        ("vramguard.io/model", "acme/secret-llm"),
        ("vramguard.io/model", "/models/secret"),
    ] {
        let report = by(field, model);
        assert_eq!(report.verdict, Verdict::TooBig, "{model}: {}", report.message);
        assert!(
            report.notes.iter().any(|note| note.ends_with("comes from ModelProfile team/p0")),
            "{:?}",
            report.notes
        );
    }
    assert_eq!(by("vramguard.io/model", "acme/other").verdict, Verdict::UnknownModel);
    let missing = by("vramguard.io/profile", "p1");
    assert_eq!(missing.verdict, Verdict::UnknownModel);
    assert!(missing.message.contains("no ModelProfile `p1` in namespace team"), "{}", missing.message);
}

#[test]
fn a_profile_comes_before_the_catalogue() {
    let mut small = config();
    small["num_hidden_layers"] = 4.into();
    let specs = [json!({"aliases": ["meta-llama/Llama-2-7b-hf"], "config": small})];
    let annotations = serving("vramguard.io/model", "meta-llama/Llama-2-7b-hf");
    assert_eq!(judge_with(&[], &annotations, T4).verdict, Verdict::TooBig);
    assert_eq!(judge_with(&specs, &annotations, T4).verdict, Verdict::Fits);
}

#[test]
fn a_profile_that_cannot_be_used_says_why_and_hides_nothing() {
    let specs = [json!({"aliases": ["acme/llm"], "config": {"model_type": "llama"}})];
    let report = judge_with(&specs, &serving("vramguard.io/model", "acme/llm"), T4);
    assert_eq!(report.verdict, Verdict::UnknownModel);
    assert!(report.message.contains("ModelProfile team/p0 cannot be used: spec.config: "), "{}", report.message);
}

#[test]
fn a_measurement_overrides_the_estimate_both_ways() {
    let measured = |bytes: &str| {
        let measured = json!({"requiredBytes": bytes, "contextLength": 4096, "batchSize": 4});
        [json!({"aliases": ["acme/llm"], "config": config(), "measured": measured})]
    };
    let verdict =
        |bytes: &str, on| judge_with(&measured(bytes), &serving("vramguard.io/model", "acme/llm"), on).verdict;
    assert_eq!(verdict("14Gi", A10), Verdict::Fits);
    assert_eq!(verdict("30Gi", A10), Verdict::TooBig);
    assert_eq!(verdict("30Gi", L40S), Verdict::Fits);
}

#[test]
fn a_known_checkpoint_size_takes_the_place_of_the_derived_one() {
    let with = |bytes: &str| {
        let specs = [json!({"aliases": ["acme/llm"], "config": config(), "checkpointBytes": bytes})];
        let report = judge_with(&specs, &serving("vramguard.io/model", "acme/llm"), L40S);
        let terms = report.estimate.unwrap().terms;
        terms.iter().find(|term| term.name == TermName::Weights).unwrap().bytes.likely.gib()
    };
    assert!(
        (with("11Gi") - 11.0).abs() < 0.1 && (with("14Gi") - 14.0).abs() < 0.1,
        "{} {}",
        with("11Gi"),
        with("14Gi")
    );
}

#[test]
fn parameters_and_a_shape_stand_in_for_a_name_that_is_not_known() {
    let spec = "{task: inference, model: acme/unheard-of, parameters: 6.74B, layers: 32, hiddenSize: 4096, heads: 32, \
                headDim: 128, batchSize: 4, contextLength: 4096}";
    let report = judge_with(&[], &json!({"vramguard.io/spec": spec}), T4);
    assert_eq!(report.verdict, Verdict::TooBig, "{}", report.message);
    assert!(report.notes.iter().any(|note| note.contains("stand in")), "{:?}", report.notes);
}

#[test]
fn a_shape_with_a_quantization_is_smaller() {
    let spec = |quantization: &str| {
        json!({"aliases": ["acme/llm"], "parameters": "6.74B", "layers": 32, "hiddenSize": 4096, "heads": 32,
               "headDim": 128, "quantization": quantization})
    };
    let need = |quantization: &str| {
        let report = judge_with(&[spec(quantization)], &serving("vramguard.io/model", "acme/llm"), L40S);
        report.estimate.unwrap().per_gpu.required.likely
    };
    assert!(need("awq").gib() + 5.0 < need("none").gib(), "{} {}", need("awq"), need("none"));
}
