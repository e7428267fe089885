//! Admission throughput: the limit, a typical typed decode, and vramguard, side by side in one run.
//!
//! Shares are of CPU time a request, load generator included, so that they hold on a busy machine too.
//!
//! The limit is a TLS server that finds the request's uid and says yes; the typical one decodes `AdmissionReview<Pod>`
//! and says yes; vramguard decides. All three run on the same server stack in this process, which shares the machine
//! with the load generator. `cargo bench --bench admit [-- SECONDS]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise and prints its figures"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use k8s_openapi::api::core::v1::Pod;
use kube::core::admission::{AdmissionResponse, AdmissionReview};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use vramguard::cluster::Cluster;
use vramguard::config::{CertificateSource, PolicyFile};
use vramguard::decide::Policy;
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::Source;
use vramguard::evaluate::{Environment, evaluate};
use vramguard::facts::catalog::Catalog;
use vramguard::spec::nodes::{NodeView, inventory};
use vramguard::spec::pod::PodTemplate;
use vramguard::spec::review;
use vramguard::telemetry::Metrics;
use vramguard::webhook::App;
use vramguard::webhook::server::Server;
use vramguard::webhook::tls::Certificate;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;

fn main() {
    // `cargo bench` passes `--bench`; a number is the seconds of one round.
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2.0);
    let review = review_body();
    println!("review: {} bytes, {CONNECTIONS} TLS connections, {ROUNDS} rounds of {seconds} s each", review.len());
    in_process(&review);

    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("ca.pem");
    let source = CertificateSource::SelfSigned { ca_out: Some(authority.clone()) };
    let app = Arc::new(app(1000, Certificate::load(&source).unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (limit, typed, whole) = runtime.block_on(async {
        let limit = serve(&app.certificate, Router::new().route("/validate", post(limit))).await;
        let typed = serve(&app.certificate, Router::new().route("/validate", post(typed))).await;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        (limit, typed, Server::start(Arc::clone(&app), any, any).unwrap())
    });
    let servers = [("limit: uid, yes", limit), ("AdmissionReview<Pod>, yes", typed), ("vramguard", whole.webhook)];

    let client = client(&std::fs::read(authority).unwrap());
    let request = request(&review);
    let mut results: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (index, (_, address)) in servers.iter().enumerate() {
            results[index].push(load(*address, &client, &request, Duration::from_secs_f64(seconds)));
        }
    }
    println!(
        "\n{:<28}{:>12}{:>10}{:>10}{:>14}{:>10}",
        "server", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "of limit"
    );
    let least = |rounds: &[Round]| rounds.iter().map(|round| round.cpu).fold(f64::INFINITY, f64::min);
    let limit = results.first().map_or(f64::NAN, |rounds| least(rounds));
    for ((name, _), rounds) in servers.iter().zip(&results) {
        let round = rounds.iter().max_by(|a, b| a.rate.total_cmp(&b.rate)).unwrap();
        let cpu = least(rounds);
        println!(
            "{name:<28}{:>12.0}{:>10.3}{:>10.3}{cpu:>14.1}{:>10.2}",
            round.rate,
            round.p50,
            round.p99,
            limit / cpu
        );
    }
}

/// Time of one whole decision without network, for a small and a large cluster.
fn in_process(review: &[u8]) {
    for nodes in [10, 1000] {
        let app = app(nodes, Certificate::load(&CertificateSource::SelfSigned { ca_out: None }).unwrap());
        let answer = String::from_utf8(app.validate(review).unwrap()).unwrap();
        assert!(answer.contains("\"verdict\":\"FITS\""), "{answer}");
        let [p50, p99] = micros(|| app.validate(review).unwrap());
        println!("one decision in process, {nodes:>4} nodes: p50 {p50:.1} us, p99 {p99:.1} us");
        if nodes > 10 {
            stages(review, &app);
        }
    }
}

/// Where the time of a decision goes.
fn stages(review: &[u8], app: &App) {
    let request = review::parse(review).unwrap();
    let object = request.object.unwrap().get();
    let pod: PodTemplate = serde_json::from_str(object).unwrap();
    let (snapshot, policy) = (app.cluster.snapshot(), app.policy.current());
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: &snapshot.profiles,
        source: None,
        inventory: snapshot.known_inventory(),
        policy: &policy,
        config_maps: None,
    };
    let (source, asked) = (Source::default(), PolicyInput::default());
    let [envelope, _] = micros(|| review::parse(review).unwrap());
    let [decode, _] = micros(|| serde_json::from_str::<PodTemplate>(object).unwrap());
    let [declare, _] = micros(|| vramguard::spec::declare(&pod));
    let [whole, _] = micros(|| evaluate(&pod, &source, &asked, &environment));
    let too_big = object.replace("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-3.1-70B-Instruct");
    let too_big = too_big.replace("\"4096\"", "\"131072\"");
    let too_big: PodTemplate = serde_json::from_str(&too_big).unwrap();
    let denied = evaluate(&too_big, &source, &asked, &environment).remove(0);
    assert!(!denied.fixes.is_empty(), "{}", denied.message);
    let [denial, slowest] = micros(|| evaluate(&too_big, &source, &asked, &environment));
    println!("  a denial with its search for fixes: p50 {denial:.1} us, p99 {slowest:.1} us ({})", denied.message);
    println!(
        "  of it: envelope {envelope:.1}, pod {decode:.1}, declaration {declare:.1}, rest of the evaluation {:.1} us",
        whole - declare
    );
}

/// Median and 99th percentile of many calls, microseconds.
fn micros<T>(mut call: impl FnMut() -> T) -> [f64; 2] {
    let mut micros: Vec<f64> = (0..20_000)
        .map(|_| {
            let started = Instant::now();
            black_box(call());
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| micros[(micros.len() as f64 * share) as usize])
}

/// Finds the uid without parsing, and says yes.
async fn limit(body: Bytes) -> impl IntoResponse {
    let text = std::str::from_utf8(&body).unwrap();
    let uid = text.split_once("\"uid\":\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    let answer = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{{"uid":"{uid}","allowed":true}}}}"#
    );
    ([(header::CONTENT_TYPE, "application/json")], answer)
}

/// What a webhook usually does before it decides anything.
async fn typed(body: Bytes) -> impl IntoResponse {
    let review: AdmissionReview<Pod> = serde_json::from_slice(&body).unwrap();
    let answer = AdmissionResponse::from(&review.request.unwrap()).into_review();
    ([(header::CONTENT_TYPE, "application/json")], serde_json::to_vec(&answer).unwrap())
}

async fn serve(certificate: &Certificate, router: Router) -> SocketAddr {
    let handle = Handle::new();
    let server = axum_server::bind_rustls(SocketAddr::from(([127, 0, 0, 1], 0)), certificate.rustls())
        .map(|acceptor| acceptor.acceptor(NoDelayAcceptor::new()))
        .handle(handle.clone());
    tokio::spawn(server.serve(router.into_make_service()));
    handle.listening().await.unwrap()
}

fn app(nodes: usize, certificate: Certificate) -> App {
    let products = [
        ("NVIDIA-H100-80GB-HBM3", "81559", 8),
        ("NVIDIA-A100-SXM4-80GB", "81920", 8),
        ("NVIDIA-L40S", "46068", 4),
        ("NVIDIA-A10", "23028", 1),
        ("Tesla-T4", "15360", 1),
    ];
    let views = (0..nodes).map(|index| -> NodeView {
        let (product, memory, gpus) = products[index % products.len()];
        let name = format!("node-{index}");
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": memory,
                "nvidia.com/gpu.count": gpus.to_string(), "topology.kubernetes.io/zone": format!("zone-{}", index % 3)
            }},
            "status": {"allocatable": {"nvidia.com/gpu": gpus.to_string()}}
        }))
        .unwrap()
    });
    let cluster = Cluster::fixed(inventory(views), BTreeMap::new());
    App::new(Metrics::new().unwrap(), PolicyFile::fixed(Policy::default()), cluster, certificate)
}

/// The review of a serving pod as an API server sends it: managed fields, token volume and all.
fn review_body() -> Vec<u8> {
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let user = json!({
        "username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "a", "groups": ["system:authenticated"]
    });
    let text = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "namespace": "ml", "operation": "CREATE", "userInfo": user, "object": pod(),
            "oldObject": null, "dryRun": false, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    });
    text.to_string().into_bytes()
}

fn pod() -> serde_json::Value {
    let mut server = container("vllm", "vllm/vllm-openai:v0.19.0", &json!({"cpu": "8", "nvidia.com/gpu": "1"}));
    server["args"] =
        json!(["--model", "meta-llama/Llama-2-7b-hf", "--max-model-len", "4096", "--gpu-memory-utilization", "0.9"]);
    let exporter = container("metrics", "example/exporter:1.2", &json!({"cpu": "100m"}));
    let token = json!([
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    ]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata(),
        "spec": {
            "containers": [server, exporter], "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ],
            "volumes": [{"name": "cache", "emptyDir": {}}, {"name": "kube-api-access-x", "projected": {"sources": token}}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
            "securityContext": {}, "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true
        }
    })
}

fn metadata() -> serde_json::Value {
    let fields: serde_json::Map<_, _> = ["dnsPolicy", "restartPolicy", "schedulerName", "securityContext", "volumes"]
        .iter()
        .map(|field| (format!("f:{field}"), json!({".": {}, "f:name": {}, "f:value": {}})))
        .collect();
    json!({
        "generateName": "llama-6d5f7c9b8-", "namespace": "ml", "labels": {"app": "llama", "pod-template-hash": "6d5f7c9b8"},
        "annotations": {"vramguard.io/batch-size": "4"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llama-6d5f7c9b8",
            "uid": "0b4c9c4e-8f5b-4f5e-9d0e-1c3a5b7d9f10", "controller": true, "blockOwnerDeletion": true}],
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}}]
    })
}

fn container(name: &str, image: &str, limits: &serde_json::Value) -> serde_json::Value {
    json!({
        "name": name, "image": image, "imagePullPolicy": "IfNotPresent",
        "resources": {"limits": limits, "requests": limits},
        "env": [{"name": "HF_HOME", "value": "/cache"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "t"}}}],
        "ports": [{"containerPort": 8000, "name": "http", "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTP"}, "periodSeconds": 5},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"},
            {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]
    })
}

fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /validate?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn client(authority: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Figures of one round.
struct Round {
    rate: f64,
    /// CPU time of this process, server and load generator, per request, microseconds. What a saturated machine has left
    /// for requests is inverse to it, and unlike the rate it does not depend on what else runs.
    cpu: f64,
    p50: f64,
    p99: f64,
}

/// Asks over every connection at once, one request at a time each.
fn load(address: SocketAddr, client: &Arc<ClientConfig>, request: &[u8], time: Duration) -> Round {
    let stop = AtomicBool::new(false);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut millis: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| ask(address, client, request, &stop))).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis[(millis.len() as f64 * share) as usize];
    let requests = millis.len() as f64;
    Round { rate: requests / elapsed, cpu: cpu * 1e6 / requests, p50: at(0.5), p99: at(0.99) }
}

/// CPU time of this process so far, ended threads included.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

fn ask(address: SocketAddr, client: &Arc<ClientConfig>, request: &[u8], stop: &AtomicBool) -> Vec<f64> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let session = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    let mut buffer = vec![0; 16 * 1024];
    let mut millis = Vec::with_capacity(1 << 16);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        stream.write_all(request).unwrap();
        read_answer(&mut stream, &mut buffer);
        millis.push(started.elapsed().as_secs_f64() * 1e3);
    }
    millis
}

/// Reads a whole answer and checks that it says yes.
fn read_answer(stream: &mut impl Read, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        filled += stream.read(&mut buffer[filled..]).unwrap();
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap() {
            assert!(head.starts_with("HTTP/1.1 200") && body.contains("\"allowed\":true"), "{text}");
            return;
        }
    }
}
