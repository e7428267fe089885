//! Certificates: versions, reload, and what must not replace a good one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::version::{TLS12, TLS13};
use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::spec::nodes::inventory;
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::tls::Certificate;

use crate::client::{Connection, trusting};
use crate::server::{TestServer, nodes};

/// A certificate that is its own authority.
fn write_pair(dir: &Path) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
    certificate.pem().into_bytes()
}

#[test]
fn tls_1_3_and_1_2_are_spoken() {
    let server = TestServer::start();
    let authority = std::fs::read(server.dir().join("ca.pem")).unwrap();
    for version in [&TLS13, &TLS12] {
        let mut connection = Connection::open(server.webhook, &trusting(&authority, &[version])).unwrap();
        assert_eq!(connection.get("/livez").status, 200, "{version:?}");
    }
}

#[test]
fn a_new_certificate_is_served_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = write_pair(dir.path());
    let source = CertificateSource::Files { certificate: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
    let certificate = Certificate::load(&source).unwrap();
    let cluster = Cluster::fixed(inventory(nodes()), BTreeMap::new());
    let policy = PolicyFile::fixed(Policy::default());
    let app = Arc::new(App::new(Metrics::new().unwrap(), policy, cluster, certificate));
    let files = dir.path().to_owned();
    let server = TestServer::serving(Arc::clone(&app), first.clone(), dir);
    server.runtime.spawn(async move { app.certificate.follow_every(Duration::from_millis(20)).await });

    // A connection from before keeps working throughout.
    let mut old = server.connect();
    assert_eq!(old.get("/livez").status, 200);

    std::fs::write(files.join("tls.crt"), "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.connect().get("/livez").status, 200, "the old certificate is still served");

    let second = write_pair(&files);
    let trust = trusting(&second, &[&TLS13, &TLS12]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Connection::open(server.webhook, &trust).is_err() {
        assert!(Instant::now() < deadline, "the new certificate never came");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(old.get("/livez").status, 200);
    assert!(Connection::open(server.webhook, &trusting(&first, &[&TLS13])).is_err(), "the first certificate is gone");
}
