use super::*;

fn pod(json: &str) -> PodTemplate {
    serde_json::from_str(json).unwrap()
}

#[test]
fn reads_what_decides_memory_and_placement() {
    let pod = pod(r#"{"apiVersion":"v1","kind":"Pod",
        "metadata":{"name":"p","namespace":"n","labels":{"a":"b"},"managedFields":[{"x":{"deep":[1,2]}}],
          "annotations":{"vramguard.io/model":"m","kubectl.kubernetes.io/last-applied-configuration":"{}"},
          "ownerReferences":[{"kind":"X","name":"x"},{"kind":"ReplicaSet","name":"rs","controller":true}]},
        "spec":{"nodeSelector":{"k":"v"},"nodeName":null,"runtimeClassName":"nvidia",
          "affinity":{"podAffinity":{},"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms":[{"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}]}}},
          "tolerations":[{"key":"nvidia.com/gpu","operator":"Exists"}],
          "containers":[{"name":"c","image":"i","args":["--a"],"command":null,
            "env":[{"name":"A","value":"1"},{"name":"B","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}],
            "resources":{"limits":{"nvidia.com/gpu":1,"memory":"1Gi"}}}]},
        "status":{"phase":"Running"}}"#);
    assert_eq!((pod.name.as_str(), pod.namespace.as_str()), ("p", "n"));
    assert_eq!(pod.annotations.len(), 1, "kubectl's copy of the object is not kept");
    assert_eq!(pod.controller.as_ref().unwrap().name, "rs");
    let container = pod.container("c").unwrap();
    assert_eq!(container.resources.limits["nvidia.com/gpu"], "1");
    assert_eq!(container.env[0].value.as_deref(), Some("1"));
    assert!(container.env[1].from == Some(Elsewhere::Unseen) && container.env[1].value.is_none());
    assert_eq!(pod.spec.required_affinity.unwrap().node_selector_terms.len(), 1);
    assert_eq!(pod.spec.node_name, "");
}

#[test]
fn null_counts_as_absent_everywhere() {
    let empty = pod("{}");
    assert_eq!(pod(r#"{"metadata":null,"spec":null}"#), empty);
    assert_eq!(
        pod(r#"{"metadata":{"labels":null,"annotations":null,"ownerReferences":null,"name":null},
               "spec":{"containers":null,"initContainers":null,"affinity":null,"tolerations":null,"nodeSelector":null}}"#),
        empty
    );
    let nulls = pod(r#"{"spec":{"containers":[{"name":"c","env":null,"resources":{"limits":null,"requests":null},
        "envFrom":null,"args":null}]}}"#);
    assert_eq!(nulls.spec.containers[0], Container { name: "c".into(), ..Container::default() });
}

#[test]
fn a_number_where_a_string_belongs_is_named() {
    let error = serde_json::from_str::<PodTemplate>(r#"{"metadata":{"annotations":{"vramguard.io/batch-size":4}}}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`vramguard.io/batch-size`") && error.contains("put quotes around"), "{error}");
}
