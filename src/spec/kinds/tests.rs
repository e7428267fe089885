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

/// The one declaration of an object's templates.
fn declared(object: &Value) -> crate::spec::declaration::Declaration {
    let templates = templates(object).unwrap();
    let mut declared: Vec<_> = templates.iter().flat_map(|template| crate::spec::declare(&template.pod)).collect();
    assert_eq!(declared.len(), 1, "{declared:#?}");
    declared.remove(0).unwrap()
}

fn model_of(object: &Value) -> (String, u64, Option<u64>) {
    let declaration = declared(object);
    let Some(crate::spec::declaration::ModelReference::Name(name)) = declaration.model else {
        panic!("no model: {declaration:#?}")
    };
    (name, declaration.parallelism.tensor, declaration.gpus.map(|gpus| gpus.count))
}

#[expect(clippy::needless_pass_by_value, reason = "written in place")]
fn of(api: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": "n", "namespace": "ns"}, "spec": spec})
}

fn gpus(count: &str) -> Value {
    json!({"limits": {"nvidia.com/gpu": count}})
}

#[test]
fn a_predictor_with_a_model_is_a_server() {
    let service = of(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        json!({"predictor": {"minReplicas": 2, "nodeSelector": {"a": "b"}, "model": {
            "modelFormat": {"name": "huggingface"}, "storageUri": "hf://Qwen/Qwen2.5-7B-Instruct",
            "args": ["--max-model-len=8192"], "resources": gpus("1")}}}),
    );
    let templates = templates(&service).unwrap();
    assert_eq!((templates[0].path.as_str(), templates[0].replicas), ("spec.predictor", Some(2)));
    assert_eq!(templates[0].pod.spec.node_selector["a"], "b");
    let container = &templates[0].pod.spec.containers[0];
    assert_eq!(container.command, ["python", "-m", "huggingfaceserver"]);
    assert_eq!(container.args, ["--max-model-len=8192", "--model_id=Qwen/Qwen2.5-7B-Instruct"]);
    let own = of(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        json!({"predictor": {"containers": [{"name": "kserve-container", "image": "vllm/vllm-openai:v0.19.0",
            "args": ["--model=Qwen/Qwen3-8B"], "resources": gpus("1")}]}}),
    );
    assert_eq!(model_of(&own), ("Qwen/Qwen3-8B".to_owned(), 1, Some(1)));
}

#[test]
fn an_llm_service_serves_its_model_over_its_gpus() {
    let service = of(
        "serving.kserve.io/v1alpha1",
        "LLMInferenceService",
        json!({"model": {"uri": "hf://meta-llama/Llama-3.1-70B-Instruct", "name": "llama"},
            "parallelism": {"tensor": 4}, "template": {"containers": [{"name": "main", "resources": gpus("4")}]}}),
    );
    assert_eq!(model_of(&service), ("meta-llama/Llama-3.1-70B-Instruct".to_owned(), 4, Some(4)));
}

#[test]
fn a_serve_config_says_what_rays_workers_run() {
    let config = "applications:\n- name: llm\n  import_path: ray.serve.llm:build_openai_app\n  args:\n    llm_configs:\n    - model_loading_config: {model_id: chat, model_source: Qwen/Qwen2.5-32B-Instruct}\n      engine_kwargs: {tensor_parallel_size: 2, max_model_len: 16384, enforce_eager: true}\n";
    let service = of(
        "ray.io/v1",
        "RayService",
        json!({"serveConfigV2": config, "rayClusterConfig": {
            "headGroupSpec": {"template": {"spec": {"containers": [{"name": "head", "image": "rayproject/ray-llm:2.46.0"}]}}},
            "workerGroupSpecs": [{"replicas": 1, "template": {"spec": {"containers": [
                {"name": "worker", "image": "rayproject/ray-llm:2.46.0", "resources": gpus("2")}]}}}]}}),
    );
    let declaration = declared(&service);
    assert_eq!(model_of(&service), ("Qwen/Qwen2.5-32B-Instruct".to_owned(), 2, Some(2)));
    assert_eq!((declaration.context_length, declaration.engine.enforce_eager), (Some(16384), true));
    assert!(declaration.spans_pods);
    let mut broken = service;
    broken["spec"]["serveConfigV2"] = json!("applications: [");
    assert_eq!(templates(&broken).unwrap().len(), 2, "what cannot be read leaves the pods as they are");
}

#[test]
fn steps_of_a_workflow_take_its_parameters() {
    let workflow = |model: Value| {
        of(
            "argoproj.io/v1alpha1",
            "Workflow",
            json!({"arguments": {"parameters": [model]}, "templates": [{"name": "serve", "nodeSelector": {"a": "b"},
                "container": {"image": "vllm/vllm-openai:v0.19.0", "resources": gpus("1"),
                    "args": ["--model", "{{workflow.parameters.model}}"]}}, {"name": "dag", "dag": {}}]}),
        )
    };
    let known = workflow(json!({"name": "model", "value": "Qwen/Qwen3-8B"}));
    assert_eq!(model_of(&known), ("Qwen/Qwen3-8B".to_owned(), 1, Some(1)));
    let unknown = declared(&workflow(json!({"name": "model"})));
    assert!(unknown.model.is_none() && unknown.unknown_fields.contains("model"), "{unknown:#?}");
}

#[test]
fn operators_services_become_pods() {
    let nim = of(
        "apps.nvidia.com/v1alpha1",
        "NIMService",
        json!({"image": {"repository": "nvcr.io/nim/meta/llama-3.1-8b-instruct", "tag": "1.8.3"}, "replicas": 1,
            "resources": gpus("1")}),
    );
    let pod = &templates(&nim).unwrap()[0].pod;
    assert_eq!(pod.spec.containers[0].image, "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.3");
    let dynamo = of(
        "nvidia.com/v1alpha1",
        "DynamoGraphDeployment",
        json!({"services": {"Frontend": {"replicas": 1}, "Worker": {"resources": {"limits": {"gpu": "2"}},
            "multinode": {"nodeCount": 2}, "extraPodSpec": {"mainContainer": {"image": "x",
            "command": ["python3", "-m", "dynamo.vllm"], "args": ["--model", "Qwen/Qwen3-32B", "-tp", "4"]}}}}}),
    );
    assert_eq!(model_of(&dynamo), ("Qwen/Qwen3-32B".to_owned(), 4, Some(2)));
    assert_eq!(declared(&dynamo).replica_pods, Some(2));
    let kaito = json!({"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "metadata": {"name": "n"},
        "resource": {"instanceType": "Standard_NC48ads_A100_v4"},
        "inference": {"preset": {"name": "llama-3.1-8b-instruct"}}});
    assert_eq!(model_of(&kaito), ("llama-3.1-8b-instruct".to_owned(), 2, Some(2)));
    let kubeai = of(
        "kubeai.org/v1",
        "Model",
        json!({"url": "hf://Qwen/Qwen3-8B", "engine": "VLLM", "resourceProfile": "nvidia-gpu-l4:2",
            "args": ["--tensor-parallel-size=2"]}),
    );
    assert_eq!(model_of(&kubeai), ("Qwen/Qwen3-8B".to_owned(), 2, Some(2)));
    let train = of(
        "trainer.kubeflow.org/v1alpha1",
        "TrainJob",
        json!({"runtimeRef": {"name": "torchtune-llama3.2-1b"}, "trainer": {"numNodes": 2, "resourcesPerNode": gpus("2")}}),
    );
    let declaration = declared(&train);
    assert_eq!(
        (declaration.task, declaration.replica_pods),
        (Some(crate::estimate::workload::Task::Training), Some(2))
    );
}

#[test]
fn groups_say_how_many_pods_hold_a_replica() {
    let pods = |object: &Value| templates(object).unwrap()[0].pod.replica_pods;
    let group = of(
        "leaderworkerset.x-k8s.io/v1",
        "LeaderWorkerSet",
        json!({"replicas": 3, "leaderWorkerTemplate": {"size": 2, "workerTemplate": pod_template("w")}}),
    );
    assert_eq!(pods(&group), ReplicaPods::Known(2));
    let job = |mode: &str| {
        of("batch/v1", "Job", json!({"parallelism": 4, "completionMode": mode, "template": pod_template("j")}))
    };
    assert_eq!(pods(&job("Indexed")), ReplicaPods::Known(4));
    assert_eq!(pods(&job("NonIndexed")), ReplicaPods::Unsaid);
    let torch = of(
        "kubeflow.org/v1",
        "PyTorchJob",
        json!({"pytorchReplicaSpecs": {"Master": {"template": pod_template("m")},
            "Worker": {"replicas": 3, "template": pod_template("w")}}}),
    );
    assert_eq!(pods(&torch), ReplicaPods::Known(4));
    let set = of(
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
        json!({"replicatedJobs": [{"replicas": 2, "template": {"spec": {"parallelism": 3, "template": pod_template("a")}}}]}),
    );
    assert_eq!(pods(&set), ReplicaPods::Known(6));
    let volcano = of(
        "batch.volcano.sh/v1alpha1",
        "Job",
        json!({"tasks": [{"replicas": 1, "template": pod_template("m")}, {"replicas": 7, "template": pod_template("w")}]}),
    );
    assert_eq!(pods(&volcano), ReplicaPods::Known(8));
    let mpi = of(
        "kubeflow.org/v2beta1",
        "MPIJob",
        json!({"mpiReplicaSpecs": {"Launcher": {"template": pod_template("l")},
            "Worker": {"replicas": 2, "template": pod_template("w")}}}),
    );
    assert_eq!(pods(&mpi), ReplicaPods::Known(2));
}

#[test]
fn unknown_kinds_are_searched_for_what_looks_like_a_pod() {
    let custom = of(
        "example.com/v1",
        "ModelServer",
        json!({"serving": {"roles": [{"template": pod_template("a")}]}, "podSpec": {"containers": [{"name": "b", "image": "i"}]},
            "containers": "three", "schema": {"containers": {"type": "array"}}}),
    );
    assert_eq!(
        found(&custom),
        [("spec.podSpec".to_owned(), "b".to_owned()), ("spec.serving.roles[0].template".to_owned(), "a".to_owned())]
    );
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
        "data": {"pod": {"containers": [{"name": "c", "image": "i"}]}}});
    assert!(found(&config).is_empty());
    let runtime =
        of("serving.kserve.io/v1alpha1", "ServingRuntime", json!({"containers": [{"name": "c", "image": "i"}]}));
    assert!(found(&runtime).is_empty(), "completed by an InferenceService");
}

#[test]
fn workers_of_a_group_run_what_the_leader_starts() {
    let container = |words: &[&str]| {
        json!({"spec": {"containers": [{"name": "c", "command": words, "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"nvidia.com/gpu": 8}}}]}})
    };
    let group = |worker: &[&str]| {
        json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "n"},
            "spec": {"leaderWorkerTemplate": {"size": 2,
                "leaderTemplate": container(&["vllm", "serve", "a/b"]), "workerTemplate": container(worker)}}})
    };
    let command = |object: &Value| templates(object).unwrap()[1].pod.spec.containers[0].command.clone();
    let joins = ["sh", "-c", "ray start --address=$LWS_LEADER_ADDRESS:6379 --block"];
    assert_eq!(command(&group(&joins)), ["vllm", "serve", "a/b"]);
    assert_eq!(command(&group(&["vllm", "serve", "c/d"])), ["vllm", "serve", "c/d"], "a program of its own");
    let mpi = json!({"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": {"name": "n"},
        "spec": {"mpiReplicaSpecs": {"Launcher": {"template": {"spec": {"containers": [
            {"name": "l", "command": ["mpirun", "python", "run_clm.py"]}]}}},
            "Worker": {"template": container(&["/usr/sbin/sshd", "-De"])}}}});
    assert_eq!(command(&mpi), ["mpirun", "python", "run_clm.py"]);
}

#[test]
fn a_stored_model_is_named_by_its_address() {
    let service = |uri: &str| {
        json!({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "n"},
            "spec": {"predictor": {"model": {"modelFormat": {"name": "vLLM"}, "storageUri": uri}}}})
    };
    let args = |uri: &str| templates(&service(uri)).unwrap()[0].pod.spec.containers[0].args.clone();
    assert_eq!(args("hf://Qwen/Qwen3-8B:main"), ["--model_id=Qwen/Qwen3-8B"]);
    assert_eq!(args("pvc://models/Qwen3-8B"), ["--model_id=pvc://models/Qwen3-8B"]);
}
