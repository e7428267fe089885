//! Watches against an API server of our own making: changes arrive, bad objects are left out, breaks heal.

use std::sync::Arc;

use serde_json::{Value, json};
use vramguard::cluster::Cluster;
use vramguard::telemetry::Metrics;

use crate::fake_api::{FakeApi, wait_for};

fn node(name: &str, gpus: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "resourceVersion": "2", "labels": {"nvidia.com/gpu.memory": "81559"}},
        "status": {"allocatable": {"nvidia.com/gpu": gpus.to_string()}, "images": [{"names": ["large"]}]}
    })
}

fn namespace(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "resourceVersion": "2", "labels": {"vramguard.io/mode": mode}}})
}

pub(crate) struct Watched {
    pub(crate) api: FakeApi,
    pub(crate) cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn watched(api: FakeApi) -> Watched {
    following(api, Cluster::default())
}

fn following(api: FakeApi, cluster: Cluster) -> Watched {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (cluster, metrics) = (Arc::new(cluster), Arc::new(Metrics::new().unwrap()));
    let client = {
        let _inside = runtime.enter();
        api.client()
    };
    let (followed, observer) = (Arc::clone(&cluster), Arc::clone(&metrics));
    runtime.spawn(async move { followed.follow(client, observer.as_ref()).await });
    Watched { api, cluster, metrics, _runtime: runtime }
}

impl Watched {
    fn gpus(&self) -> u64 {
        let snapshot = self.cluster.snapshot();
        snapshot
            .inventory
            .classes
            .iter()
            .map(|c| c.members.len() as u64 * c.gpus.iter().map(|g| g.1).sum::<u64>())
            .sum()
    }

    fn text(&self) -> String {
        String::from_utf8(self.metrics.render(&[]).unwrap()).unwrap()
    }
}

#[test]
fn nothing_is_known_before_every_list_is_complete() {
    let watched = watched(FakeApi::default());
    assert!(watched.cluster.snapshot().known_inventory().is_none());
    wait_for(|| watched.cluster.status().iter().all(|cache| cache.problem().is_none()));
    assert_eq!(watched.cluster.snapshot().known_inventory().map(|inventory| inventory.nodes), Some(0));
}

#[test]
fn a_node_that_comes_changes_or_goes_changes_the_inventory() {
    let api = FakeApi::default();
    api.set("nodes", vec![node("a", 1)]);
    let watched = watched(api);
    wait_for(|| watched.gpus() == 1);
    let generation = watched.cluster.snapshot().generation;
    watched.api.send("nodes", "ADDED", &node("b", 8));
    wait_for(|| watched.gpus() == 9);
    watched.api.send("nodes", "MODIFIED", &node("b", 4));
    wait_for(|| watched.gpus() == 5);
    watched.api.send("nodes", "DELETED", &node("b", 4));
    wait_for(|| watched.gpus() == 1);
    assert_eq!(watched.cluster.snapshot().generation, generation + 3);
}

#[test]
fn a_heartbeat_costs_no_rebuild() {
    let api = FakeApi::default();
    api.set("nodes", vec![node("a", 1)]);
    let watched = watched(api);
    wait_for(|| watched.gpus() == 1);
    let generation = watched.cluster.snapshot().generation;
    let mut beat = node("a", 1);
    beat["status"]["conditions"] = json!([{"type": "Ready", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]);
    watched.api.send("nodes", "MODIFIED", &beat);
    watched.api.send("namespaces", "ADDED", &namespace("ml", "warn"));
    wait_for(|| watched.cluster.snapshot().namespace_modes.contains_key("ml"));
    assert_eq!(watched.cluster.snapshot().generation, generation + 1, "one for the namespace, none for the heartbeat");
}

#[test]
fn a_namespace_label_is_known_and_forgotten() {
    let watched = watched(FakeApi::default());
    watched.api.send("namespaces", "ADDED", &namespace("ml", "audit"));
    wait_for(|| watched.cluster.snapshot().namespace_modes.get("ml").is_some_and(|mode| mode == "audit"));
    watched.api.send("namespaces", "DELETED", &namespace("ml", "audit"));
    wait_for(|| watched.cluster.snapshot().namespace_modes.is_empty());
}

#[test]
fn a_bad_object_is_left_out_and_the_watch_goes_on() {
    let api = FakeApi::default();
    let mut bad = node("bad", 1);
    bad["spec"] = json!({"taints": "none"});
    api.set("nodes", vec![bad.clone(), node("a", 1)]);
    let watched = watched(api);
    wait_for(|| watched.gpus() == 1);
    watched.api.send("nodes", "MODIFIED", &bad);
    watched.api.send("nodes", "ADDED", &node("b", 2));
    wait_for(|| watched.gpus() == 3);
    assert_eq!(watched.api.lists("nodes"), 1, "the watch was not started again");
    assert!(watched.text().contains("vramguard_cache_bad_objects_total{cache=\"nodes\"} 2"), "{}", watched.text());
}

#[test]
fn only_gpu_pods_are_kept() {
    let pod = |name: &str, gpus: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ml", "resourceVersion": "2"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}]}})
    };
    let api = FakeApi::default();
    api.set("pods", vec![pod("web", "0"), pod("llm", "1")]);
    let watched = watched(api);
    wait_for(|| watched.cluster.pods().len() == 1);
    assert_eq!(watched.cluster.pods()[0].workload, "llm");
    watched.api.send("pods", "DELETED", &pod("llm", "1"));
    wait_for(|| watched.cluster.pods().is_empty());
}

#[test]
fn an_error_in_the_watch_leads_to_a_new_list() {
    let api = FakeApi::default();
    api.set("nodes", vec![node("a", 1)]);
    let watched = watched(api);
    wait_for(|| watched.gpus() == 1);
    watched.api.set("nodes", vec![node("a", 1), node("b", 2)]);
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"});
    watched.api.send("nodes", "ERROR", &gone);
    wait_for(|| watched.gpus() == 3);
    // The end of a watch is everyday: it is resumed where it was.
    watched.api.hang_up("nodes");
    watched.api.send("nodes", "ADDED", &node("c", 4));
    wait_for(|| watched.gpus() == 7);
}

#[test]
fn config_maps_are_watched_only_where_that_is_allowed() {
    let map = |text: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a.json": text, "large": "x".repeat(70_000)},
            "metadata": {"name": "m", "namespace": "ml", "resourceVersion": "2"}})
    };
    let pod: vramguard::spec::PodTemplate = serde_json::from_value(json!({
        "metadata": {"namespace": "ml"},
        "spec": {
            "containers": [{
                "name": "c", "command": ["deepspeed", "t.py", "--gradient_checkpointing", "--deepspeed", "/c/a.json"],
                "volumeMounts": [{"name": "v", "mountPath": "/c"}], "resources": {"limits": {"nvidia.com/gpu": "2"}},
            }],
            "volumes": [{"name": "v", "configMap": {"name": "m"}}],
        },
    }))
    .unwrap();
    let sharding = |watched: &Watched| {
        let maps = watched.cluster.config_maps();
        let declared = vramguard::spec::declare_with(&pod, maps.as_deref()).remove(0).unwrap();
        declared.training.sharding.map(vramguard::estimate::workload::Sharding::name)
    };
    let zero = |stage: u64| map(&json!({"zero_optimization": {"stage": stage}}).to_string());
    let api = FakeApi::default();
    api.set("configmaps", vec![zero(2)]);
    let reading = following(api.clone(), Cluster::with_config_maps());
    wait_for(|| sharding(&reading) == Some("zero2"));
    reading.api.send("configmaps", "MODIFIED", &zero(3));
    wait_for(|| sharding(&reading) == Some("zero3"));
    let usual = watched(FakeApi::default());
    wait_for(|| usual.cluster.status().iter().all(|cache| cache.problem().is_none()));
    assert_eq!((sharding(&usual), usual.api.lists("configmaps")), (None, 0));
}
