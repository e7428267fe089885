//! What the chart's own webhook configurations send to the webhook, and what happens when it is not there.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::chart::Release;
use crate::controlplane::{ControlPlane, until};
use crate::gpu_nodes::{cpu_node, t4_node};
use crate::llama::serving;
use crate::trial;
use crate::webhook::{Settings, Webhook};
use crate::workloads::{deployment, pod};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("reach::only_what_concerns_gpus_is_asked", only_what_concerns_gpus_is_asked),
        trial("reach::kube_system_is_never_asked_about", kube_system_is_never_asked_about),
        trial("reach::a_template_is_judged_once", a_template_is_judged_once),
        trial("reach::pods_are_admitted_while_it_is_down", pods_are_admitted_while_it_is_down),
    ]
}

/// The chart with its defaults, and the CA bundle that it cannot do without: `register` puts the real one in its place.
pub(crate) fn defaults() -> Release {
    Release::bare().set("tls.caBundle=Q0FfQlVORExF")
}

/// The webhook configurations of [`defaults`].
pub(crate) fn from_chart() -> Result<Vec<Value>> {
    defaults().webhook_configurations()
}

fn start<'a>(plane: &'a ControlPlane, config: &str) -> Result<Webhook<'a>> {
    Settings::default().config(config).registered_as(from_chart()?).start(plane)
}

fn only_what_concerns_gpus_is_asked(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1), cpu_node("plain")])?;
    let webhook = start(plane, "")?;
    let team = webhook.namespace("quiet")?;
    let before = webhook.requests()?;
    team.accepts(&pod("web").resource("cpu", "1")).silently();
    team.accepts(&pod("web").annotation("example.com/vramguard.io", "not ours")).silently();
    team.runs_pods_of(&deployment("web", 2, &pod("web").resource("memory", "64Mi")), 2);
    team.kubectl(&["scale", "deployment/web", "--replicas=0"])?.success()?;
    ensure!(same(webhook.requests()?, before), "asked about pods without GPUs:\n{}", webhook.metrics()?);
    // Validated and mutated: two requests for each that is ours.
    team.accepts(&pod("bare").gpus(1));
    ensure!(same(webhook.requests()?, before + 2.0), "{}", webhook.metrics()?);
    // No GPU, but it speaks to us.
    team.accepts(&pod("talks").annotation("vramguard.io/task", "inference"));
    ensure!(same(webhook.requests()?, before + 4.0), "{}", webhook.metrics()?);
    team.rejects(&serving("serve")).because("TOO_BIG");
    ensure!(same(webhook.requests()?, before + 6.0), "{}", webhook.metrics()?);
    Ok(())
}

fn kube_system_is_never_asked_about(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = start(plane, "")?;
    // A namespace of the test's must carry the test's label, or nothing is shown by silence.
    let like = webhook.namespace("like-kube-system")?;
    let labels = plane.admin().get(&["namespace", like.name()])?["metadata"]["labels"].clone();
    let (key, id) = label_of_webhook(&labels)?;
    plane.kubectl(&["label", "namespace", "kube-system", &format!("{key}={id}")])?.success()?;
    let asked = || -> Result<()> {
        let before = webhook.requests()?;
        let big = serving("serve").into_object();
        let system = ["create", "--dry-run=server", "--namespace=kube-system", "--filename=-"];
        plane.admin().run_with(&system, &big.to_string())?.success()?;
        ensure!(same(webhook.requests()?, before), "asked about kube-system");
        like.rejects(&big).because("TOO_BIG");
        ensure!(webhook.requests()? > before, "not asked about {}", like.name());
        Ok(())
    };
    let result = asked();
    plane.kubectl(&["label", "namespace", "kube-system", &format!("{key}-")])?.success()?;
    result
}

fn a_template_is_judged_once(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 4)])?;
    let webhook = start(plane, "mode: warn\n")?;
    let team = webhook.namespace("once")?;
    let before = webhook.requests()?;
    team.runs_pods_of(&deployment("serve", 3, &serving("serve")), 3);
    // The Deployment, then each pod twice; its ReplicaSet was judged with it.
    ensure!(same(webhook.requests()?, before + 1.0 + 2.0 * 3.0), "{}", webhook.metrics()?);
    // Scaling asks nothing of the template, only of the new pod.
    team.kubectl(&["scale", "deployment/serve", "--replicas=4"])?.success()?;
    until("the fourth pod", Duration::from_secs(30), || Ok(webhook.requests()? > before + 8.5))?;
    ensure!(same(webhook.requests()?, before + 1.0 + 2.0 * 4.0), "{}", webhook.metrics()?);
    Ok(())
}

fn pods_are_admitted_while_it_is_down(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = start(plane, "")?;
    let team = webhook.namespace("fails-open")?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    // Asked to end it drains: it answers until it is gone, and nobody is refused for its sake.
    webhook.process().ask_to_end()?;
    until("the webhook to end", Duration::from_secs(30), || {
        let answer = team.ask(&serving("serve"))?;
        ensure!(answer.ok() || answer.stderr.contains("TOO_BIG"), "{}", answer.stderr);
        Ok(webhook.process().ended()?.is_some())
    })?;
    ensure!(webhook.process().ended()?.is_some_and(|status| status.success()), "{}", webhook.process().tail());
    team.accepts(&serving("serve")).silently();
    let running = team.runs(&serving("serve"));
    ensure!(running["spec"]["nodeName"] == "t4", "{}", running["spec"]);
    Ok(())
}

fn label_of_webhook(labels: &Value) -> Result<(&'static str, String)> {
    let key = crate::registration::LABEL;
    let id = labels[key].as_str().ok_or_else(|| anyhow::anyhow!("no {key} in {labels}"))?;
    Ok((key, id.to_owned()))
}

/// Counters are whole numbers.
fn same(left: f64, right: f64) -> bool {
    (left - right).abs() < 0.5
}
