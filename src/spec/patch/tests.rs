use super::*;

fn pod(json: &str) -> PodTemplate {
    serde_json::from_str(json).unwrap()
}

fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_pod_without_annotations_gets_the_map() {
    let operations = annotate(&pod(r#"{"metadata":{"name":"p"}}"#), &wanted(&[(VERDICT, "FITS"), (ESTIMATE, "{}")]));
    assert_eq!(
        operations,
        [
            json!({"op":"add","path":"/metadata/annotations","value":{"vramguard.io/estimate":"{}","vramguard.io/verdict":"FITS"}})
        ]
    );
}

#[test]
fn an_existing_map_is_never_replaced() {
    for annotations in [r"{}", r#"{"kubectl.kubernetes.io/last-applied-configuration":"x"}"#, r#"{"a":"b"}"#] {
        let operations = annotate(
            &pod(&format!(r#"{{"metadata":{{"annotations":{annotations}}}}}"#)),
            &wanted(&[(VERDICT, "FITS")]),
        );
        assert_eq!(
            operations,
            [json!({"op":"add","path":"/metadata/annotations/vramguard.io~1verdict","value":"FITS"})],
            "{annotations}"
        );
    }
}

#[test]
fn a_changed_value_is_tested_then_replaced() {
    let pod = pod(r#"{"metadata":{"annotations":{"vramguard.io/verdict":"TIGHT"}}}"#);
    assert_eq!(
        annotate(&pod, &wanted(&[(VERDICT, "FITS")])),
        [
            json!({"op":"test","path":"/metadata/annotations/vramguard.io~1verdict","value":"TIGHT"}),
            json!({"op":"replace","path":"/metadata/annotations/vramguard.io~1verdict","value":"FITS"}),
        ]
    );
}

#[test]
fn the_second_call_changes_nothing() {
    let pod = pod(r#"{"metadata":{"annotations":{"vramguard.io/verdict":"FITS"}}}"#);
    assert!(annotate(&pod, &wanted(&[(VERDICT, "FITS")])).is_empty());
}
