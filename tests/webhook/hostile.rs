//! Requests that no API server sends. Each gets a clear answer, and the server answers the next.

use std::time::{Duration, Instant};

use crate::client::{Connection, head};
use crate::server::{TestServer, plain_review};

const JSON: &str = "application/json";

/// Status and reason of the answer to a body.
#[track_caller]
fn assert_refused(server: &TestServer, content_type: &str, body: &[u8], status: u16, reason: &str) {
    for path in ["/validate", "/mutate"] {
        let answer = server.connect().post(path, content_type, body).unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["reason"], reason, "{answer:?}");
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 10 && text.len() < 1000), "{answer:?}");
    }
    server.assert_alive();
}

#[test]
fn a_truncated_body_is_malformed() {
    let review = plain_review("u");
    let server = TestServer::start();
    for cut in [1, review.len() / 3, review.len() / 2, review.len() - 1] {
        assert_refused(&server, JSON, &review.as_bytes()[..cut], 400, "malformed");
    }
}

#[test]
fn an_empty_body_is_malformed() {
    assert_refused(&TestServer::start(), JSON, b"", 400, "malformed");
}

#[test]
fn other_content_types_are_refused_unread() {
    let server = TestServer::start();
    for kind in ["text/plain", "application/yaml", "multipart/form-data; boundary=x", "application/jsonx"] {
        assert_refused(&server, kind, plain_review("u").as_bytes(), 415, "content_type");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_malformed() {
    let mut review = plain_review("u").into_bytes();
    let at = review.windows(5).position(|w| w == b"nginx").unwrap();
    review[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let server = TestServer::start();
    let answer = server.connect().post("/validate", JSON, &review).unwrap();
    assert!(answer.status == 400 || !answer.json()["response"]["allowed"].as_bool().unwrap(), "{answer:?}");
    assert_refused(&server, JSON, &[0xff; 64], 400, "malformed");
}

#[test]
fn json_that_is_no_review_is_malformed() {
    let server = TestServer::start();
    let bodies = [
        "null",
        "[]",
        "7",
        "\"AdmissionReview\"",
        "{}",
        r#"{"kind":"AdmissionReview"}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7,"operation":"CREATE"}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE"}}"#,
    ];
    for body in bodies {
        assert_refused(&server, JSON, body.as_bytes(), 400, "malformed");
    }
    let garbage = plain_review("u") + "}";
    assert_refused(&server, JSON, garbage.as_bytes(), 400, "malformed");
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let server = TestServer::start();
    let mut connection = server.connect();
    connection.send(&head("/validate", JSON, 5 << 20)).unwrap();
    let answer = connection.receive().unwrap();
    assert_eq!((answer.status, answer.json()["error"]["reason"].as_str()), (413, Some("too_large")), "{answer:?}");
    server.assert_alive();
}

#[test]
fn a_body_that_hides_its_size_is_cut_off_at_the_limit() {
    let server = TestServer::start();
    let mut connection = server.connect();
    let start = "POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(start.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    // The server may close while we still write; its answer counts.
    for _ in 0..80 {
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    if let Ok(answer) = connection.receive() {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert!(server.scrape().contains("vramguard_admission_errors_total{reason=\"too_large\"} 1"));
    server.assert_alive();
}

#[test]
fn nesting_without_end_costs_nothing() {
    let server = TestServer::start();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_refused(&server, JSON, deep.as_bytes(), 400, "malformed");
    assert_refused(&server, JSON, "[".repeat(100_000).as_bytes(), 400, "malformed");
    let objects = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    assert_refused(&server, JSON, objects.as_bytes(), 400, "malformed");
    // Where nothing is read, depth does not matter; where something is, it is an error. Either is an answer.
    for field in ["\"image\":\"nginx\"", "\"name\":\"p\""] {
        let review = plain_review("deep").replacen(field, &format!("{field},\"deep\":{deep}"), 1);
        let answer = server.connect().post("/validate", JSON, review.as_bytes()).unwrap();
        assert!([200, 400].contains(&answer.status), "{answer:?}");
        server.assert_alive();
    }
}

#[test]
fn a_slow_body_is_given_up_at_four_fifths_of_the_deadline() {
    let server = TestServer::start();
    let mut connection = server.connect();
    connection.send(&head("/validate?timeout=500ms", JSON, 1000)).unwrap();
    connection.send(b"{\"apiVersion\":").unwrap();
    let started = Instant::now();
    let answer = connection.receive().unwrap();
    assert_eq!((answer.status, answer.json()["error"]["reason"].as_str()), (408, Some("timeout")), "{answer:?}");
    assert!(started.elapsed() >= Duration::from_millis(390), "{:?}", started.elapsed());
    server.assert_alive();
}

#[test]
fn a_connection_that_breaks_off_disturbs_nobody() {
    let server = TestServer::start();
    for _ in 0..20 {
        let mut connection = server.connect();
        connection.send(&head("/validate", JSON, 1000)).unwrap();
        connection.send(b"{\"apiVersion\"").unwrap();
        drop(connection);
    }
    server.assert_alive();
}

#[test]
fn more_slow_requests_than_slots_delay_but_never_kill() {
    let server = TestServer::start();
    let slow: Vec<Connection> = (0..256)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&head("/validate?timeout=30s", JSON, 1000)).unwrap();
            connection
        })
        .collect();
    // Every slot is taken until the slow ones are given up; the server says so in time. The last of them may still be
    // on their way when the first answer comes.
    let ask = || server.connect().post("/validate?timeout=300ms", JSON, plain_review("u").as_bytes()).unwrap();
    let answer = (0..50).map(|_| ask()).find(|answer| answer.status != 200).expect("the server has slots for all");
    assert_eq!((answer.status, answer.json()["error"]["reason"].as_str()), (429, Some("overloaded")), "{answer:?}");
    assert_eq!(server.connect().get("/livez").status, 200);
    drop(slow);
    server.assert_alive();
}

#[test]
fn plain_http_and_noise_on_the_tls_port_are_ignored() {
    use std::io::Write;
    let server = TestServer::start();
    for noise in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &[0; 2000], b"\x16\x03\x01\xff\xff"] {
        std::net::TcpStream::connect(server.webhook).unwrap().write_all(noise).unwrap();
    }
    server.assert_alive();
}
