//! Webhook configurations that point the API server at a process of ours.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, until};

/// Namespaces with this label, and the webhook's id as its value, are the webhook's.
pub(crate) const LABEL: &str = "vramguard.test/webhook";

const CANARY: &str = "canary.vramguard.test";

/// The API server learns of a configuration by a watch, within milliseconds.
const LIVE_LIMIT: Duration = Duration::from_secs(30);

/// What a test registers where it brings no configuration of its own, such as one rendered from the chart. Failures
/// of the webhook fail the request: a test must not pass because nobody answered.
pub(crate) fn usual() -> Vec<Value> {
    let pods = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]});
    let workloads = ["deployments", "replicasets", "statefulsets", "daemonsets"];
    let both = ["CREATE", "UPDATE"];
    let apps = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": workloads, "operations": both});
    let batch =
        json!({"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs", "cronjobs"], "operations": both});
    vec![
        configuration("ValidatingWebhookConfiguration", "/validate", &json!([pods, apps, batch]), &json!({})),
        configuration(
            "MutatingWebhookConfiguration",
            "/mutate",
            &json!([pods]),
            &json!({
                "reinvocationPolicy": "IfNeeded",
            }),
        ),
    ]
}

fn configuration(kind: &str, path: &str, rules: &Value, more: &Value) -> Value {
    let mut webhook = json!({
        "name": "guard.vramguard.io",
        "clientConfig": {"service": {"path": path}},
        "rules": rules,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "vramguard"},
        "webhooks": [webhook],
    })
}

/// Registers configurations and waits until the API server acts on them. Each `clientConfig` is replaced by one with
/// the address and the path of its service, each selector narrowed to the namespaces of this webhook.
/// Returns `KIND/NAME` of each, for `kubectl delete`.
pub(crate) fn register(
    plane: &ControlPlane,
    configurations: &[Value],
    id: &str,
    address: SocketAddr,
    authority: &str,
) -> Result<Vec<String>> {
    // Base64, as the API wants it.
    let authority = serde_json::to_value(k8s_openapi::ByteString(authority.as_bytes().to_vec()))?;
    let mut registered = Vec::new();
    for original in configurations {
        let mut configuration = original.clone();
        let kind = configuration["kind"].as_str().context("a configuration without kind")?.to_owned();
        let name = format!("{}-{id}", configuration["metadata"]["name"].as_str().unwrap_or("vramguard"));
        configuration["metadata"] = json!({"name": name});
        let webhooks = configuration["webhooks"].as_array_mut().context("a configuration without webhooks")?;
        for webhook in webhooks.iter_mut() {
            let path = webhook.pointer("/clientConfig/service/path").and_then(Value::as_str).unwrap_or_default();
            let url = format!("https://{address}{path}");
            webhook["clientConfig"] = json!({"url": url, "caBundle": authority});
            webhook["namespaceSelector"]["matchLabels"][LABEL] = id.into();
        }
        let mark = format!("{id}-{}", kind.to_lowercase());
        webhooks.push(canary(&mark));
        plane.admin().create(&[configuration])?;
        registered.push(format!("{kind}/{name}"));
        until(&format!("{kind} {name} to take effect"), LIVE_LIMIT, || canary_sings(plane, &mark))?;
    }
    Ok(registered)
}

/// A webhook that nobody answers, for one object that nobody else makes: when that object is refused, the API server has
/// the configuration. There is no other way to know.
fn canary(mark: &str) -> Value {
    json!({
        "name": CANARY,
        // Nothing listens on port 1.
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
        "objectSelector": {"matchLabels": {"canary": mark}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"],
    })
}

fn canary_sings(plane: &ControlPlane, mark: &str) -> Result<bool> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": mark, "namespace": "default", "labels": {"canary": mark}},
    });
    let answer = plane.admin().run_with(&["create", "--dry-run=server", "--filename=-"], &object.to_string())?;
    Ok(answer.stderr.contains(CANARY))
}
