//! A server in this process, with a cluster that never changes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::spec::nodes::{NodeView, inventory};
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::server::Server;
use vramguard::webhook::tls::Certificate;

use crate::client::{Answer, Connection, trusting};

pub(crate) struct TestServer {
    pub(crate) runtime: Runtime,
    pub(crate) server: Option<Server>,
    pub(crate) webhook: SocketAddr,
    pub(crate) metrics: SocketAddr,
    authority: Vec<u8>,
    dir: TempDir,
}

/// Two nodes: one GPU of 80 GB, one of 16 GB.
pub(crate) fn nodes() -> Vec<NodeView> {
    let node = |name: &str, product: &str, mib: &str| {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": mib,
                "nvidia.com/gpu.count": "1"
            }},
            "status": {"allocatable": {"nvidia.com/gpu": "1"}}
        }))
        .unwrap()
    };
    vec![node("big", "NVIDIA-A100-SXM4-80GB", "81920"), node("small", "Tesla-T4", "15360")]
}

/// A review of a pod without GPUs: always admitted.
pub(crate) fn plain_review(uid: &str) -> String {
    serde_json::json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": uid, "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default", "name": "p", "operation": "CREATE", "dryRun": false, "userInfo": {"username": "u"},
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]}
            }
        }
    })
    .to_string()
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(Policy::default(), BTreeMap::new())
    }

    pub(crate) fn with(policy: Policy, namespace_modes: BTreeMap<String, String>) -> Self {
        let dir = TempDir::new().unwrap();
        let ca = dir.path().join("ca.pem");
        let certificate = Certificate::load(&CertificateSource::SelfSigned { ca_out: Some(ca.clone()) }).unwrap();
        let cluster = Cluster::fixed(inventory(nodes()), namespace_modes);
        let app = App::new(Metrics::new().unwrap(), PolicyFile::fixed(policy), cluster, certificate);
        Self::serving(app, std::fs::read(ca).unwrap(), dir)
    }

    pub(crate) fn serving(app: impl Into<Arc<App>>, authority: Vec<u8>, dir: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = {
            let _inside = runtime.enter();
            Server::start(app.into(), any, any).unwrap()
        };
        let (webhook, metrics) = (server.webhook, server.metrics);
        Self { runtime, server: Some(server), webhook, metrics, authority, dir }
    }

    /// Where the authority's certificate is.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.webhook, &trusting(&self.authority, &[&TLS13, &TLS12])).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.connect().post(path, "application/json", body.as_bytes()).unwrap()
    }

    /// The page of `/metrics`.
    pub(crate) fn scrape(&self) -> String {
        plain_get(self.metrics, "/metrics")
    }

    /// A review is answered: the server lives, whatever was sent before.
    pub(crate) fn assert_alive(&self) {
        let answer = self.post("/validate?timeout=10s", &plain_review("still-there"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["response"], serde_json::json!({"uid": "still-there", "allowed": true}));
    }
}

/// GET without TLS; the whole response.
pub(crate) fn plain_get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}
