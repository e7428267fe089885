//! Training manifests as people write them, after each tool's public examples, and what is read from them.

use crate::spec::declaration::{Declaration, ModelReference};
use crate::spec::files::ConfigMaps;
use crate::spec::{declare_with, kinds, yaml};

mod configs;
mod hf;
mod megatron;
mod native;
mod wrong;

/// What the first template of some documents declares; ConfigMaps among them are known.
fn manifest(text: &str) -> Declaration {
    let documents: Vec<_> = yaml::documents(text).unwrap().into_iter().map(|document| document.value).collect();
    let mut maps = ConfigMaps::default();
    for document in &documents {
        maps.collect(document);
    }
    let template =
        documents.iter().find_map(|document| kinds::templates(document).unwrap().into_iter().next()).unwrap();
    declare_with(&template.pod, Some(&maps)).remove(0).unwrap()
}

/// What a Job with a script declares.
fn script(script: &str, gpus: u64) -> Declaration {
    job(script, gpus, "", "")
}

/// As [`script`], with more of the container and more documents.
fn job(script: &str, gpus: u64, container: &str, documents: &str) -> Declaration {
    let script = serde_json::to_string(script).unwrap();
    manifest(&format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: j}}, spec: {{template: {{spec: {{\
         containers: [{{name: train, image: x, command: [bash, -c, {script}], {container}\
         resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}], volumes: [{{name: conf, configMap: {{name: conf}}}}]}}}}}}}}\n{documents}"
    ))
}

/// A Job whose script reads a file of a ConfigMap in `/conf`.
fn with_config(script: &str, gpus: u64, file: &str, text: &str) -> Declaration {
    let data = serde_json::json!({file: text});
    let map = format!("---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: conf}}, data: {data}}}");
    job(script, gpus, "volumeMounts: [{name: conf, mountPath: /conf}],", &map)
}

fn model(declaration: &Declaration) -> &str {
    match &declaration.model {
        Some(ModelReference::Name(name)) => name,
        _ => "",
    }
}

/// Everything was read.
fn sure(declaration: &Declaration) {
    assert!(declaration.unread.is_empty() && declaration.unknown_fields.is_empty(), "{declaration:#?}");
}
