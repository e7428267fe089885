use super::*;
use crate::estimate::workload::{EngineName, Task};
use crate::spec::declaration::{ModelReference, Origin};

fn pod(metadata: &str, spec: &str) -> PodTemplate {
    serde_json::from_str(&format!(r#"{{"metadata":{metadata},"spec":{spec}}}"#)).unwrap()
}

fn annotated(annotations: &str, spec: &str) -> Vec<Result<Declaration, SpecError>> {
    declare(&pod(&format!(r#"{{"annotations":{annotations}}}"#), spec))
}

fn names(found: &[Result<Declaration, SpecError>]) -> Vec<&str> {
    found.iter().map(|one| one.as_ref().unwrap().container.as_str()).collect()
}

const GPU: &str = r#""resources":{"limits":{"nvidia.com/gpu":1}}"#;
const MODEL: &str = r#"{"vramguard.io/model":"a/b"}"#;

#[test]
fn a_pod_without_gpu_and_annotation_is_none_of_our_business() {
    assert!(annotated("{}", r#"{"containers":[{"name":"c"}]}"#).is_empty());
    let mode_only = r#"{"vramguard.io/mode":"enforce","vramguard.io/verdict":"FITS"}"#;
    assert!(annotated(mode_only, r#"{"containers":[{"name":"c"}]}"#).is_empty());
    assert!(annotated(MODEL, r#"{"containers":[]}"#).is_empty());
}

#[test]
fn containers_with_gpus_matter_and_the_first_has_the_annotations() {
    let spec = format!(
        r#"{{"containers":[{{"name":"proxy"}},{{"name":"a",{GPU}}},{{"name":"b",{GPU}}}],
        "initContainers":[{{"name":"warm",{GPU}}}]}}"#
    );
    let found = annotated(MODEL, &spec);
    assert_eq!(names(&found), ["a", "b", "warm"]);
    let models: Vec<bool> = found.iter().map(|one| one.as_ref().unwrap().model.is_some()).collect();
    assert_eq!(models, [true, false, false]);
    assert!(found[0].as_ref().unwrap().notes[0].contains("3 GPU containers"));
    assert_eq!(found[0].as_ref().unwrap().gpus.as_ref().unwrap().count, 1);
}

#[test]
fn the_named_container_has_the_annotations() {
    let spec = format!(r#"{{"containers":[{{"name":"a",{GPU}}},{{"name":"b",{GPU}}},{{"name":"cpu"}}]}}"#);
    let found = annotated(r#"{"vramguard.io/model":"a/b","vramguard.io/container":"b"}"#, &spec);
    assert_eq!(names(&found), ["a", "b"]);
    assert!(found[0].as_ref().unwrap().model.is_none() && found[1].as_ref().unwrap().model.is_some());
    let found = annotated(r#"{"vramguard.io/model":"a/b","vramguard.io/container":"cpu"}"#, &spec);
    assert_eq!(names(&found), ["cpu", "a", "b"]);
    let error = annotated(r#"{"vramguard.io/container":"c"}"#, &spec).remove(0).unwrap_err().to_string();
    assert_eq!(error, "vramguard.io/container: no container `c`; the pod has: a, b, cpu; did you mean `a`?");
}

#[test]
fn an_annotated_pod_without_gpus_is_its_first_container() {
    assert_eq!(names(&annotated(MODEL, r#"{"containers":[{"name":"x"},{"name":"y"}]}"#)), ["x"]);
}

#[test]
fn a_malformed_annotation_is_the_answer_for_its_container() {
    let found = annotated(r#"{"vramguard.io/batch-size":"0"}"#, &format!(r#"{{"containers":[{{"name":"c",{GPU}}}]}}"#));
    let error = found[0].as_ref().unwrap_err();
    assert_eq!(error.location, "vramguard.io/batch-size");
    assert!(error.problem.contains("from 1 to"));
}

fn vllm(annotations: &str, args: &str) -> Declaration {
    let spec = format!(r#"{{"containers":[{{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":{args},{GPU}}}]}}"#);
    annotated(annotations, &spec).remove(0).unwrap()
}

#[test]
fn annotations_beat_arguments_and_say_so() {
    let found = vllm(r#"{"vramguard.io/context-length":"4096"}"#, r#"["org/m","--max-model-len","8192","-tp","2"]"#);
    assert_eq!((found.context_length, found.parallelism.tensor), (Some(4096), 2));
    assert_eq!(found.origins["contextLength"], Origin::Annotation);
    assert_eq!(found.origins["parallelism.tensor"], Origin::Argument);
    assert_eq!(found.notes, ["contextLength: vramguard.io/context-length (4096) overrides --max-model-len (8192)"]);
    assert!(found.conflicts.is_empty());
    assert_eq!((found.task, found.engine.name), (Some(Task::Inference), EngineName::Vllm));
}

#[test]
fn an_annotation_fills_in_what_an_argument_leaves_unknown() {
    let found = vllm(r#"{"vramguard.io/context-length":"4096"}"#, r#"["org/m","--max-model-len","auto"]"#);
    assert_eq!(found.context_length, Some(4096));
    assert!(found.unknown_fields.is_empty() && found.unread.is_empty(), "{found:?}");
}

#[test]
fn contradicting_facts_are_conflicts() {
    let args = r#"["meta-llama/Llama-2-70b-hf","--tensor-parallel-size","4"]"#;
    let found = vllm(r#"{"vramguard.io/model":"meta-llama/Llama-2-7b-hf","vramguard.io/tensor-parallel":"2"}"#, args);
    assert_eq!(found.model, Some(ModelReference::Name("meta-llama/Llama-2-7b-hf".into())));
    assert_eq!(found.argument_model.as_deref(), Some("meta-llama/Llama-2-70b-hf"));
    assert_eq!(found.conflicts, ["vramguard.io/tensor-parallel says 2, --tensor-parallel-size says 4"]);
    let path = vllm(MODEL, r#"["--model","/mnt/models"]"#);
    assert!(path.conflicts.is_empty(), "a path names no model");
    assert_eq!(path.model, Some(ModelReference::Name("a/b".into())));
    let engine = vllm(r#"{"vramguard.io/engine":"sglang"}"#, r#"["org/m"]"#);
    assert!(engine.conflicts.is_empty(), "an image is no argument");
}

#[test]
fn control_annotations_reach_every_container() {
    let spec = format!(r#"{{"containers":[{{"name":"a",{GPU}}},{{"name":"b",{GPU}}}]}}"#);
    for one in annotated(r#"{"vramguard.io/mode":"warn","vramguard.io/rightsize":"gpus"}"#, &spec) {
        let one = one.unwrap();
        assert_eq!((one.mode, one.rightsize), (Some(crate::decide::Mode::Warn), vec!["gpus"]));
    }
}

#[test]
fn a_folder_holds_what_an_init_container_fetched() {
    let spec = |model: &str| {
        format!(
            r#"{{"initContainers":[{{"name":"get","args":["hf://Qwen/Qwen3-8B","/mnt/models"]}}],
            "containers":[{{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":["--model={model}"],{GPU}}}]}}"#
        )
    };
    let named = |model: &str| {
        let declaration = annotated("{}", &spec(model)).remove(0).unwrap();
        match declaration.model {
            Some(ModelReference::Name(name)) => (name, declaration.notes.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(named("/mnt/models"), ("Qwen/Qwen3-8B".to_owned(), 1));
    assert_eq!(named("meta-llama/Llama-3.1-8B"), ("meta-llama/Llama-3.1-8B".to_owned(), 0));
}

#[test]
fn variables_of_known_config_maps_are_read() {
    let pod = |env: &str| -> PodTemplate {
        let spec = format!(
            r#"{{"containers":[{{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":["--model=$(MODEL)"],{env},{GPU}}}]}}"#
        );
        serde_json::from_str(&format!(r#"{{"metadata":{{"namespace":"n"}},"spec":{spec}}}"#)).unwrap()
    };
    let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"},
        "data": {"MODEL": "org/whole", "KEY": "org/key", "DEL": "org/prefixed"}});
    let mut maps = ConfigMaps::default();
    maps.collect(&map);
    let named = |env: &str, maps: Option<&ConfigMaps>| {
        let declaration = declare_with(&pod(env), maps).remove(0).unwrap();
        match declaration.model {
            Some(ModelReference::Name(name)) => Some(name),
            _ => None,
        }
    };
    let key = r#""env":[{"name":"MODEL","valueFrom":{"configMapKeyRef":{"name":"m","key":"KEY"}}}]"#;
    let whole = r#""envFrom":[{"configMapRef":{"name":"m"}}]"#;
    let prefixed = r#""envFrom":[{"prefix":"MO","configMapRef":{"name":"m"}}]"#;
    let secret = r#""env":[{"name":"MODEL","valueFrom":{"secretKeyRef":{"name":"m","key":"KEY"}}}]"#;
    assert_eq!(named(key, Some(&maps)).as_deref(), Some("org/key"));
    assert_eq!(named(whole, Some(&maps)).as_deref(), Some("org/whole"));
    assert_eq!(named(prefixed, Some(&maps)).as_deref(), Some("org/prefixed"));
    for (env, maps) in [(secret, Some(&maps)), (key, None), (whole, None)] {
        assert_eq!(named(env, maps), None, "{env}");
    }
}

#[test]
fn the_size_of_a_group_is_a_variable() {
    let spec = format!(
        r#"{{"containers":[{{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":["org/m","-pp","$(LWS_GROUP_SIZE)"],{GPU}}}]}}"#
    );
    let found = annotated(r#"{"leaderworkerset.sigs.k8s.io/size":"4"}"#, &spec).remove(0).unwrap();
    assert_eq!((found.parallelism.pipeline, found.spans_pods), (4, true));
}
