//! The chart before a real API server: every object is taken, and only what may concern GPUs leaves the API server.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::chart::{self, Release};
use crate::controlplane::{ControlPlane, until};

/// The API server learns of a webhook configuration by a watch.
const LIVE_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_api_server_takes_every_object_and_asks_only_about_gpus() -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.create_namespace(chart::NAMESPACE, &json!({}))?;
    plane.apply(chart::FOREIGN_CRDS)?;
    until("the stand-in CRDs", LIVE_LIMIT, || {
        let wait = ["wait", "--for=condition=Established", "customresourcedefinition", "--all", "--timeout=20s"];
        plane.kubectl(&wait).map(|output| output.ok())
    })?;
    for file in chart::values_files()? {
        takes(&plane, &file.display().to_string(), &Release::of(&file).with_tests().text()?)?;
    }
    takes(&plane, "manifests/install.yaml", &std::fs::read_to_string(chart::path("manifests/install.yaml"))?)?;
    asks_only_about_gpus(&plane)?;
    controllers_updates_pass(&plane)
}

/// A dry run goes through defaulting, validation (of CEL too) and admission. Strict: an unknown field is an error.
fn takes(plane: &ControlPlane, what: &str, manifests: &str) -> Result<()> {
    let arguments =
        ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--filename=-"];
    let output = plane.admin().run_with(&arguments, manifests)?;
    ensure!(output.ok(), "{what}: {}", output.stderr);
    let warnings = output.warnings();
    ensure!(warnings.is_empty(), "{what}: {warnings:?}");
    Ok(())
}

/// Registers the chart's webhooks with nobody behind them and no mercy, so that the API server's refusal shows which
/// webhook it wanted to ask.
fn register(plane: &ControlPlane) -> Result<()> {
    let mut release = Release::of(chart::path("charts/vramguard/ci/cert-manager-values.yaml"));
    for assignment in [
        "webhooks.url=https://127.0.0.1:1",
        "webhooks.failurePolicy=Fail",
        "webhooks.timeoutSeconds=1",
        "webhooks.match.resourceClaims=true",
    ] {
        release = release.set(assignment);
    }
    plane.admin().create(&release.webhook_configurations()?)?;
    until("the webhooks to take effect", LIVE_LIMIT, || {
        // One of each configuration; they arrive by separate watches.
        let asked = [asked(plane, &pod(&gpu()))?, asked(plane, &deployment(&template(&gpu())))?];
        Ok(asked.iter().all(Option::is_some))
    })
}

/// The name of the webhook that the API server wanted to ask about the creation of an object.
fn asked(plane: &ControlPlane, object: &Value) -> Result<Option<String>> {
    let output = plane.admin().run_with(&["create", "--dry-run=server", "--filename=-"], &object.to_string())?;
    webhook_in(&output.stderr, output.ok())
}

fn webhook_in(stderr: &str, ok: bool) -> Result<Option<String>> {
    let webhook = stderr.split("failed calling webhook \"").nth(1).and_then(|rest| rest.split('"').next());
    ensure!(ok || webhook.is_some(), "refused for another reason: {stderr}");
    Ok(webhook.map(str::to_owned))
}

fn asks_only_about_gpus(plane: &ControlPlane) -> Result<()> {
    register(plane)?;
    let mutate = Some("pods.mutate.vramguard.io");
    let templates = Some("templates.validate.vramguard.io");
    let cron = Some("cronjobs.validate.vramguard.io");
    let cases = [
        ("a pod without GPUs", pod(&cpu()), None),
        ("a pod with a GPU", pod(&gpu()), mutate),
        ("a pod with a GPU in an init container", pod(&init_gpu()), mutate),
        ("a pod with a MIG slice", pod(&container("nvidia.com/mig-1g.5gb")), mutate),
        ("a pod with a resource that only looks alike", pod(&container("example.com/nvidia.com-gpu")), None),
        ("a pod with a claim", pod(&claim()), mutate),
        ("an annotated pod", annotated(pod(&cpu()), "vramguard.io/model"), mutate),
        ("a pod with others' annotations", annotated(pod(&cpu()), "example.com/vramguard.io"), None),
        ("a mirror pod", annotated(pod(&mirror()), "kubernetes.io/config.mirror"), None),
        ("a large pod without GPUs", large(), None),
        ("a GPU pod in kube-system", in_namespace(pod(&gpu()), "kube-system"), None),
        ("a GPU pod in our own namespace", in_namespace(pod(&gpu()), chart::NAMESPACE), None),
        ("a deployment without GPUs", deployment(&template(&cpu())), None),
        ("a deployment with GPUs", deployment(&template(&gpu())), templates),
        (
            "a deployment with an annotated template",
            deployment(&annotated(template(&cpu()), "vramguard.io/model")),
            templates,
        ),
        (
            "a deployment with an annotation of its own",
            annotated(deployment(&template(&cpu())), "vramguard.io/model"),
            None,
        ),
        ("a replica set", of_kind("apps/v1", "ReplicaSet", &template(&gpu())), templates),
        (
            "a replica set of a deployment",
            owned(of_kind("apps/v1", "ReplicaSet", &template(&gpu())), "apps/v1", "Deployment"),
            None,
        ),
        ("a stateful set", of_kind("apps/v1", "StatefulSet", &template(&gpu())), templates),
        (
            "a stateful set of somebody else's",
            owned(of_kind("apps/v1", "StatefulSet", &template(&gpu())), "example.com/v1", "Deployment"),
            templates,
        ),
        ("a daemon set", of_kind("apps/v1", "DaemonSet", &template(&gpu())), templates),
        ("a job", job(&gpu()), templates),
        ("a job of a cron job", owned(job(&gpu()), "batch/v1", "CronJob"), None),
        ("a cron job", cron_job(&gpu()), cron),
        ("a cron job without GPUs", cron_job(&cpu()), None),
    ];
    for (what, object, expected) in cases {
        let asked = asked(plane, &object)?;
        ensure!(asked.as_deref() == expected, "{what}: asked {asked:?}, not {expected:?}");
    }
    Ok(())
}

/// What controllers do to a running Deployment must work while nobody answers; a new template is asked about.
fn controllers_updates_pass(plane: &ControlPlane) -> Result<()> {
    let namespace = "chart-updates";
    plane.create_namespace(namespace, &json!({"vramguard.io/mode": "off"}))?;
    let mut running = in_namespace(deployment(&template(&gpu())), namespace);
    running["metadata"]["finalizers"] = json!(["example.com/test"]);
    running["spec"]["replicas"] = 0.into();
    // The namespace opted out, so this is not asked about; from now on it is.
    plane.admin().create(&[running])?;
    plane.kubectl(&["label", "namespace", namespace, "vramguard.io/mode-"])?.success()?;
    let patch = |patch: &Value| {
        let arguments = ["patch", "deployment", "test", "--namespace", namespace, "--patch", &patch.to_string()];
        plane.kubectl(&arguments).and_then(|output| webhook_in(&output.stderr, output.ok()))
    };
    let new_image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "new"}]}}}});
    until("the namespace to count", LIVE_LIMIT, || Ok(patch(&new_image)?.is_some()))?;
    for harmless in [
        json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "7"}}}),
        json!({"spec": {"replicas": 1}}),
        json!({"spec": {"paused": true}}),
    ] {
        ensure!(patch(&harmless)?.is_none(), "asked about {harmless}");
    }
    plane.kubectl(&["delete", "deployment", "test", "--namespace", namespace, "--wait=false"])?.success()?;
    let newest = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "newest"}]}}}});
    ensure!(patch(&newest)?.is_none(), "asked about an object that is being deleted");
    ensure!(patch(&json!({"metadata": {"finalizers": null}}))?.is_none(), "asked about a deletion");
    Ok(())
}

fn container(resource: &str) -> Value {
    json!({"containers": [{"name": "main", "image": "i", "resources": {"limits": {resource: "1"}}}]})
}

fn gpu() -> Value {
    container("nvidia.com/gpu")
}

fn cpu() -> Value {
    container("cpu")
}

fn init_gpu() -> Value {
    let mut spec = cpu();
    spec["initContainers"] = gpu()["containers"].clone();
    spec["initContainers"][0]["name"] = "init".into();
    spec
}

fn claim() -> Value {
    let mut spec = cpu();
    spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": "gpu"}]);
    spec
}

fn mirror() -> Value {
    let mut spec = gpu();
    spec["nodeName"] = "node".into();
    spec["automountServiceAccountToken"] = false.into();
    spec
}

/// Conditions have a budget; one that runs out counts as a failure of the webhook.
fn large() -> Value {
    let mut spec = cpu();
    let resources =
        json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "example.com/a": "1", "example.com/b": "1"});
    spec["containers"] = (0..200)
        .map(|number| {
            json!({"name": format!("c{number}"), "image": "i", "resources": {"limits": resources, "requests": resources}})
        })
        .collect();
    let mut pod = pod(&spec);
    for number in 0..500 {
        pod["metadata"]["annotations"][format!("example.com/annotation-{number}")] = "x".repeat(400).into();
    }
    pod
}

fn object(api_version: &str, kind: &str, spec: &Value) -> Value {
    let metadata = json!({"name": "test", "namespace": "default"});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

fn pod(spec: &Value) -> Value {
    object("v1", "Pod", spec)
}

fn template(spec: &Value) -> Value {
    json!({"metadata": {"labels": {"app": "test"}}, "spec": spec})
}

fn of_kind(api_version: &str, kind: &str, template: &Value) -> Value {
    object(api_version, kind, &json!({"selector": {"matchLabels": {"app": "test"}}, "template": template}))
}

fn deployment(template: &Value) -> Value {
    of_kind("apps/v1", "Deployment", template)
}

fn job_spec(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["restartPolicy"] = "Never".into();
    json!({"template": {"spec": spec}})
}

fn job(spec: &Value) -> Value {
    object("batch/v1", "Job", &job_spec(spec))
}

fn cron_job(spec: &Value) -> Value {
    object("batch/v1", "CronJob", &json!({"schedule": "* * * * *", "jobTemplate": {"spec": job_spec(spec)}}))
}

fn annotated(mut object: Value, key: &str) -> Value {
    object["metadata"]["annotations"][key] = "x".into();
    object
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

fn owned(mut object: Value, api_version: &str, kind: &str) -> Value {
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "owner", "uid": "1", "controller": true});
    object["metadata"]["ownerReferences"] = json!([owner]);
    object
}
