//! What a mode makes of a decision, and who sets the mode.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::controlplane::{ControlPlane, eventually, until};
use crate::decisions::audit_annotations;
use crate::gpu_nodes::t4_node;
use crate::llama::serving;
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::pod;

const DECISIONS: &str = "vramguard_admission_decisions_total";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("policy::modes_go_from_nothing_to_denial", modes_go_from_nothing_to_denial),
        trial("policy::a_namespace_label_takes_effect_at_once", a_namespace_label_takes_effect_at_once),
        trial("policy::exemptions_need_permission_and_a_reason", exemptions_need_permission_and_a_reason),
        trial("policy::a_changed_file_is_read_again", a_changed_file_is_read_again),
        trial("policy::what_is_unknown_can_be_refused", what_is_unknown_can_be_refused),
    ]
}

fn modes_go_from_nothing_to_denial(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "mode: warn\n")?;
    let in_mode = |mode: &str| webhook.namespace_with(mode, &json!({"vramguard.io/mode": mode}));
    let big = serving("serve");

    in_mode("enforce")?.rejects(&big).because("TOO_BIG");
    webhook.namespace("default")?.accepts(&big).with_warning("TOO_BIG");
    in_mode("warn")?.accepts(&big).with_warning("TOO_BIG");

    let audited = in_mode("audit")?;
    audited.accepts(&big).silently();
    let found = webhook.metric(DECISIONS, &[("endpoint", "validate"), ("verdict", "TOO_BIG"), ("mode", "audit")])?;
    ensure!(found >= 1.0, "{}", webhook.metrics()?);
    until("the audit log to name the verdict", Duration::from_secs(10), || {
        Ok(audit_annotations(plane, &audited)?.iter().any(|each| each.to_string().contains("TOO_BIG")))
    })?;

    let off = in_mode("off")?;
    let accepted = off.accepts(&big).silently();
    ensure!(!accepted.object.to_string().contains("vramguard.io/verdict"), "{:#}", accepted.object["metadata"]);
    ensure!(!format!("{:?}", audit_annotations(plane, &off)?).contains("TOO_BIG"), "judged although it is off");
    Ok(())
}

fn a_namespace_label_takes_effect_at_once(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("labelled")?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    plane.kubectl(&["label", "namespace", team.name(), "vramguard.io/mode=warn"])?.success()?;
    team.accepts(&serving("serve")).with_warning("TOO_BIG");
    // A label that means nothing is as good as none: the stricter default stays.
    plane.kubectl(&["label", "namespace", team.name(), "--overwrite", "vramguard.io/mode=lenient"])?.success()?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    Ok(())
}

fn exemptions_need_permission_and_a_reason(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let lax = serving("serve").annotation("vramguard.io/mode", "audit");
    let excused = lax.clone().annotation("vramguard.io/exempt-reason", "a load test, ticket 7");

    let strict = Webhook::start(plane, "")?;
    strict.namespace("strict")?.rejects(&excused).because("TOO_BIG");

    let webhook = Webhook::start(plane, "allowExemptions: true\n")?;
    let team = webhook.namespace("exempted")?;
    team.rejects(&lax).because("TOO_BIG");
    team.creates(&excused).silently();
    let counted = webhook.metric("vramguard_exemptions_total", &[("namespace", team.name())])?;
    ensure!((counted - 1.0).abs() < 0.5, "{counted} exemptions");
    until("the audit log to hold the reason", Duration::from_secs(10), || {
        Ok(audit_annotations(plane, &team)?.iter().any(|each| each.to_string().contains("ticket 7")))
    })?;
    // Stricter than its namespace a pod may always be.
    let warned = webhook.namespace_with("lenient", &json!({"vramguard.io/mode": "warn"}))?;
    warned.rejects(&serving("serve").annotation("vramguard.io/mode", "enforce")).because("TOO_BIG");
    Ok(())
}

fn a_changed_file_is_read_again(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "mode: enforce\n")?;
    let team = webhook.namespace("reloaded")?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    webhook.reconfigure("mode: [\n")?;
    until("the bad file to be noticed", Duration::from_secs(20), || {
        Ok(webhook.metric("vramguard_config_reloads_total", &[("result", "error")])? > 0.0)
    })?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    webhook.reconfigure("mode: audit\n")?;
    eventually(Duration::from_secs(20), || {
        let answer = team.ask(&serving("serve"))?;
        ensure!(answer.ok() && answer.warnings().is_empty(), "{}", answer.stderr);
        Ok(())
    })
}

fn what_is_unknown_can_be_refused(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let unknown = pod("serve").gpus(1).annotation("vramguard.io/model", "nobody/has-heard-of-it");
    let lenient = Webhook::start(plane, "")?;
    lenient.namespace("curious")?.accepts(&unknown).with_warning("UNKNOWN_MODEL");
    let strict = Webhook::start(plane, "unknown: deny\n")?;
    strict.namespace("suspicious")?.rejects(&unknown).because("UNKNOWN_MODEL");
    Ok(())
}
