//! `check` against everything that `--nodes` takes besides whole GPUs.

use super::support::{Folder, Run, vramguard_args};

const SERVER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: serve, namespace: ml}
spec:
  template:
    metadata:
      annotations: {vramguard.io/model: meta-llama/Llama-2-7b-hf, vramguard.io/dtype: fp16, vramguard.io/batch-size: '4', vramguard.io/context-length: '4096'}
    spec:
      resourceClaims: [{name: gpu, resourceClaimTemplateName: one}]
      containers: [{name: server, resources: {claims: [{name: gpu}]}}]
";

const TEMPLATE: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: one, namespace: ml}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com}}]}}}
";

fn slices(product: &str, memory: &str) -> String {
    format!(
        "apiVersion: resource.k8s.io/v1
kind: ResourceSliceList
items:
- metadata: {{name: node-1-gpu}}
  spec:
    driver: gpu.nvidia.com
    nodeName: node-1
    pool: {{name: node-1, generation: 1, resourceSliceCount: 1}}
    devices:
    - name: gpu-0
      attributes: {{type: {{string: gpu}}, productName: {{string: {product}}}}}
      capacity: {{memory: {{value: {memory}}}}}
"
    )
}

fn check(manifests: &str, nodes: &str) -> Run {
    let folder = Folder::with(&[("a.yaml", manifests), ("nodes.yaml", nodes)]);
    let (manifests, nodes) = (folder.path("a.yaml"), folder.path("nodes.yaml"));
    vramguard_args(&["check", "-f", &manifests, "--nodes", &nodes, "-o", "json"])
}

#[track_caller]
fn verdict(run: &Run) -> (String, String) {
    let result = run.json();
    let report = &result["results"][0];
    (report["verdict"].as_str().unwrap().to_owned(), report["decision"].as_str().unwrap().to_owned())
}

#[test]
fn claims_beside_manifests_are_held_against_slices() {
    // The template comes after the pod that uses it.
    let manifests = format!("{SERVER}---{TEMPLATE}");
    let fits = check(&manifests, &slices("NVIDIA L40S", "46068Mi"));
    assert_eq!(verdict(&fits), ("FITS".into(), "allow".into()), "{fits}");
    let denied = check(&manifests, &slices("Tesla T4", "15360Mi"));
    assert_eq!((denied.code, verdict(&denied)), (1, ("TOO_BIG".into(), "deny".into())), "{denied}");
    assert!(denied.json()["results"][0]["capacity"]["gpuClass"].as_str().unwrap().contains("Tesla-T4"), "{denied}");
    let unknown = check(SERVER, &slices("Tesla T4", "15360Mi"));
    assert_eq!(verdict(&unknown), ("UNKNOWN_CAPACITY".into(), "warn".into()), "{unknown}");
    // The template may be among the nodes.
    let beside = check(SERVER, &format!("{}---{TEMPLATE}", slices("Tesla T4", "15360Mi")));
    assert_eq!(verdict(&beside).0, "TOO_BIG", "{beside}");
}

#[test]
fn a_node_pool_beside_the_nodes_is_possible_capacity() {
    let pod = SERVER.replace("resourceClaims: [{name: gpu, resourceClaimTemplateName: one}]", "nodeSelector: {}");
    let pod = pod.replace("claims: [{name: gpu}]", "limits: {nvidia.com/gpu: 1}");
    let node = "kind: Node\nmetadata: {name: t4, labels: {nvidia.com/gpu.product: Tesla-T4}}\nstatus: {allocatable: {nvidia.com/gpu: '1'}}\n";
    let pool = "kind: NodePool\napiVersion: karpenter.sh/v1\nmetadata: {name: gpu}\nspec: {template: {spec: {requirements: [{key: node.kubernetes.io/instance-type, operator: In, values: [g6e.xlarge]}]}}}\n";
    assert_eq!(verdict(&check(&pod, node)), ("TOO_BIG".into(), "deny".into()));
    let with_pool = check(&pod, &format!("{node}---\n{pool}"));
    assert_eq!(
        (with_pool.code, verdict(&with_pool)),
        (0, ("FITS_AFTER_SCALE_UP".into(), "warn".into())),
        "{with_pool}"
    );
    let alone = check(&pod, pool);
    assert_eq!(verdict(&alone).0, "FITS_AFTER_SCALE_UP", "{alone}");
}

#[test]
fn malformed_objects_of_devices_are_errors_beside_the_results() {
    let run = check(
        &format!("{SERVER}---{TEMPLATE}"),
        &format!(
            "{}---\nkind: DeviceClass\nmetadata: {{name: x}}\nspec: {{selectors: 3}}\n",
            slices("NVIDIA L40S", "46068Mi")
        ),
    );
    assert_eq!(run.code, 2, "{run}");
    assert!(run.json()["errors"][0]["message"].as_str().unwrap().contains("DeviceClass"), "{run}");
}
