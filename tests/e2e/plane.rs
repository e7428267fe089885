//! The control plane itself: what the other tests build on.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::controlplane::ControlPlane;
use crate::gpu_nodes::{a10_node, a100_80gb_node, cpu_node, l40s_node, t4_node};
use crate::trial;
use crate::workloads::{deployment, job, pod};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("plane::starts_within_seconds", starts_within_seconds),
        trial("plane::is_the_version_it_was_built_from", is_the_version_it_was_built_from),
        trial("plane::nodes_carry_what_real_gpu_nodes_carry", nodes_carry_what_real_gpu_nodes_carry),
        trial("plane::scheduler_places_a_gpu_pod_and_it_runs", scheduler_places_a_gpu_pod_and_it_runs),
        trial("plane::scheduler_counts_gpus", scheduler_counts_gpus),
        trial("plane::controllers_make_pods", controllers_make_pods),
        trial("plane::nodes_leave_with_their_test", nodes_leave_with_their_test),
        trial("plane::developers_may_not_touch_the_cluster", developers_may_not_touch_the_cluster),
        trial("plane::service_accounts_have_tokens", service_accounts_have_tokens),
        trial("plane::serves_clients_of_the_code_under_test", serves_clients_of_the_code_under_test),
        trial("plane::audit_log_names_the_user", audit_log_names_the_user),
    ]
}

fn starts_within_seconds(plane: &ControlPlane) -> Result<()> {
    // Four seconds on an idle machine; the limit leaves room for a busy one.
    ensure!(plane.started_in() < Duration::from_mins(1), "it took {:?}", plane.started_in());
    Ok(())
}

fn is_the_version_it_was_built_from(plane: &ControlPlane) -> Result<()> {
    if std::env::var_os("KUBEBUILDER_ASSETS").is_some() {
        // Then it was built by somebody else, from what they chose.
        return Ok(());
    }
    let version = plane.kubectl(&["version", "--output=json"])?.json()?;
    let required = include_str!("../controlplane/kubernetes/go.mod")
        .lines()
        .find_map(|line| line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes "))
        .expect("go.mod requires k8s.io/kubernetes");
    let required = required.split(' ').next();
    assert_eq!(version["serverVersion"]["gitVersion"].as_str(), required);
    assert_eq!(version["clientVersion"]["gitVersion"].as_str(), required);
    Ok(())
}

fn nodes_carry_what_real_gpu_nodes_carry(plane: &ControlPlane) -> Result<()> {
    let nodes = [a100_80gb_node("a100", 8), t4_node("t4", 1), a10_node("a10", 4), l40s_node("l40s", 8)];
    let _nodes = plane.nodes(&nodes)?;
    for (name, memory, gpus) in
        [("a100", "81920", "8"), ("t4", "15360", "1"), ("a10", "23028", "4"), ("l40s", "46068", "8")]
    {
        let node = plane.admin().get(&["node", name])?;
        assert_eq!(node["metadata"]["labels"]["nvidia.com/gpu.memory"], memory);
        assert_eq!(node["status"]["allocatable"]["nvidia.com/gpu"], gpus);
    }
    Ok(())
}

fn scheduler_places_a_gpu_pod_and_it_runs(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[cpu_node("plain"), a100_80gb_node("n1", 8)])?;
    let running = plane.namespace("placing")?.runs(&pod("serve").gpus(4));
    assert_eq!(running["spec"]["nodeName"], "n1");
    assert_eq!(running["status"]["containerStatuses"][0]["ready"], true);
    Ok(())
}

fn scheduler_counts_gpus(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("small", 1)])?;
    let words = plane.namespace("counting")?.cannot_schedule(&pod("greedy").gpus(2));
    assert!(words.contains("Insufficient nvidia.com/gpu"), "{words}");
    Ok(())
}

fn controllers_make_pods(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[l40s_node("n1", 8)])?;
    let namespace = plane.namespace("controllers")?;
    let pods = namespace.runs_pods_of(&deployment("web", 3, &pod("web").gpus(1)), 3);
    assert!(pods.iter().all(|pod| pod["spec"]["nodeName"] == "n1"));
    namespace.creates(&job("train", &pod("train").gpus(1)));
    namespace.kubectl(&["wait", "job/train", "--for=condition=complete", "--timeout=60s"])?.success()?;
    Ok(())
}

fn nodes_leave_with_their_test(plane: &ControlPlane) -> Result<()> {
    drop(plane.nodes(&[t4_node("passing", 1)])?);
    let _nobody_else = plane.nodes(&[] as &[serde_json::Value])?;
    assert_eq!(plane.admin().get(&["nodes"])?["items"], serde_json::json!([]));
    Ok(())
}

fn developers_may_not_touch_the_cluster(plane: &ControlPlane) -> Result<()> {
    let namespace = plane.namespace("developing")?;
    namespace.accepts(&pod("mine")).silently();
    let refused = plane.developer().run(&["get", "nodes"])?;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("Forbidden"), "{}", refused.stderr);
    Ok(())
}

fn service_accounts_have_tokens(plane: &ControlPlane) -> Result<()> {
    let namespace = plane.namespace("accounts")?;
    let account = plane.service_account(namespace.name(), "default")?;
    let who = account.run(&["auth", "whoami", "--output=json"])?.json()?;
    let name = format!("system:serviceaccount:{}:default", namespace.name());
    assert_eq!(who["status"]["userInfo"]["username"].as_str(), Some(name.as_str()));
    Ok(())
}

fn audit_log_names_the_user(plane: &ControlPlane) -> Result<()> {
    let namespace = plane.namespace("audited")?;
    namespace.accepts(&pod("watched"));
    let events = plane.audit_events()?;
    let ours = events.iter().find(|event| event["objectRef"]["namespace"] == namespace.name());
    assert_eq!(ours.expect("the request is in the log")["user"]["username"], "developer");
    Ok(())
}

fn serves_clients_of_the_code_under_test(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[a10_node("seen", 2)])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let names: Vec<Option<String>> = runtime.block_on(async {
        let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(plane.client().await?);
        let list = nodes.list(&kube::api::ListParams::default()).await?;
        anyhow::Ok(list.items.into_iter().map(|node| node.metadata.name).collect())
    })?;
    assert_eq!(names, [Some("seen".to_owned())]);
    Ok(())
}
