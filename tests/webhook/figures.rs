//! Figures of what runs, from the pods of the cluster to the page of metrics.

use std::sync::Arc;

use serde_json::{Value, json};
use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::tls::Certificate;

use crate::fake_api::{FakeApi, wait_for};
use crate::server::TestServer;

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n", "resourceVersion": "2", "labels": {
            "nvidia.com/gpu.product": "NVIDIA-L40S", "nvidia.com/gpu.memory": "46068"}},
        "status": {"allocatable": {"nvidia.com/gpu": "4"}}
    })
}

/// A running pod of a Deployment that serves 3 billion parameters.
fn pod(name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "ml", "resourceVersion": "2", "labels": {"pod-template-hash": "abc"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{deployment}-abc"),
                "uid": "u", "controller": true}],
            "annotations": {
                "vramguard.io/task": "inference", "vramguard.io/parameters": "3B", "vramguard.io/layers": "32",
                "vramguard.io/hidden-size": "4096", "vramguard.io/heads": "32", "vramguard.io/head-dim": "128",
                "vramguard.io/dtype": "fp16", "vramguard.io/context-length": "4096", "vramguard.io/batch-size": "1"
            }
        },
        "spec": {"nodeName": "n", "containers": [{"name": "serve", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    })
}

fn following(api: &FakeApi) -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let certificate = Certificate::load(&CertificateSource::SelfSigned { ca_out: Some(ca.clone()) }).unwrap();
    let policy = PolicyFile::fixed(Policy::default());
    let app = Arc::new(App::new(Metrics::new().unwrap(), policy, Cluster::default(), certificate));
    let server = TestServer::serving(Arc::clone(&app), std::fs::read(ca).unwrap(), dir);
    let client = {
        let _inside = server.runtime.enter();
        api.client()
    };
    server.runtime.spawn(async move { app.follow(client).await });
    server
}

/// Series of a family of a workload.
fn series(page: &str, family: &str, workload: &str) -> Vec<f64> {
    page.lines()
        .filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(&format!("workload=\"{workload}\"")))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_workload_has_series_while_one_of_its_pods_runs() {
    let api = FakeApi::default();
    api.set("nodes", vec![node()]);
    api.set("pods", vec![pod("llm-abc-1", "llm"), pod("llm-abc-2", "llm")]);
    let server = following(&api);
    wait_for(|| series(&server.scrape(), "vramguard_workload_headroom_bytes", "llm").len() == 1);

    let page = server.scrape();
    for family in ["required", "wanted", "reserved"] {
        let bounds = series(&page, &format!("vramguard_workload_{family}_bytes"), "llm");
        assert_eq!(bounds.len(), 3, "low, likely and high of {family}: {page}");
        assert!(bounds.iter().all(|&bytes| bytes > 5e9 && bytes < 20e9), "{bounds:?}");
    }
    assert!(series(&page, "vramguard_workload_headroom_bytes", "llm")[0] > 20e9, "{page}");
    assert!(page.contains("namespace=\"ml\"") && page.contains("container=\"serve\""), "{page}");

    api.send("pods", "DELETED", &pod("llm-abc-1", "llm"));
    api.send("pods", "ADDED", &pod("other-abc-1", "other"));
    wait_for(|| !series(&server.scrape(), "vramguard_workload_required_bytes", "other").is_empty());
    assert!(!series(&server.scrape(), "vramguard_workload_required_bytes", "llm").is_empty(), "one pod is left");

    api.send("pods", "DELETED", &pod("llm-abc-2", "llm"));
    wait_for(|| series(&server.scrape(), "vramguard_workload_required_bytes", "llm").is_empty());
}

#[test]
fn capacity_that_changes_changes_the_headroom() {
    let api = FakeApi::default();
    api.set("nodes", vec![node()]);
    api.set("pods", vec![pod("llm-abc-1", "llm")]);
    let server = following(&api);
    let headroom = || series(&server.scrape(), "vramguard_workload_headroom_bytes", "llm").first().copied();
    wait_for(|| headroom().is_some());
    let before = headroom().unwrap();
    let mut smaller = node();
    smaller["metadata"]["labels"] = json!({"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360"});
    api.send("nodes", "MODIFIED", &smaller);
    wait_for(|| headroom().is_some_and(|now| now < before - 25e9));
}

#[test]
fn workloads_beyond_the_limit_have_no_series_and_are_counted() {
    let api = FakeApi::default();
    api.set("nodes", vec![node()]);
    api.set("pods", (0..1002).map(|i| pod(&format!("p{i:04}-abc-1"), &format!("p{i:04}"))).collect());
    let server = following(&api);
    let dropped = |page: &str| {
        let line = page.lines().find(|line| line.starts_with("vramguard_workload_series_dropped_total")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    wait_for(|| dropped(&server.scrape()) >= 2);
    let page = server.scrape();
    assert_eq!(page.lines().filter(|line| line.starts_with("vramguard_workload_headroom_bytes{")).count(), 1000);
    assert!(series(&page, "vramguard_workload_headroom_bytes", "p1001").is_empty());
}
