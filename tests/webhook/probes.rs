//! Probes, metrics, and what is no path of ours.

use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::tls::Certificate;

use crate::server::{TestServer, plain_get, plain_review};

#[test]
fn a_server_with_everything_is_live_and_ready_on_both_ports() {
    let server = TestServer::start();
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.connect().get(path).status, 200, "{path}");
        assert!(plain_get(server.metrics, path).starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn readiness_lists_what_is_missing_and_reviews_are_answered_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let certificate = Certificate::load(&CertificateSource::SelfSigned { ca_out: Some(ca.clone()) }).unwrap();
    let policy = PolicyFile::fixed(Policy::default());
    let app = App::new(Metrics::new().unwrap(), policy, Cluster::default(), certificate);
    let server = TestServer::serving(app, std::fs::read(ca).unwrap(), dir);
    assert_eq!(server.connect().get("/livez").status, 200);
    let ready = server.connect().get("/readyz");
    assert_eq!(ready.status, 503);
    let missing = ready.json()["notReady"].to_string();
    for cache in ["nodes", "namespaces", "pods", "snapshots"] {
        assert!(missing.contains(cache), "{cache} in {missing}");
    }
    server.assert_alive();
}

#[test]
fn decisions_are_counted_and_timed() {
    let server = TestServer::start();
    server.assert_alive();
    let page = server.scrape();
    assert!(page.contains("vramguard_admission_duration_seconds_count{endpoint=\"validate\"} 1"), "{page}");
    assert!(page.contains("verdict=\"NOT_APPLICABLE\"} 1"), "{page}");
    assert!(page.contains("vramguard_build_info{version=\""), "{page}");
    assert!(page.contains("vramguard_gpu_devices{gpu_class=\"Tesla-T4-15GiB\"} 1"), "{page}");
    assert!(page.contains("vramguard_gpu_capacity_bytes{gpu_class=\"NVIDIA-A100-SXM4-80GB-79GiB\"} 8498"), "{page}");
    assert!(page.contains("vramguard_cache_objects{cache=\"nodes\"} 2"), "{page}");
}

#[test]
fn every_documented_gauge_and_no_other_is_served() {
    let server = TestServer::start();
    server.assert_alive();
    let page = server.scrape();
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(vramguard::telemetry::families::ALL.iter().any(|family| family.name == name), "{line}");
    }
}

#[test]
fn wrong_paths_and_methods_are_answered_clearly() {
    let server = TestServer::start();
    let mut connection = server.connect();
    let unknown = connection.get("/metrics");
    assert_eq!((unknown.status, unknown.json()["error"]["reason"].as_str()), (404, Some("not_found")));
    let method = connection.get("/validate");
    assert_eq!(method.status, 405);
    assert!(method.json()["error"]["message"].as_str().unwrap().contains("POST"), "{method:?}");
    let posted = connection.post("/livez", "application/json", plain_review("x").as_bytes()).unwrap();
    assert_eq!(posted.status, 405);
    server.assert_alive();
}
