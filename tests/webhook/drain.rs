//! The end: readiness fails first, requests are served, then the ports close.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Connection, trusting};
use crate::fake_api::wait_for;
use crate::server::{TestServer, plain_review};

#[test]
fn while_draining_readiness_fails_and_reviews_are_answered() {
    let mut test = TestServer::start();
    let server = test.server.take().unwrap();
    let stopping = test.runtime.spawn(server.stop(Duration::from_millis(700)));
    wait_for(|| test.connect().get("/readyz").status == 503);
    assert!(test.connect().get("/readyz").body.contains("draining"));
    test.assert_alive();
    test.runtime.block_on(stopping).unwrap();
    assert!(TcpStream::connect(test.webhook).is_err(), "the port is closed");
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let mut test = TestServer::start();
    let body = plain_review("late");
    let mut connection = test.connect();
    connection.send(&crate::client::head("/validate?timeout=20s", "application/json", body.len())).unwrap();
    connection.send(&body.as_bytes()[..10]).unwrap();
    let server = test.server.take().unwrap();
    let stopping = test.runtime.spawn(server.stop(Duration::from_millis(100)));
    std::thread::sleep(Duration::from_millis(400));
    connection.send(&body.as_bytes()[10..]).unwrap();
    assert_eq!(connection.receive().unwrap().json()["response"]["uid"], "late");
    test.runtime.block_on(stopping).unwrap();
}

#[test]
fn sigterm_drains_the_program_and_it_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Nothing listens there: the server runs without ever becoming ready.
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        users: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n";
    std::fs::write(path("kubeconfig"), kubeconfig).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_vramguard"))
        .args(["serve", "--self-signed", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"])
        .args(["--drain-seconds", "1", "--kubeconfig", &path("kubeconfig")])
        .args(["--ca-out", &path("ca.pem"), "--ports-out", &path("ports.json")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| std::fs::exists(path("ports.json")).unwrap());
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(path("ports.json")).unwrap()).unwrap();
    let address = ports["webhook"].as_str().unwrap().parse().unwrap();
    let trust = trusting(&std::fs::read(path("ca.pem")).unwrap(), &[&rustls::version::TLS13]);

    let signalled = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap().success());
    wait_for(|| Connection::open(address, &trust).unwrap().get("/readyz").body.contains("draining"));
    let review = plain_review("last");
    let answer = Connection::open(address, &trust).unwrap().post("/validate", "application/json", review.as_bytes());
    assert_eq!(answer.unwrap().json()["response"]["uid"], "last");

    assert!(program.wait().unwrap().success());
    assert!(signalled.elapsed() >= Duration::from_secs(1), "{:?}", signalled.elapsed());
}
