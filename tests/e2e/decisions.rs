//! What a person with a model is told by a real API server: refused, warned or let through, and why.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::controlplane::{ControlPlane, eventually};
use crate::gpu_nodes::{a10_node, a100_80gb_node, l40s_node, t4_node};
use crate::llama::{A10, A100, L40S, LLAMA, PRODUCT, T4, serving, sharded_training, training, vllm, zoo};
use crate::namespace::Namespace;
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::{deployment, job};

const ESTIMATE: &str = "vramguard.io/estimate";
const VERDICT: &str = "vramguard.io/verdict";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("decisions::training_is_refused_where_it_cannot_fit", training_is_refused_where_it_cannot_fit),
        trial("decisions::the_suggested_fix_is_admitted_and_placed", the_suggested_fix_is_admitted_and_placed),
        trial("decisions::serving_depends_on_the_gpu", serving_depends_on_the_gpu),
        trial(
            "decisions::an_engine_that_queues_is_admitted_with_a_note",
            an_engine_that_queues_is_admitted_with_a_note,
        ),
        trial("decisions::whoever_applies_a_deployment_sees_the_error", whoever_applies_a_deployment_sees_the_error),
        trial("decisions::a_dry_run_says_what_the_real_thing_says", a_dry_run_says_what_the_real_thing_says),
        trial("decisions::a_change_of_nodes_changes_the_next_decision", a_change_of_nodes_changes_the_next_decision),
        trial("decisions::an_admitted_pod_carries_its_estimate", an_admitted_pod_carries_its_estimate),
    ]
}

fn training_is_refused_where_it_cannot_fit(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[a100_80gb_node("a100", 4)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("training")?;
    let refused = team.rejects(&training("train")).because("TOO_BIG").because("\"train\"").because("optimizer");
    // 79.3 GiB are what the runtime sees of an 80 GB A100.
    let offered = number_before(&refused.message, " GiB; fits").or_else(|| number_after(&refused.message, "offers "));
    ensure!(offered.is_some_and(|gib| (78.0..80.0).contains(&gib)), "{}", refused.message);
    // A fix is a setting to change, with what it then needs.
    refused.because("fits with").because("zero3");
    // The same, sharded over the four GPUs. Nothing is said of checkpointing, so it may be tight; it is not refused.
    let verdict = team.accepts(&sharded_training("train")).object.pointer(&annotation(VERDICT)).cloned();
    ensure!(verdict == Some("FITS".into()) || verdict == Some("TIGHT".into()), "{verdict:?}");
    Ok(())
}

fn the_suggested_fix_is_admitted_and_placed(plane: &ControlPlane) -> Result<()> {
    let _nodes =
        plane.nodes(&[t4_node("t4", 4), a100_80gb_node("small", 1), a100_80gb_node("large", 4), a10_node("a10", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("placed")?;
    let training = sharded_training("train").on_nodes_with(PRODUCT, A100);
    let running = team.runs(&training);
    ensure!(running["spec"]["nodeName"] == "large", "placed on {}", running["spec"]["nodeName"]);
    let pods = team.runs_pods_of(&deployment("serve", 1, &serving("serve").on_nodes_with(PRODUCT, A100)), 1);
    ensure!(pods[0]["spec"]["nodeName"] == "small", "placed on {}", pods[0]["spec"]["nodeName"]);
    ensure!(pods[0].pointer(&annotation(VERDICT)) == Some(&"FITS".into()), "{}", pods[0]["metadata"]["annotations"]);
    team.creates(&job("batch", &vllm("batch").on_nodes_with(PRODUCT, A10)));
    team.kubectl(&["wait", "job/batch", "--for=condition=complete", "--timeout=60s"])?.success()?;
    Ok(())
}

fn serving_depends_on_the_gpu(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&zoo())?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("serving")?;
    team.rejects(&serving("serve").on_nodes_with(PRODUCT, T4)).because("TOO_BIG").because("weights");
    team.accepts(&serving("serve").on_nodes_with(PRODUCT, A10))
        .with_warning("TIGHT")
        .with(&annotation(VERDICT), "TIGHT");
    team.accepts(&serving("serve").on_nodes_with(PRODUCT, L40S)).silently().with(&annotation(VERDICT), "FITS");
    // Where nothing pins it, it fits somewhere, but the scheduler may choose another node.
    team.accepts(&serving("serve")).with_warning("Tesla-T4").with(&annotation(VERDICT), "FITS");
    Ok(())
}

fn an_engine_that_queues_is_admitted_with_a_note(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&zoo())?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("queueing")?;
    let on_a10 = vllm("serve").on_nodes_with(PRODUCT, A10);
    let accepted = team.accepts(&on_a10).with(&annotation(VERDICT), "FITS");
    eventually(Duration::from_secs(10), || {
        let said = format!("{:?} {:?}", accepted.warnings, audit_annotations(plane, &team)?);
        ensure!(said.contains("64 sequences") && said.contains("queue"), "nothing of queueing: {said}");
        Ok(())
    })?;
    // Who demands that all of them run at once is refused.
    let strict = Webhook::start(plane, "requireWanted: true\n")?;
    strict.namespace("at-once")?.rejects(&on_a10).because("TOO_BIG").because("KV cache");
    Ok(())
}

fn whoever_applies_a_deployment_sees_the_error(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&zoo())?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("deploying")?;
    let good = deployment("train", 1, &sharded_training("train").on_nodes_with(PRODUCT, A100));
    let bad = deployment("train", 1, &training("train").on_nodes_with(PRODUCT, A100));
    team.rejects(&bad).because("TOO_BIG").because("optimizer");
    // Templates are judged and never changed: what was applied is what is stored.
    let before = good["spec"]["template"]["metadata"]["annotations"].clone();
    let stored = team.creates(&good).object;
    ensure!(stored["spec"]["template"]["metadata"]["annotations"] == before, "{}", stored["spec"]["template"]);
    let updated = team.apply(&bad, &[])?;
    ensure!(!updated.ok() && updated.stderr.contains("TOO_BIG"), "{}", updated.stderr);
    team.rejects(&job("train", &training("train").on_nodes_with(PRODUCT, A100))).because("TOO_BIG");
    Ok(())
}

fn a_dry_run_says_what_the_real_thing_says(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&zoo())?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("rehearsing")?;
    for object in [
        deployment("serve", 1, &serving("serve").on_nodes_with(PRODUCT, T4)),
        deployment("serve", 0, &serving("serve").on_nodes_with(PRODUCT, A10)),
    ] {
        // The webhook's view of the nodes must be there before words are compared.
        eventually(Duration::from_secs(10), || {
            let words = team.apply(&object, &["--dry-run=server"])?.stderr;
            ensure!(words.contains("TOO_BIG") || words.contains("TIGHT"), "{words:?}");
            Ok(())
        })?;
        let rehearsed = team.apply(&object, &["--dry-run=server"])?;
        let real = team.apply(&object, &[])?;
        ensure!(rehearsed.stderr == real.stderr, "{:?} and {:?}", rehearsed.stderr, real.stderr);
        ensure!(rehearsed.code == real.code, "{} and {}", rehearsed.code, real.code);
    }
    Ok(())
}

fn a_change_of_nodes_changes_the_next_decision(plane: &ControlPlane) -> Result<()> {
    let mut nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("changing")?;
    let pod = serving("serve");
    team.rejects(&pod).because("TOO_BIG");
    nodes.add(&l40s_node("l40s", 1))?;
    team.accepts(&pod);
    // No longer one that the pod may use, then one again by its label.
    let chosen = serving("serve").on_nodes_with("pool", "serving");
    verdict_becomes(&team, &chosen, "NO_ELIGIBLE_GPU")?;
    plane.kubectl(&["label", "node", "l40s", "pool=serving"])?.success()?;
    verdict_becomes(&team, &chosen, "FITS")?;
    plane.kubectl(&["cordon", "l40s"])?.success()?;
    verdict_becomes(&team, &chosen, "NO_ELIGIBLE_GPU")?;
    plane.kubectl(&["uncordon", "l40s"])?.success()?;
    verdict_becomes(&team, &chosen, "FITS")?;
    // Feature discovery corrects itself: the same node is a smaller one.
    let smaller =
        ["label", "node", "l40s", "--overwrite", "nvidia.com/gpu.product=NVIDIA-A10", "nvidia.com/gpu.memory=23028"];
    plane.kubectl(&smaller)?.success()?;
    verdict_becomes(&team, &chosen, "TIGHT")?;
    plane.kubectl(&["delete", "node", "l40s"])?.success()?;
    team.rejects(&pod).because("TOO_BIG");
    Ok(())
}

fn an_admitted_pod_carries_its_estimate(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[l40s_node("l40s", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("marked")?;
    let once = team.accepts(&serving("serve")).silently().with(&annotation(VERDICT), "FITS").object;
    let estimate = estimate_of(&once)?;
    ensure!(estimate["model"] == LLAMA, "{estimate}");
    let likely = estimate.pointer("/required/likely").and_then(Value::as_f64).context("no required.likely")?;
    // Weights 12.6 and KV cache 8.0, and what a runtime takes.
    ensure!((20.6..25.0).contains(&(likely / 1024_f64.powi(3))), "{estimate}");
    ensure!(estimate["terms"]["kv_cache"] == 8_u64 << 30, "{estimate}");
    // What came back goes in again and stays as it is; a forged estimate does not.
    let mut again = team.accepts(&fresh(&once)).object;
    ensure!(again["metadata"]["annotations"] == once["metadata"]["annotations"], "{again:#}");
    again["metadata"]["annotations"][ESTIMATE] = "{}".into();
    again["metadata"]["annotations"][VERDICT] = "TOO_BIG".into();
    let corrected = team.accepts(&fresh(&again)).object;
    ensure!(corrected["metadata"]["annotations"] == once["metadata"]["annotations"], "{corrected:#}");
    Ok(())
}

/// A new object that says what this one says.
fn fresh(object: &Value) -> Value {
    let metadata = serde_json::json!({
        "name": object["metadata"]["name"],
        "annotations": object["metadata"]["annotations"],
    });
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": object["spec"]})
}

fn estimate_of(pod: &Value) -> Result<Value> {
    let text = pod.pointer(&annotation(ESTIMATE)).and_then(Value::as_str).context("no estimate on the pod")?;
    serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))
}

/// JSON pointer to a pod's annotation.
fn annotation(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('/', "~1"))
}

/// Waits until an admitted pod gets this verdict.
fn verdict_becomes(team: &Namespace<'_>, pod: &crate::workloads::Pod, verdict: &str) -> Result<()> {
    eventually(Duration::from_secs(10), || {
        let answer = team.ask(pod)?;
        let warnings = answer.warnings();
        let found = answer.json()?.pointer(&annotation(VERDICT)).cloned().unwrap_or_default();
        ensure!(found == verdict, "the verdict is {found}, not {verdict}; warnings: {warnings:?}");
        Ok(())
    })
}

/// The audit annotations that webhooks left on requests in a namespace, newest last.
pub(crate) fn audit_annotations(plane: &ControlPlane, namespace: &Namespace<'_>) -> Result<Vec<Value>> {
    let events = plane.audit_events()?;
    let ours = events.into_iter().filter(|event| event["objectRef"]["namespace"] == namespace.name());
    Ok(ours.map(|event| event["annotations"].clone()).filter(|found| found.to_string().contains("vramguard")).collect())
}

fn number_before(text: &str, mark: &str) -> Option<f64> {
    text.split(mark).next()?.rsplit(' ').next()?.parse().ok()
}

fn number_after(text: &str, mark: &str) -> Option<f64> {
    text.split(mark).nth(1)?.split(' ').next()?.parse().ok()
}
