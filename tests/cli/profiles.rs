//! Model profiles among the manifests of `check`.

use super::support::{Folder, Run, check, vramguard};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: chat, namespace: team, annotations: {vramguard.io/context-length: '4096', vramguard.io/batch-size: '4'}}
spec:
  containers:
    - name: chat
      image: example/server
      resources: {limits: {nvidia.com/gpu: 1}}
  nodeSelector: {nvidia.com/gpu.product: Tesla-T4}
  tolerations: [{key: nvidia.com/gpu, operator: Exists}]
";

const PROFILE: &str = "
apiVersion: vramguard.io/v1
kind: ModelProfile
metadata: {name: llm, namespace: team}
spec:
  aliases: [acme/llm]
  config: {model_type: llama, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, intermediate_size: 11008, vocab_size: 32000, torch_dtype: float16}
";

fn pod(annotation: &str) -> String {
    POD.replace("annotations: {", &format!("annotations: {{vramguard.io/task: inference, {annotation}, "))
}

fn verdict(run: &Run) -> String {
    run.json()["results"][0]["verdict"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned()
}

#[test]
fn a_profile_counts_for_workloads_before_and_after_it() {
    let pod = pod("vramguard.io/model: acme/llm");
    assert_eq!(verdict(&check(&pod, "-o json")), "UNKNOWN_MODEL");
    for manifest in [format!("{pod}---{PROFILE}"), format!("{PROFILE}---{pod}")] {
        let run = check(&manifest, "-o json");
        assert_eq!((run.code, verdict(&run).as_str()), (1, "TOO_BIG"), "{run}");
        assert_eq!(run.json()["results"].as_array().unwrap().len(), 1, "a profile is no workload: {run}");
    }
    let folder = Folder::with(&[("a-pod.yaml", &pod), ("b-profile.yaml", PROFILE)]);
    let run = vramguard(&format!("check -f {} --nodes examples/nodes.yaml -o json", folder.path("")));
    assert_eq!(verdict(&run), "TOO_BIG");
}

#[test]
fn a_profile_is_named_by_its_name_in_its_namespace_only() {
    let pod = pod("vramguard.io/profile: llm");
    assert_eq!(verdict(&check(&format!("{pod}---{PROFILE}"), "-o json")), "TOO_BIG");
    let elsewhere = PROFILE.replace("namespace: team", "namespace: other");
    assert_eq!(verdict(&check(&format!("{pod}---{elsewhere}"), "-o json")), "UNKNOWN_MODEL");
    let cluster = PROFILE.replace("kind: ModelProfile", "kind: ClusterModelProfile").replace(", namespace: team", "");
    assert_eq!(verdict(&check(&format!("{pod}---{cluster}"), "-o json")), "TOO_BIG");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  - {}", cluster.trim().replace('\n', "\n    "));
    assert_eq!(verdict(&check(&format!("{pod}---\n{list}\n"), "-o json")), "TOO_BIG");
}

#[test]
fn a_profile_that_cannot_be_used_is_an_error_with_its_line() {
    let wrong = PROFILE.replace("hidden_size: 4096", "hidden_size: wide");
    let run = check(&format!("{}---{wrong}", pod("vramguard.io/model: acme/llm")), "");
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("ModelProfile team/llm: spec.config: "), "{run}");
    assert!(run.stderr.contains("-:1"), "the line of the document: {run}");
}

#[test]
fn the_example_of_the_documentation_is_a_profile() {
    let page = std::fs::read_to_string(super::support::root().join("docs/models.md")).unwrap();
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let run =
        check(&format!("{}---\n{example}", pod("vramguard.io/model: oci://registry.example/support-llm:3")), "-o json");
    assert_eq!((run.code, verdict(&run).as_str()), (0, "FITS"), "{run}");
    assert!(run.json()["results"][0]["notes"].to_string().contains("ModelProfile team/support-llm"), "{run}");
    assert_eq!(run.json()["results"][0]["estimate"]["terms"][0]["name"], "measured", "{run}");
}
