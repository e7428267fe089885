//! The webhook's own metrics, as decisions are made and workloads come and go.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::controlplane::{ControlPlane, until};
use crate::exposition::select;
use crate::gpu_nodes::{a10_node, l40s_node, t4_node};
use crate::llama::{A10, L40S, PRODUCT, T4, serving, vllm};
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::deployment;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const DECISIONS: &str = "vramguard_admission_decisions_total";
const REQUIRED: &str = "vramguard_workload_required_bytes";
const HEADROOM: &str = "vramguard_workload_headroom_bytes";

/// Watches and refreshes need some seconds.
const SERIES_LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("metrics::decisions_are_counted_by_what_and_why", decisions_are_counted_by_what_and_why),
        trial("metrics::workloads_have_series_while_they_live", workloads_have_series_while_they_live),
        trial("metrics::capacity_follows_the_nodes", capacity_follows_the_nodes),
    ]
}

fn decisions_are_counted_by_what_and_why(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1), a10_node("a10", 1), l40s_node("l40s", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("counted")?;
    let audited = webhook.namespace_with("counted-audit", &json!({"vramguard.io/mode": "audit"}))?;
    let on = |product: &str| serving("serve").on_nodes_with(PRODUCT, product);
    let count = |labels: &[(&str, &str)]| webhook.metric(DECISIONS, &[labels, &[("endpoint", "validate")]].concat());

    team.rejects(&on(T4)).because("TOO_BIG");
    team.accepts(&on(A10)).with_warning("TIGHT");
    team.accepts(&on(L40S)).silently();
    audited.accepts(&on(T4)).silently();
    for (verdict, decision, mode) in [
        ("TOO_BIG", "deny", "enforce"),
        ("TIGHT", "warn", "enforce"),
        ("FITS", "allow", "enforce"),
        ("TOO_BIG", "allow", "audit"),
    ] {
        let labels = [
            ("verdict", verdict),
            ("decision", decision),
            ("mode", mode),
            ("operation", "CREATE"),
            ("dry_run", "true"),
        ];
        ensure!(count(&labels)? > 0.5, "no {labels:?} in\n{}", webhook.metrics()?);
    }
    // What is stored is no dry run, and a new template no creation.
    ensure!(count(&[("dry_run", "false")])? < 0.5, "{}", webhook.metrics()?);
    team.creates(&deployment("serve", 0, &on(L40S)));
    let image =
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"serve","image":"registry.example/image:2"}]}}}}"#;
    team.kubectl(&["patch", "deployment/serve", "--patch", image])?.success()?;
    ensure!(
        count(&[("operation", "UPDATE"), ("dry_run", "false"), ("verdict", "FITS")])? > 0.5,
        "{}",
        webhook.metrics()?
    );
    let observed = webhook.metric("vramguard_admission_duration_seconds_count", &[("endpoint", "validate")])?;
    ensure!(observed >= 6.0, "{observed} durations");
    Ok(())
}

fn workloads_have_series_while_they_live(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1), a10_node("a10", 2), l40s_node("l40s", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("living")?;
    let audited = webhook.namespace_with("living-audit", &json!({"vramguard.io/mode": "audit"}))?;
    team.runs_pods_of(&deployment("web", 2, &vllm("serve").on_nodes_with(PRODUCT, A10)), 2);
    team.runs(&serving("lone").on_nodes_with(PRODUCT, L40S));
    audited.runs(&serving("hopeless").on_nodes_with(PRODUCT, T4));

    let has = |namespace: &str, workload: &str| -> Result<bool> {
        Ok(!select(&webhook.metrics()?, REQUIRED, &[("namespace", namespace), ("workload", workload)]).is_empty())
    };
    until("the series of three workloads", SERIES_LIMIT, || {
        Ok(has(team.name(), "web")? && has(team.name(), "lone")? && has(audited.name(), "hopeless")?)
    })?;
    let page = webhook.metrics()?;
    // Two pods of one Deployment are one workload.
    for bound in ["low", "likely", "high"] {
        let labels = [("namespace", team.name()), ("workload", "web"), ("container", "serve"), ("bound", bound)];
        let found = select(&page, REQUIRED, &labels);
        ensure!(found.len() == 1 && found[0].value > 12.0 * GIB, "{bound}: {found:?}");
    }
    // vLLM takes its share of the whole device, whatever it needs.
    let reserved = webhook.metric("vramguard_workload_reserved_bytes", &[("workload", "web"), ("bound", "likely")])?;
    ensure!((18.0..22.0).contains(&(reserved / GIB)), "{} GiB reserved", reserved / GIB);
    let headroom = |workload: &str| webhook.metric(HEADROOM, &[("workload", workload)]);
    ensure!((15.0..26.0).contains(&(headroom("lone")? / GIB)), "{} GiB", headroom("lone")? / GIB);
    ensure!(headroom("hopeless")? < -5.0 * GIB, "{} GiB", headroom("hopeless")? / GIB);

    team.kubectl(&["delete", "pod", "lone", "--wait=true"])?.success()?;
    until("the series to vanish with the pod", SERIES_LIMIT, || Ok(!has(team.name(), "lone")?))?;
    ensure!(has(team.name(), "web")?, "others' series vanished too");
    team.kubectl(&["delete", "deployment", "web"])?.success()?;
    until("the series to vanish with the deployment", SERIES_LIMIT, || Ok(!has(team.name(), "web")?))
}

fn capacity_follows_the_nodes(plane: &ControlPlane) -> Result<()> {
    let mut nodes = plane.nodes(&[a10_node("a10-1", 4), a10_node("a10-2", 2)])?;
    let webhook = Webhook::start(plane, "")?;
    let classes = |name: &str| -> Result<Vec<(String, f64)>> {
        let found = select(&webhook.metrics()?, name, &[]);
        Ok(found.into_iter().map(|each| (each.labels["gpu_class"].clone(), each.value)).collect())
    };
    let capacity = classes("vramguard_gpu_capacity_bytes")?;
    ensure!(capacity.len() == 1 && capacity[0].0.contains("A10"), "{capacity:?}");
    ensure!((21.0..22.5).contains(&(capacity[0].1 / GIB)), "{capacity:?}");
    ensure!(classes("vramguard_gpu_devices")?[0].1.to_bits() == 6.0_f64.to_bits(), "{}", webhook.metrics()?);
    ensure!(classes("vramguard_gpu_nodes")?[0].1.to_bits() == 2.0_f64.to_bits(), "{}", webhook.metrics()?);
    nodes.add(&l40s_node("l40s", 8))?;
    until("the new class", SERIES_LIMIT, || {
        Ok(classes("vramguard_gpu_devices")?.iter().any(|(class, devices)| class.contains("L40S") && *devices > 7.5))
    })?;
    plane.kubectl(&["delete", "node", "l40s"])?.success()?;
    until("the class to vanish", SERIES_LIMIT, || Ok(classes("vramguard_gpu_devices")?.len() == 1))?;
    for cache in ["nodes", "namespaces", "pods"] {
        let age = select(&webhook.metrics()?, "vramguard_cache_age_seconds", &[("cache", cache)]);
        ensure!(age.len() == 1 && age[0].value < 1.0, "{cache}: {age:?}");
    }
    Ok(())
}
