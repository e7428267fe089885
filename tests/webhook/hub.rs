//! The look-up on a Hub from the server: never on the way of a review.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::facts::hub::{Hub, Settings};
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::tls::Certificate;

use crate::fake_api::{FakeApi, wait_for};
use crate::fake_hub::{Answer, FakeHub, ok, status};
use crate::server::{TestServer, nodes};

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16", "max_position_embeddings": 4096}"#;

fn asking(hub: &FakeHub) -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let certificate = Certificate::load(&CertificateSource::SelfSigned { ca_out: Some(ca.clone()) }).unwrap();
    let policy = PolicyFile::fixed(Policy::default());
    let cluster = Cluster::fixed(vramguard::spec::nodes::inventory(nodes()), BTreeMap::new());
    let settings = Settings { endpoint: hub.url(), ..Settings::default() };
    let app =
        App::new(Metrics::new().unwrap(), policy, cluster, certificate).with_hub(Some(Hub::new(settings).unwrap()));
    let app = Arc::new(app);
    let server = TestServer::serving(Arc::clone(&app), std::fs::read(ca).unwrap(), dir);
    let client = {
        let _inside = server.runtime.enter();
        FakeApi::default().client()
    };
    server.runtime.spawn(async move { app.follow(client).await });
    server
}

fn review(model: &str) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ml", "annotations": {"vramguard.io/model": model, "vramguard.io/task": "inference"}},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "ml", "name": "p", "operation": "CREATE", "object": pod}})
    .to_string()
}

/// What the mutating endpoint writes or the validating one warns of.
fn answer(server: &TestServer, model: &str) -> (Duration, Value) {
    let started = Instant::now();
    let answer = server.post("/validate", &review(model));
    (started.elapsed(), answer.json()["response"].clone())
}

#[test]
fn unknown_now_known_at_the_next_review() {
    let hub = FakeHub::start(|path| match path {
        "/acme/llm/resolve/main/config.json" => ok(CONFIG),
        _ => status("404 Not Found", &[]),
    });
    let server = asking(&hub);
    let (_, first) = answer(&server, "acme/llm");
    assert!(first["allowed"] == true && first.to_string().contains("being looked up on the Hub"), "{first}");
    wait_for(|| !answer(&server, "acme/llm").1.to_string().contains("UNKNOWN_MODEL"));
    answer(&server, "acme/none");
    wait_for(|| answer(&server, "acme/none").1.to_string().contains("no such model"));
    let page = server.scrape();
    for line in ["vramguard_hub_lookups_total{result=\"ok\"} 1", "vramguard_hub_lookups_total{result=\"not_found\"} 1"]
    {
        assert!(page.contains(line), "no {line} in {page}");
    }
}

#[test]
fn a_hub_that_hangs_holds_nobody_up() {
    let hub = FakeHub::start(|_| Answer::Silence);
    let server = asking(&hub);
    for n in 0..100 {
        let (took, response) = answer(&server, &format!("acme/llm{n}"));
        assert!(response["allowed"] == true && took < Duration::from_secs(2), "{took:?}: {response}");
    }
    server.assert_alive();
}
