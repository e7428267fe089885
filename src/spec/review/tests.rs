use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::spec::pod::PodTemplate;

fn review(object: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1",
        "kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},
        "requestKind":{{"group":"","version":"v1","kind":"Pod"}},"name":"p\u0041","namespace":"team",
        "operation":"CREATE","userInfo":{{"username":"alice","groups":["a"]}},"object":{object},
        "oldObject":null,"dryRun":true,"options":{{"kind":"CreateOptions"}}}}}}"#
    )
}

#[test]
fn a_request_is_read_by_borrowing() {
    let body = review(r#"{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c"}]}}"#);
    let request = parse(body.as_bytes()).unwrap();
    assert!(matches!(request.uid, Cow::Borrowed("u-1")));
    assert_eq!((request.kind.kind.as_ref(), request.resource.resource.as_ref()), ("Pod", "pods"));
    assert_eq!(request.name.as_deref(), Some("pA"), "escaped text is decoded");
    assert_eq!(request.namespace.as_deref(), Some("team"));
    assert_eq!((request.operation, request.dry_run), (Operation::Create, true));
    assert_eq!(request.sub_resource, None);
    let pod: PodTemplate = serde_json::from_str(request.object.unwrap().get()).unwrap();
    assert_eq!(pod.spec.containers[0].name, "c");
}

#[test]
fn nulls_and_unknown_operations_are_no_errors() {
    let body = r#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"MERGE","object":null,
        "dryRun":null,"name":null,"namespace":null,"subResource":"resize"}}"#;
    let request = parse(body.as_bytes()).unwrap();
    assert_eq!(request.operation, Operation::Other);
    assert!(!request.dry_run && request.object.is_none());
    assert_eq!(request.sub_resource.as_deref(), Some("resize"));
}

#[test]
fn what_is_no_review_is_a_clear_error() {
    let problem = |body: &[u8]| parse(body).unwrap_err().to_string();
    assert!(problem(b"").contains("EOF"));
    assert!(problem(br#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u","obj"#).contains("EOF"));
    assert!(problem(b"\xff\xfe").contains("no AdmissionReview"));
    assert!(problem(b"7").contains("no AdmissionReview"));
    assert!(problem(b"[]").starts_with("apiVersion is ``"));
    assert_eq!(
        problem(br#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}"#),
        "apiVersion is `admission.k8s.io/v1beta1`; only admission.k8s.io/v1 is understood"
    );
    assert_eq!(problem(br#"{"apiVersion":"admission.k8s.io/v1"}"#), "the review has no request with a uid");
    assert_eq!(
        problem(br#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#),
        problem(br#"{"apiVersion":"admission.k8s.io/v1"}"#)
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    const DEEP: usize = 100_000;
    let nests = [("[".repeat(DEEP), "]".repeat(DEEP)), (r#"{"a":"#.repeat(DEEP) + "1", "}".repeat(DEEP))];
    for (open, close) in nests {
        // As the whole body, in a part that is skipped, and in the object, whether it stays raw or is read.
        assert!(parse(format!("{open}{close}").as_bytes()).is_err());
        let skipped = format!(r#"{{"x":{open}{close},"apiVersion":"admission.k8s.io/v1","request":{{"uid":"u"}}}}"#);
        let _ = parse(skipped.as_bytes());
        let body = review(&format!(r#"{{"metadata":{{"labels":{open}{close}}}}}"#));
        if let Ok(request) = parse(body.as_bytes()) {
            assert!(serde_json::from_str::<PodTemplate>(request.object.unwrap().get()).is_err());
        }
        let ignored = review(&format!(r#"{{"status":{open}{close},"spec":{{"x":{open}{close}}}}}"#));
        if let Ok(request) = parse(ignored.as_bytes()) {
            let _ = serde_json::from_str::<PodTemplate>(request.object.unwrap().get());
            assert!(serde_json::from_str::<Value>(request.object.unwrap().get()).is_err());
        }
    }
}

fn written(response: &Response) -> Value {
    serde_json::from_slice(&response.to_json()).unwrap()
}

#[test]
fn an_admission_says_no_more_than_needed() {
    assert_eq!(
        written(&Response::allow("u")),
        json!({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}})
    );
}

#[test]
fn a_denial_has_code_reason_and_one_line() {
    let response = Response::deny("u", 403, "TOO_BIG", "TOO_BIG: needs 128.4 GiB\nhas 79.6 GiB");
    let body = &written(&response)["response"];
    assert_eq!(body["allowed"], false);
    assert_eq!(
        body["status"],
        json!({"code":403,"reason":"TOO_BIG","message":"TOO_BIG: needs 128.4 GiB has 79.6 GiB"})
    );
}

#[test]
fn a_patch_is_base64_and_only_on_admission() {
    let mut response = Response::allow("u");
    response.patch = vec![json!({"op":"add","path":"/a","value":1})];
    response.audit_annotations.insert("verdict".into(), "FITS".into());
    let body = &written(&response)["response"];
    assert_eq!(body["patchType"], "JSONPatch");
    assert_eq!(body["patch"], text::base64(br#"[{"op":"add","path":"/a","value":1}]"#));
    assert_eq!(body["auditAnnotations"], json!({"verdict":"FITS"}));
    response.allowed = false;
    assert!(written(&response)["response"].get("patch").is_none());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_truncated_review_is_an_error(cut in 1..500_usize) {
        let body = review(r#"{"spec":{"containers":[]}}"#);
        let end = body.len().saturating_sub(cut);
        prop_assert!(parse(&body.as_bytes()[..end]).is_err());
    }
}
