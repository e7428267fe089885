//! Watches of model profiles: there or not, changed, withdrawn, and what is written about them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, wait_for};
use crate::watch::{Watched, watched};

const KIND: &str = "modelprofiles";

fn profile(layers: u64, generation: i64) -> Value {
    json!({
        "apiVersion": "vramguard.io/v1", "kind": "ModelProfile",
        "metadata": {"name": "llm", "namespace": "team", "resourceVersion": "2", "generation": generation},
        "spec": {"aliases": ["acme/llm"], "config": {
            "model_type": "llama", "hidden_size": 1024, "num_hidden_layers": layers, "num_attention_heads": 8,
            "intermediate_size": 4096, "vocab_size": 32000,
        }},
    })
}

fn installed(objects: Vec<Value>) -> Watched {
    let api = FakeApi::default();
    api.set(KIND, objects);
    api.set("clustermodelprofiles", Vec::new());
    watched(api)
}

fn parameters(watched: &Watched) -> Option<u64> {
    let snapshot = watched.cluster.snapshot();
    snapshot.profiles.of_model("team", "acme/llm").and_then(|profile| profile.status(None).parameters)
}

#[test]
fn a_cluster_without_the_kinds_is_ready_and_has_no_profiles() {
    let watched = watched(FakeApi::default());
    wait_for(|| watched.cluster.status().iter().all(|cache| cache.problem().is_none()));
    assert!(watched.cluster.snapshot().profiles.is_empty());
    // Absence is an answer, so it is not asked again at once.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(watched.api.lists(KIND), 0, "only what is installed is counted");
    assert!(watched.cluster.status().iter().all(|cache| cache.age == Some(Duration::ZERO)));
}

#[test]
fn an_update_and_a_deletion_change_what_is_known() {
    let watched = installed(vec![profile(2, 1)]);
    wait_for(|| parameters(&watched).is_some());
    let before = parameters(&watched).unwrap();
    watched.api.send(KIND, "MODIFIED", &profile(4, 2));
    wait_for(|| parameters(&watched).is_some_and(|now| now > before));
    watched.api.send(KIND, "DELETED", &profile(4, 2));
    wait_for(|| parameters(&watched).is_none());
}

#[test]
fn the_status_says_what_became_of_the_profile_once() {
    let watched = installed(vec![profile(2, 1)]);
    wait_for(|| watched.api.statuses().len() == 1);
    let (whose, status) = watched.api.statuses().remove(0);
    assert_eq!(whose, "team/llm");
    assert_eq!(status["architecture"], "llama");
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["parameters"].as_u64(), parameters(&watched));

    // An answer that never arrives is no reason to write the same again; a status that is right is not touched.
    watched.api.send(KIND, "MODIFIED", &profile(2, 1));
    let mut right = profile(2, 1);
    right["status"] = status;
    watched.api.send(KIND, "MODIFIED", &right);
    let mut wrong = profile(2, 2);
    wrong["spec"]["config"]["hidden_size"] = "wide".into();
    watched.api.send(KIND, "MODIFIED", &wrong);
    wait_for(|| watched.api.statuses().len() > 1);
    let (_, status) = watched.api.statuses().remove(1);
    assert!(status["problem"].as_str().unwrap().starts_with("spec.config: "), "{status}");
    assert_eq!(status["observedGeneration"], 2);
}
