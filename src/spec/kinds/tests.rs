use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pod_template(name: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": "i"}]}})
}

/// Path and first container of every template.
fn found(object: &Value) -> Vec<(String, String)> {
    templates(object).unwrap().into_iter().map(|t| (t.path, t.pod.spec.containers[0].name.clone())).collect()
}

#[test]
fn every_built_in_controller_gives_its_template() {
    for (api, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
    ] {
        let object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "n", "namespace": "ns"},
            "spec": {"template": pod_template("c")}});
        assert_eq!(found(&object), [("spec.template".to_owned(), "c".to_owned())], "{kind}");
        assert_eq!(templates(&object).unwrap()[0].pod.namespace, "ns", "the template lies in the object's namespace");
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"},
        "spec": {"containers": [{"name": "c"}]}});
    assert_eq!(found(&pod), [(String::new(), "c".to_owned())]);
    assert_eq!(templates(&pod).unwrap()[0].object.name, "p-");
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "n"},
        "spec": {"jobTemplate": {"spec": {"parallelism": 3, "template": pod_template("c")}}}});
    assert_eq!(found(&cron), [("spec.jobTemplate.spec.template".to_owned(), "c".to_owned())]);
    assert_eq!(templates(&cron).unwrap()[0].replicas, Some(3));
    let template =
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "n"}, "template": pod_template("c")});
    assert_eq!(found(&template), [("template".to_owned(), "c".to_owned())]);
}

#[test]
fn lists_and_maps_of_templates_are_walked() {
    let set = json!({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "n"},
        "spec": {"replicatedJobs": [{"template": {"spec": {"template": pod_template("a")}}},
                                    {"template": {"spec": {"template": pod_template("b")}}}]}});
    assert_eq!(found(&set)[1], ("spec.replicatedJobs[1].template.spec.template".to_owned(), "b".to_owned()));
    let job = json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "n"},
        "spec": {"pytorchReplicaSpecs": {"Master": {"template": pod_template("m")}, "Worker": {"template": pod_template("w")}}}});
    assert_eq!(found(&job)[0], ("spec.pytorchReplicaSpecs.Master.template".to_owned(), "m".to_owned()));
    let group = json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "n"},
        "spec": {"leaderWorkerTemplate": {"leaderTemplate": null, "workerTemplate": pod_template("w")}}});
    assert_eq!(found(&group), [("spec.leaderWorkerTemplate.workerTemplate".to_owned(), "w".to_owned())]);
}

#[test]
fn lists_give_the_templates_of_their_items() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "template": pod_template("a")}});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [deployment, config]});
    assert_eq!(found(&list), [("spec.template".to_owned(), "a".to_owned())]);
    let typed = json!({"apiVersion": "apps/v1", "kind": "DeploymentList",
        "items": [{"metadata": {"name": "d"}, "spec": {"template": pod_template("a")}}]});
    let of_list = &templates(&typed).unwrap()[0].object;
    assert_eq!((of_list.kind.as_str(), of_list.name.as_str()), ("Deployment", "d"));
    let mut nested = list;
    for _ in 0..10 {
        nested = json!({"apiVersion": "v1", "kind": "List", "items": [nested]});
    }
    assert!(templates(&nested).unwrap_err().to_string().contains("nested too deeply"));
}

#[test]
fn other_kinds_carry_none_and_groups_are_told_apart() {
    assert!(found(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}})).is_empty());
    let volcano = json!({"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "metadata": {"name": "n"},
        "spec": {"tasks": [{"template": pod_template("t")}]}});
    assert_eq!(found(&volcano), [("spec.tasks[0].template".to_owned(), "t".to_owned())]);
}

#[test]
fn malformed_objects_are_named() {
    let problem = |object: &Value| templates(object).unwrap_err().to_string();
    assert!(problem(&json!("text")).contains("is no Kubernetes object"));
    assert!(problem(&json!({"apiVersion": "v1"})).contains("`kind` is missing"));
    let bad = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "args": [8]}]}}}});
    let text = problem(&bad);
    assert!(text.starts_with("Deployment n/d: spec.template: ") && text.contains("put quotes around"), "{text}");
}

#[test]
fn the_table_names_each_kind_once() {
    for (index, row) in KINDS.iter().enumerate() {
        assert!(KINDS[index + 1..].iter().all(|other| (other.group, other.kind) != (row.group, row.kind)), "{row:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z/.]{0,12}".prop_map(Value::from),
    ];
    let keys = "(apiVersion|kind|metadata|spec|template|containers|items|name|args|env|resources|limits|affinity)";
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(keys, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_json_never_panics(spec in any_json(), kind in 0..KINDS.len()) {
        let row = &KINDS[kind];
        let object = json!({"apiVersion": format!("{}/v1", row.group), "kind": row.kind, "metadata": {"name": "n"}, "spec": spec});
        if let Ok(templates) = templates(&object) {
            for template in templates {
                let _ = crate::spec::declare(&template.pod);
            }
        }
    }
}

#[test]
fn a_malformed_item_loses_no_other() {
    let pod = |name: &str, containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}});
    let good = json!([{"name": "c"}]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items":
        [pod("a", good.clone()), pod("b", json!(7)), null, 17, {"metadata": {}}, pod("c", good.clone())]});
    let (found, problems) = readable(&list);
    let names: Vec<&str> = found.iter().map(|template| template.object.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    let places: Vec<&str> = problems.iter().map(|problem| problem.location.as_str()).collect();
    assert_eq!(places, ["items[1]: Pod b", "items[2]: document", "items[3]: document", "items[4]: document"]);
    assert_eq!(templates(&list).unwrap_err(), problems[0]);
    let typed = json!({"apiVersion": "v1", "kind": "PodList",
        "items": [{"metadata": 3}, null, {"metadata": {"name": "d"}, "spec": {"containers": good}}]});
    let (found, problems) = readable(&typed);
    assert_eq!((found.len(), problems.len()), (1, 2));
}
