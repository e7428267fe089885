//! Reviews of pods and controllers: what is refused, warned of, passed over, and written back.
//!
//! The cluster has one 80 GB A100 and one 16 GB T4. Models are given by their size alone, so that the reference formula
//! decides and the figures can be checked by hand: 3 billion parameters of two bytes are 5.6 GiB.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vramguard::decide::{Mode, Policy};

use crate::server::TestServer;

/// A pod with one GPU that serves a model of so many parameters.
fn pod(parameters: &str, extra: &Value) -> Value {
    let mut annotations = json!({
        "vramguard.io/task": "inference", "vramguard.io/parameters": parameters, "vramguard.io/layers": "32",
        "vramguard.io/hidden-size": "4096", "vramguard.io/heads": "32", "vramguard.io/head-dim": "128",
        "vramguard.io/dtype": "fp16", "vramguard.io/context-length": "4096", "vramguard.io/batch-size": "1"
    });
    for (key, value) in extra.as_object().unwrap() {
        annotations[key] = value.clone();
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "llm", "namespace": "ml", "annotations": annotations},
        "spec": {"containers": [{"name": "serve", "image": "app", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    })
}

fn fits() -> Value {
    pod("3B", &json!({}))
}

fn too_big() -> Value {
    pod("70B", &json!({}))
}

fn review(object: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": object["kind"]},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "ml", "name": object["metadata"]["name"], "operation": "CREATE", "dryRun": false, "object": object
        }
    });
    change(&mut review["request"]);
    review.to_string()
}

fn ask(server: &TestServer, path: &str, object: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let answer = server.post(path, &review(object, change));
    assert_eq!(answer.status, 200, "{answer:?}");
    let review = answer.json();
    assert_eq!((&review["kind"], &review["response"]["uid"]), (&json!("AdmissionReview"), &json!("u-1")));
    review["response"].clone()
}

fn validate(server: &TestServer, object: &Value) -> Value {
    ask(server, "/validate", object, |_| {})
}

#[track_caller]
fn assert_silent(response: &Value) {
    assert_eq!(response["allowed"], true, "{response}");
    assert!(response.get("warnings").is_none() && response.get("status").is_none(), "{response}");
}

fn with_mode(mode: Mode) -> TestServer {
    TestServer::with(Policy { mode, ..Policy::default() }, BTreeMap::new())
}

#[test]
fn a_pod_that_cannot_fit_is_refused_with_code_need_and_capacity() {
    let server = TestServer::start();
    let response = validate(&server, &too_big());
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)), "{response}");
    assert_eq!(response["status"]["reason"], "TOO_BIG");
    let message = response["status"]["message"].as_str().unwrap();
    for part in ["TOO_BIG", "serve", "GiB", "NVIDIA-A100-SXM4-80GB"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(response["auditAnnotations"]["verdict"], "TOO_BIG");
    assert_eq!(response["auditAnnotations"]["decision"], "deny");
    assert!(server.scrape().contains("decision=\"deny\",dry_run=\"false\",endpoint=\"validate\",mode=\"enforce\",operation=\"CREATE\",verdict=\"TOO_BIG\"} 1"));
}

#[test]
fn a_pod_that_fits_is_admitted_without_a_word() {
    let server = TestServer::start();
    let response = validate(&server, &fits());
    assert_silent(&response);
    assert_eq!(response["auditAnnotations"]["verdict"], "FITS");
}

#[test]
fn a_pod_that_fits_only_some_of_the_gpus_is_warned_of_the_others() {
    let response = validate(&TestServer::start(), &pod("7B", &json!({})));
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"].to_string().contains("Tesla-T4"), "{response}");
}

#[test]
fn a_dry_run_has_the_same_answer() {
    let server = TestServer::start();
    let dry = ask(&server, "/validate", &too_big(), |request| request["dryRun"] = json!(true));
    assert_eq!(dry, validate(&server, &too_big()));
    assert!(server.scrape().contains("decision=\"deny\",dry_run=\"true\""));
}

#[test]
fn modes_turn_a_refusal_into_a_warning_or_into_silence() {
    let warned = validate(&with_mode(Mode::Warn), &too_big());
    assert_eq!(warned["allowed"], true);
    assert!(warned["warnings"][0].as_str().unwrap().starts_with("TOO_BIG: "), "{warned}");

    let server = with_mode(Mode::Audit);
    let audited = validate(&server, &too_big());
    assert_silent(&audited);
    assert_eq!(audited["auditAnnotations"]["verdict"], "TOO_BIG");
    assert!(server.scrape().contains("mode=\"audit\",operation=\"CREATE\",verdict=\"TOO_BIG\"} 1"));

    let off = validate(&with_mode(Mode::Off), &too_big());
    assert_silent(&off);
    assert!(off.get("auditAnnotations").is_none(), "{off}");
}

#[test]
fn the_label_of_the_namespace_is_stronger_than_the_policy() {
    let modes = BTreeMap::from([("ml".to_owned(), "warn".to_owned())]);
    let server = TestServer::with(Policy::default(), modes);
    assert_eq!(validate(&server, &too_big())["allowed"], true);
    let elsewhere = ask(&server, "/validate", &too_big(), |request| request["namespace"] = json!("other"));
    assert_eq!(elsewhere["allowed"], false);
}

#[test]
fn a_pod_may_be_stricter_always_and_laxer_only_with_leave_and_a_reason() {
    let strict = pod("70B", &json!({"vramguard.io/mode": "enforce"}));
    assert_eq!(validate(&with_mode(Mode::Warn), &strict)["allowed"], false);

    let lax = pod("70B", &json!({"vramguard.io/mode": "warn", "vramguard.io/exempt-reason": "load test"}));
    assert_eq!(validate(&with_mode(Mode::Enforce), &lax)["allowed"], false);

    let lenient = Policy { allow_exemptions: true, ..Policy::default() };
    let server = TestServer::with(lenient, BTreeMap::new());
    let response = validate(&server, &lax);
    assert_eq!(
        (&response["allowed"], &response["auditAnnotations"]["exempt-reason"]),
        (&json!(true), &json!("load test"))
    );
    assert!(server.scrape().contains("vramguard_exemptions_total{namespace=\"ml\"} 1"));
    let no_reason = pod("70B", &json!({"vramguard.io/mode": "warn"}));
    assert_eq!(validate(&server, &no_reason)["allowed"], false);
}

#[test]
fn a_controller_is_judged_by_its_template() {
    let template = too_big();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "llm", "namespace": "ml"},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": template["metadata"]["annotations"]}, "spec": template["spec"]}}
    });
    let server = TestServer::start();
    let as_deployment =
        |request: &mut Value| request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let response = ask(&server, "/validate", &deployment, as_deployment);
    assert_eq!(response["status"]["reason"], "TOO_BIG", "{response}");
    let mutated = ask(&server, "/mutate", &deployment, as_deployment);
    assert_silent(&mutated);
    assert!(mutated.get("patch").is_none(), "only pods are changed: {mutated}");
}

type Change = fn(&mut Value);

#[test]
fn what_is_none_of_our_business_is_passed_over() {
    let server = TestServer::start();
    let changes: [(&str, Change); 5] = [
        ("subresource", |r| r["subResource"] = json!("status")),
        ("delete", |r| {
            r["operation"] = json!("DELETE");
            r["oldObject"] = r["object"].take();
        }),
        ("connect", |r| r["operation"] = json!("CONNECT")),
        ("mirror pod", |r| r["object"]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("x")),
        ("being deleted", |r| {
            r["operation"] = json!("UPDATE");
            r["object"]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            r["oldObject"] = json!({"metadata": {}});
        }),
    ];
    for (name, change) in changes {
        let response = ask(&server, "/validate", &too_big(), change);
        assert_silent(&response);
        assert!(response.get("auditAnnotations").is_none(), "{name}: {response}");
    }
}

#[test]
fn an_update_is_judged_only_when_it_changes_what_a_decision_depends_on() {
    let server = TestServer::start();
    let update = |old: &Value, new: &Value| {
        ask(&server, "/validate", new, |request| {
            request["operation"] = json!("UPDATE");
            request["oldObject"] = old.clone();
        })
    };
    let mut relabelled = too_big();
    relabelled["metadata"]["labels"] = json!({"a": "b"});
    relabelled["metadata"]["annotations"]["example.com/note"] = json!("x");
    relabelled["status"] = json!({"phase": "Running"});
    assert_silent(&update(&too_big(), &relabelled));
    let changed = update(&fits(), &too_big());
    assert_eq!(changed["allowed"], false, "{changed}");
}

#[test]
fn a_pod_is_given_its_estimate_once() {
    let server = TestServer::start();
    let mut object = fits();
    let response = ask(&server, "/mutate", &object, |_| {});
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")), "{response}");
    let patch: Value = serde_json::from_slice(&decode_base64(response["patch"].as_str().unwrap())).unwrap();
    for operation in patch.as_array().unwrap() {
        let key =
            operation["path"].as_str().unwrap().strip_prefix("/metadata/annotations/").unwrap().replace("~1", "/");
        assert_eq!(operation["op"], "add");
        object["metadata"]["annotations"][key] = operation["value"].clone();
    }
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(annotations["vramguard.io/verdict"], "FITS");
    let estimate: Value = serde_json::from_str(annotations["vramguard.io/estimate"].as_str().unwrap()).unwrap();
    assert!(estimate["required"]["likely"].as_u64().unwrap() > 5 << 30, "{estimate}");

    let again = ask(&server, "/mutate", &object, |_| {});
    assert!(again.get("patch").is_none(), "{again}");
    assert_silent(&validate(&server, &object));
}

#[test]
fn mutation_never_refuses_and_never_warns() {
    let response = ask(&TestServer::start(), "/mutate", &too_big(), |_| {});
    assert_silent(&response);
    assert!(response.get("patch").is_some(), "{response}");
}

#[test]
fn a_malformed_annotation_is_refused_and_named() {
    let server = TestServer::start();
    for (key, value) in [
        ("vramguard.io/batch-size", "0"),
        ("vramguard.io/parameters", "1e400"),
        ("vramguard.io/context-length", "-4096"),
        ("vramguard.io/contextlength", "4096"),
        ("vramguard.io/spec", "task: [inference"),
    ] {
        let response = validate(&server, &pod("7B", &json!({key: value})));
        assert_eq!(response["allowed"], false, "{key}: {value}: {response}");
        assert_eq!(response["status"]["reason"], "INVALID_SPEC", "{key}: {value}: {response}");
        assert!(response["status"]["message"].as_str().unwrap().contains(key), "{response}");
    }
}

#[test]
fn an_object_that_cannot_be_read_is_admitted_with_a_warning() {
    let server = TestServer::start();
    let mut odd = fits();
    odd["spec"]["containers"] = json!("none");
    let response = validate(&server, &odd);
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().starts_with("UNKNOWN_WORKLOAD"), "{response}");
}

fn decode_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.bytes().filter(|&b| b != b'=').map(|b| DIGITS.iter().position(|&d| d == b).unwrap());
    let (mut out, mut buffer, mut held) = (Vec::new(), 0_usize, 0);
    for six in bits {
        (buffer, held) = (buffer << 6 | six, held + 6);
        if held >= 8 {
            held -= 8;
            out.push((buffer >> held & 0xff) as u8);
        }
    }
    out
}
