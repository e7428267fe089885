//! The chart as it is installed: every object on a real API server, and the webhook with no more rights than those.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::chart::{self, Release, title};
use crate::controlplane::{ControlPlane, eventually};
use crate::gpu_nodes::{cpu_node, t4_node};
use crate::llama::serving;
use crate::webhook::Settings;
use crate::{reach, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("manifests::the_chart_installs_and_its_pods_run", the_chart_installs_and_its_pods_run),
        trial("manifests::install_yaml_is_taken_as_it_is", install_yaml_is_taken_as_it_is),
        trial("manifests::the_charts_rights_suffice", the_charts_rights_suffice),
    ]
}

/// A release with every object that the chart can make, for one node, and not reachable by the API server: other
/// tests' pods must not wait for it.
fn everything() -> Release {
    Release::of(chart::path("charts/vramguard/ci/everything-values.yaml"))
        .set("hostNetwork=false")
        .set("imagePullSecrets=null")
        .set("webhooks.objectSelector.matchLabels.vramguard\\.test/none=none")
}

fn installed(plane: &ControlPlane, objects: &[Value]) -> Result<()> {
    for object in objects {
        let arguments = ["apply", "--server-side", "--validate=strict", "--filename=-"];
        let output = plane.admin().run_with(&arguments, &object.to_string())?;
        ensure!(output.ok() && output.warnings().is_empty(), "{}: {}", title(object), output.stderr);
    }
    Ok(())
}

fn removed(plane: &ControlPlane, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    // Best effort; what is left over dies with the control plane.
    let _ = plane.admin().run_with(&["delete", "--ignore-not-found", "--wait=true", "--filename=-"], &list);
}

fn with_crds(plane: &ControlPlane) -> Result<()> {
    plane.apply(chart::FOREIGN_CRDS)?;
    let wait = ["wait", "--for=condition=Established", "customresourcedefinition", "--all", "--timeout=30s"];
    plane.kubectl(&wait)?.success().map(drop)
}

fn the_chart_installs_and_its_pods_run(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[cpu_node("plain")])?;
    with_crds(plane)?;
    let objects = everything().objects()?;
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in ["ServiceMonitor", "PrometheusRule", "PodDisruptionBudget", "NetworkPolicy", "Namespace"] {
        ensure!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
    let result = installed(plane, &objects).and_then(|()| {
        // In a namespace that enforces the restricted profile of pod security, with the Secret that an installation has.
        plane
            .kubectl(&[
                "label",
                "namespace",
                chart::NAMESPACE,
                "--overwrite",
                "pod-security.kubernetes.io/enforce=restricted",
            ])?
            .success()?;
        let wait = ["rollout", "status", "deployment/vramguard", "--namespace", chart::NAMESPACE, "--timeout=60s"];
        plane.kubectl(&wait)?.success().context("the Deployment's pods")
    });
    // Applied again, nothing changes: what the API server adds does not fight with what the chart says.
    let result = result.and_then(|_| installed(plane, &objects));
    removed(plane, &objects);
    result
}

fn install_yaml_is_taken_as_it_is(plane: &ControlPlane) -> Result<()> {
    let text = std::fs::read_to_string(chart::path("manifests/install.yaml"))?;
    let _nodes = plane.nodes(&[] as &[Value])?;
    let objects = chart::parse(&text)?;
    // In order, by one kubectl, as people do; the webhook configurations come last and are only rehearsed.
    let (configurations, rest): (Vec<Value>, Vec<Value>) = objects
        .into_iter()
        .partition(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("WebhookConfiguration")));
    ensure!(configurations.len() == 2, "{} webhook configurations", configurations.len());
    // A namespace of this name may still be on its way out.
    let result = eventually(Duration::from_secs(30), || installed(plane, &rest)).and_then(|()| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": configurations}).to_string();
        let arguments = ["create", "--dry-run=server", "--validate=strict", "--filename=-"];
        plane.admin().run_with(&arguments, &list)?.success().map(drop)
    });
    removed(plane, &rest);
    result
}

fn the_charts_rights_suffice(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let home = plane.namespace("chart-rights")?;
    let rights: Vec<Value> = reach::defaults()
        .objects()?
        .into_iter()
        .filter(|object| {
            ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"].map(Value::from).contains(&object["kind"])
        })
        // Roles for users come beside.
        .filter(|object| !title(object).contains("-profiles-"))
        .map(|object| moved_to(object, home.name()))
        .collect();
    ensure!(rights.len() == 3, "{:?}", rights.iter().map(title).collect::<Vec<_>>());
    installed(plane, &rights)?;
    let result = serves_with(plane, home.name());
    removed(plane, &rights);
    result
}

/// Its service account may read what decisions need, and nothing else.
fn serves_with(plane: &ControlPlane, namespace: &str) -> Result<()> {
    let account = plane.service_account(namespace, "vramguard")?;
    let allowed =
        |verb: &str, resource: &str| Ok(account.run(&["auth", "can-i", verb, resource, "--all-namespaces"])?.ok());
    for (verb, resource, expected) in [
        ("watch", "nodes", true),
        ("list", "pods", true),
        ("get", "secrets", false),
        ("list", "configmaps", false),
        ("create", "pods", false),
        ("delete", "pods", false),
        ("update", "nodes", false),
    ] {
        let found: Result<bool> = allowed(verb, resource);
        ensure!(found? == expected, "{verb} {resource}: expected {expected}");
    }
    // Ready is only who has listed everything that it watches.
    let webhook = Settings::default().kubeconfig(account.kubeconfig()).start(plane)?;
    webhook.namespace("served")?.rejects(&serving("serve")).because("TOO_BIG");
    let log = webhook.process().log()?;
    ensure!(!log.to_lowercase().contains("forbidden"), "{log}");
    Ok(())
}

/// The object as if it had been rendered for another namespace.
fn moved_to(mut object: Value, namespace: &str) -> Value {
    if object["metadata"]["namespace"].is_string() {
        object["metadata"]["namespace"] = namespace.into();
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        subject["namespace"] = namespace.into();
    }
    object
}
