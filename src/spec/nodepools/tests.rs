//! Pools as users of Karpenter write them.

use serde_json::{Value, json};

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({...}) in place")]
fn pool(requirements: Value) -> NodePool {
    serde_json::from_value(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"},
        "spec": {
            "template": {
                "metadata": {"labels": {"team": "ml"}},
                "spec": {"requirements": requirements, "taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
                         "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}}
            },
            "limits": {"nvidia.com/gpu": "8"}
        }
    }))
    .unwrap()
}

fn types(classes: &[NodeClass]) -> Vec<&str> {
    classes.iter().map(|class| class.labels.get(INSTANCE_TYPE).map_or("?", String::as_str)).collect()
}

#[test]
fn requirements_choose_instance_types() {
    let one = |key: &str, operator: &str, values: &[&str]| {
        possible(&[pool(json!([{"key": key, "operator": operator, "values": values}]))])
    };
    let by_type = one(INSTANCE_TYPE, "In", &["p5.48xlarge", "m7i.large"]);
    assert_eq!(types(&by_type), ["p5.48xlarge"]);
    let class = &by_type[0];
    assert_eq!((class.gpus[0].0.device.product.as_str(), class.gpus[0].1), ("NVIDIA-H100-80GB-HBM3", 8));
    assert_eq!((class.labels["team"].as_str(), class.labels["karpenter.sh/nodepool"].as_str()), ("ml", "gpu"));
    assert_eq!(class.taints.len(), 1);
    let family = one("karpenter.k8s.aws/instance-family", "In", &["g6e"]);
    assert!(!family.is_empty() && types(&family).iter().all(|name| name.starts_with("g6e.")), "{:?}", types(&family));
    let named = one("karpenter.k8s.aws/instance-gpu-name", "In", &["a100"]);
    assert!(types(&named).contains(&"p4d.24xlarge") && types(&named).contains(&"p4de.24xlarge"), "{:?}", types(&named));
    let large = one("karpenter.k8s.aws/instance-gpu-memory", "Gt", &["80000"]);
    assert!(types(&large).contains(&"p5.48xlarge") && !types(&large).contains(&"g5.xlarge"), "{:?}", types(&large));
    assert!(one("karpenter.k8s.aws/instance-category", "In", &["c", "m"]).is_empty());
    assert!(types(&one("karpenter.sh/capacity-type", "In", &["spot"])).len() > 20, "what nothing says may be anything");
    assert!(
        one("karpenter.sh/capacity-type", "In", &["spot"])
            .iter()
            .all(|class| class.labels["karpenter.sh/capacity-type"] == "spot")
    );
}

#[test]
fn limits_and_the_cloud_bound_a_pool() {
    let mut small = pool(json!([]));
    small.spec.limits = BTreeMap::from([("nvidia.com/gpu".to_owned(), json!(1))]);
    let found = possible(&[small]);
    assert!(!types(&found).contains(&"p5.48xlarge") && types(&found).contains(&"g6.xlarge"));
    assert!(types(&found).iter().all(|name| !name.starts_with("standard_") && !name.contains("highgpu")), "AWS only");
}

#[test]
fn a_type_that_the_catalogue_lacks_is_unknown() {
    let with = |kind: &str| possible(&[pool(json!([{"key": INSTANCE_TYPE, "operator": "In", "values": [kind]}]))]);
    let unheard = with("p9.48xlarge");
    assert!(unheard[0].unknown[0].covers("nvidia.com/gpu") && unheard[0].unknown[0].reason.contains("p9.48xlarge"));
    assert!(with("m7i.large").is_empty() && with("c7gn.large").is_empty());
}

#[test]
fn shapes_are_what_is_configured() {
    let shape: NodeShape = serde_json::from_value(json!({
        "name": "big", "labels": {"nvidia.com/gpu.product": "NVIDIA-H200"}, "resources": {"nvidia.com/gpu": 8},
        "taints": [{"key": "gpu", "effect": "NoSchedule"}]
    }))
    .unwrap();
    let classes = shapes(&[shape]);
    assert_eq!((classes[0].gpus[0].0.device.product.as_str(), classes[0].gpus[0].1), ("NVIDIA-H200", 8));
    let by_type = NodeShape {
        labels: BTreeMap::from([(INSTANCE_TYPE.to_owned(), "p5.48xlarge".to_owned())]),
        ..NodeShape::default()
    };
    assert_eq!(shapes(&[by_type])[0].gpus[0].1, 8, "the instance type's resources");
}
