use super::*;
use crate::decide::inventory::{CapacitySource, UnknownCapacity};
use crate::estimate::{Bytes, Device};
use crate::spec::gpus::{Amount, Share};

fn gpu(product: &str, mib: u64, resource: &str) -> Arc<GpuClass> {
    let device = Device { product: product.into(), visible: Bytes::from_mib(mib), compute_capability: None };
    Arc::new(GpuClass::whole(device, resource, CapacitySource::Label))
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn node_class(product: &str, mib: u64, count: u64, names: &[&str]) -> NodeClass {
    NodeClass {
        labels: map(&[("nvidia.com/gpu.product", product), ("nvidia.com/gpu.memory", &mib.to_string()), ("zone", "a")]),
        taints: vec![],
        unschedulable: false,
        gpus: vec![(gpu(product, mib, "nvidia.com/gpu"), count)],
        unknown: vec![],
        devices: None,
        members: names
            .iter()
            .map(|name| Member { name: (*name).to_owned(), labels: map(&[("kubernetes.io/hostname", name)]) })
            .collect(),
    }
}

fn cluster() -> Inventory {
    Inventory {
        classes: vec![node_class("T4", 15360, 1, &["t1", "t2"]), node_class("H100", 81559, 8, &["h1", "h2"])],
        nodes: 5,
        ..Inventory::default()
    }
}

fn pod(spec: &str) -> PodTemplate {
    serde_json::from_str(&format!(r#"{{"spec":{spec}}}"#)).unwrap()
}

fn ask(spec: &str, count: u64, inventory: &Inventory) -> Candidates {
    candidates(&pod(spec), &GpuRequest::new("nvidia.com/gpu", count), inventory)
}

type Eligible = Vec<(String, u64)>;
type Excluded = Vec<(String, String)>;

/// Products with eligible node counts, then excluded products with reasons.
fn words(found: &Candidates) -> (Eligible, Excluded) {
    (
        found.eligible.iter().map(|c| (c.class.device.product.clone(), c.nodes)).collect(),
        found.excluded.iter().map(|(c, reason)| (c.class.device.product.clone(), reason.clone())).collect(),
    )
}

fn eligible(spec: &str) -> Vec<(String, u64)> {
    words(&ask(spec, 1, &cluster())).0
}

fn affinity(terms: &str) -> String {
    format!(
        r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":{terms}}}}}}}}}"#
    )
}

#[test]
fn without_constraints_everything_with_enough_gpus_is_eligible_largest_first() {
    assert_eq!(eligible("{}"), [("H100".to_owned(), 2), ("T4".to_owned(), 2)]);
    let (found, excluded) = words(&ask("{}", 4, &cluster()));
    assert_eq!(found, [("H100".to_owned(), 2)]);
    assert_eq!(excluded, [("T4".to_owned(), "has 1 × nvidia.com/gpu a node, the pod requests 4".to_owned())]);
}

#[test]
fn node_selector_uses_shared_and_own_labels() {
    assert_eq!(eligible(r#"{"nodeSelector":{"nvidia.com/gpu.product":"T4"}}"#), [("T4".to_owned(), 2)]);
    assert_eq!(eligible(r#"{"nodeSelector":{"kubernetes.io/hostname":"h2"}}"#), [("H100".to_owned(), 1)]);
    let (found, excluded) = words(&ask(r#"{"nodeSelector":{"disk":"ssd"}}"#, 1, &cluster()));
    assert!(found.is_empty());
    assert_eq!(excluded[0], ("H100".to_owned(), "nodeSelector disk=ssd, but the label is absent".to_owned()));
}

#[test]
fn required_affinity_ors_terms_and_ands_requirements() {
    let big = r#"{"matchExpressions":[{"key":"nvidia.com/gpu.memory","operator":"Gt","values":["40000"]}]}"#;
    let host = r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["t2"]}]}"#;
    assert_eq!(eligible(&affinity(&format!("[{big}]"))), [("H100".to_owned(), 2)]);
    assert_eq!(eligible(&affinity(&format!("[{big},{host}]"))), [("H100".to_owned(), 2), ("T4".to_owned(), 1)]);
    assert!(eligible(&affinity("[{}]")).is_empty(), "an empty term matches nothing");
    assert!(eligible(&affinity("[]")).is_empty(), "no term matches nothing");
    let both = r#"[{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]},
                    {"key":"kubernetes.io/hostname","operator":"NotIn","values":["h1"]}]}]"#;
    assert_eq!(
        eligible(&affinity(both)),
        [("T4".to_owned(), 2), ("H100".to_owned(), 1)].into_iter().rev().collect::<Vec<_>>()
    );
    let (_, excluded) = words(&ask(&affinity(&format!("[{big}]")), 1, &cluster()));
    assert_eq!(excluded[0].1, "required node affinity: nvidia.com/gpu.memory Gt 40000, but the label is `15360`");
}

#[test]
fn taints_keep_away_unless_tolerated() {
    let mut tainted = cluster();
    tainted.classes[1].taints = vec![
        Taint { key: "soft".into(), value: String::new(), effect: "PreferNoSchedule".into() },
        Taint { key: "gpu".into(), value: "h100".into(), effect: "NoSchedule".into() },
    ];
    let h100 = |spec: &str| words(&ask(spec, 8, &tainted));
    assert_eq!(h100("{}").1[0].1, "taint gpu=h100:NoSchedule is not tolerated");
    let cases = [
        (r#"{"key":"gpu","operator":"Exists"}"#, true),
        (r#"{"operator":"Exists"}"#, true),
        (r#"{"key":"gpu","operator":"Equal","value":"h100","effect":"NoSchedule"}"#, true),
        (r#"{"key":"gpu","value":"h100"}"#, true),
        (r#"{"key":"gpu","value":"a100"}"#, false),
        (r#"{"key":"gpu","operator":"Exists","effect":"NoExecute"}"#, false),
        (r#"{"key":"other","operator":"Exists"}"#, false),
        (r#"{"key":"gpu","operator":"Near","value":"h100"}"#, false),
    ];
    for (toleration, expected) in cases {
        let found = h100(&format!(r#"{{"tolerations":[{toleration}]}}"#)).0;
        assert_eq!(!found.is_empty(), expected, "{toleration}");
    }
    assert!(h100(r#"{"nodeName":"h1"}"#).0 == [("H100".to_owned(), 1)], "a bound pod never meets the scheduler");
}

#[test]
fn numeric_tolerations_compare() {
    let taint = Taint { key: "sla".into(), value: "950".into(), effect: "NoExecute".into() };
    let toleration = |operator: &str, value: &str| Toleration {
        key: "sla".into(),
        operator: operator.into(),
        value: value.into(),
        effect: String::new(),
    };
    assert!(tolerates(&toleration("Gt", "900"), &taint));
    assert!(!tolerates(&toleration("Lt", "900"), &taint));
    assert!(!tolerates(&toleration("Gt", "many"), &taint));
}

#[test]
fn cordoned_nodes_need_their_toleration() {
    let mut cordoned = cluster();
    cordoned.classes[1].unschedulable = true;
    assert_eq!(words(&ask("{}", 1, &cordoned)).1, [("H100".to_owned(), "cordoned".to_owned())]);
    let tolerating = r#"{"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]}"#;
    assert_eq!(words(&ask(tolerating, 8, &cordoned)).0, [("H100".to_owned(), 2)]);
}

#[test]
fn resource_names_separate_classes_and_unknown_memory_is_reported() {
    let mut mixed = cluster();
    mixed.classes[0].gpus = vec![(gpu("A100-MIG", 9728, "nvidia.com/mig-1g.10gb"), 7)];
    mixed.classes[1].gpus.clear();
    let gap = UnknownCapacity { resource: "nvidia.com/gpu".into(), count: 8, reason: "no label on h1".into() };
    mixed.classes[1].unknown = vec![gap];
    let found = ask("{}", 1, &mixed);
    assert!(found.eligible.is_empty());
    assert_eq!(found.excluded[0].1, "offers nvidia.com/mig-1g.10gb, the pod requests nvidia.com/gpu");
    assert_eq!(found.unknown, ["no label on h1"]);
    assert!(ask("{}", 9, &mixed).unknown.is_empty(), "too few GPUs, whatever their memory");
}

#[test]
fn a_class_met_in_two_node_classes_is_listed_once_and_not_excluded() {
    let mut split = cluster();
    let mut other = node_class("H100", 81559, 4, &["h3"]);
    other.unschedulable = true;
    split.classes.push(other);
    let found = ask("{}", 1, &split);
    assert_eq!(words(&found).0, [("H100".to_owned(), 2), ("T4".to_owned(), 2)]);
    assert!(found.excluded.is_empty());
    assert_eq!(found.eligible[0].gpus_per_node, 8);
}

fn share_of(amount: Amount, enforced: bool) -> GpuRequest {
    GpuRequest { share: Some(Share { amount, enforced }), ..GpuRequest::new("nvidia.com/gpu", 1) }
}

#[test]
fn a_limit_that_is_enforced_is_the_capacity() {
    let limit = share_of(Amount::Memory(Bytes::from_mib(20_000)), true);
    let found = candidates(&pod("{}"), &limit, &cluster());
    assert_eq!(words(&found).0, [("H100".to_owned(), 2)]);
    let class = &found.eligible[0].class;
    assert_eq!((class.device.visible, class.assured), (Bytes::from_mib(20_000), Bytes::from_mib(20_000)));
    assert_eq!(class.name(), "H100-20GiB-limited");
    assert!(found.excluded[0].1.contains("a device has 15.0 GiB, the pod asks for 19.5 GiB of one"), "{found:?}");
}

#[test]
fn a_fraction_that_nothing_enforces_is_what_can_be_counted_on() {
    let found = candidates(&pod("{}"), &share_of(Amount::Millionths(250_000), false), &cluster());
    let class = &found.eligible[0].class;
    assert_eq!((class.device.visible, class.assured.0), (Bytes::from_mib(81_559), Bytes::from_mib(81_559).0 / 4));
    assert!(class.has_neighbours());
    let whole = candidates(&pod("{}"), &share_of(Amount::Millionths(1_000_000), false), &cluster());
    assert!(!whole.eligible[0].class.has_neighbours(), "all of a device has no neighbours");
}

#[test]
fn replicas_of_one_device_are_crowded() {
    let mut sliced = cluster();
    let mut class = GpuClass::clone(&sliced.classes[1].gpus[0].0);
    (class.sharing, class.clients) = (Sharing::TimeSlicing, 4);
    sliced.classes[1].gpus = vec![(Arc::new(class), 8)];
    let crowding = |count: u64| ask("{}", count, &sliced).eligible[0].crowding;
    assert_eq!(crowding(2), None, "two devices are behind eight replicas");
    assert_eq!(crowding(4), Some(Crowding { asked: 4, devices: 2 }));
}

#[test]
fn a_gap_covers_resources_by_prefix() {
    let mut changing = cluster();
    let gap = UnknownCapacity { resource: "nvidia.com/*".into(), count: u64::MAX, reason: "changing".into() };
    changing.classes[1].gpus.clear();
    changing.classes[1].unknown = vec![gap];
    let request = GpuRequest::new("nvidia.com/mig-1g.10gb", 1);
    assert_eq!(candidates(&pod("{}"), &request, &changing).unknown, ["changing"]);
    assert!(candidates(&pod("{}"), &GpuRequest::new("amd.com/gpu", 1), &changing).unknown.is_empty());
}
