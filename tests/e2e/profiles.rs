//! Model profiles: what the API server takes, what vramguard makes of them, and how soon.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::chart::{self, Release};
use crate::controlplane::{ControlPlane, until};
use crate::gpu_nodes::t4_node;
use crate::namespace::Namespace;
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::{Pod, pod};

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("profiles::a_profile_comes_back_as_it_was_written", a_profile_comes_back_as_it_was_written),
        trial("profiles::invalid_ones_are_refused_in_clear_words", invalid_ones_are_refused_in_clear_words),
        trial("profiles::decisions_follow_every_change", decisions_follow_every_change),
        trial("profiles::the_namespaces_own_comes_before_the_clusters", the_namespaces_own_comes_before_the_clusters),
        trial("profiles::the_status_is_written_and_shown", the_status_is_written_and_shown),
        trial("profiles::the_servers_own_rights_suffice", the_servers_own_rights_suffice),
    ]
}

/// The chart's definitions and the roles of those who use them, once.
fn install(plane: &ControlPlane) -> Result<()> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| try_install(plane).map_err(|error| format!("{error:#}")));
    done.clone().map_err(anyhow::Error::msg)
}

fn try_install(plane: &ControlPlane) -> Result<()> {
    let mut objects = Release::of(chart::path("manifests/values.yaml")).objects()?;
    objects.retain(|object| object["kind"] == "CustomResourceDefinition" || object["kind"] == "ClusterRole");
    // Another test installs and removes roles of the chart's names.
    for role in objects.iter_mut().filter(|object| object["kind"] == "ClusterRole") {
        role["metadata"]["name"] = format!("profiles-{}", role["metadata"]["name"].as_str().unwrap_or_default()).into();
    }
    plane.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    let wait = ["wait", "--for=condition=Established", "--timeout=20s"];
    let definitions = ["crd/modelprofiles.vramguard.io", "crd/clustermodelprofiles.vramguard.io"];
    plane.kubectl(&[wait.as_slice(), &definitions].concat())?.success()?;
    // Rights arrive in the role `edit` by a controller.
    until("developers to be allowed to make profiles", LIMIT, || {
        Ok(plane.developer().run(&["auth", "can-i", "create", "modelprofiles.vramguard.io"])?.ok())
    })
}

/// As large as Llama 2 7B with 32 layers.
fn config(layers: u32) -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": layers, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16", "rope_theta": 10000.5,
        "acme_extra": {"nested": [1, 2]},
    })
}

fn profile(spec: &Value) -> Value {
    json!({"apiVersion": "vramguard.io/v1", "kind": "ModelProfile", "metadata": {"name": "llm"}, "spec": spec})
}

fn serving(field: &str, model: &str) -> Pod {
    let spec = format!("{{task: inference, {field}: {model}, dtype: fp16, batchSize: 4, contextLength: 4096}}");
    pod("serve").gpus(1).annotation("vramguard.io/spec", &spec)
}

fn applies(namespace: &Namespace<'_>, object: &Value) -> Result<Value> {
    namespace.apply(object, &["--validate=strict"])?.json()
}

fn a_profile_comes_back_as_it_was_written(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    let team = plane.namespace("round-trip")?;
    let spec = json!({
        "aliases": ["acme/llm", "/models/llm", "pvc://models/llm"], "config": config(32), "quantization": "awq",
        "checkpointBytes": "3700Mi", "measured": {"requiredBytes": "9Gi", "contextLength": 4096},
    });
    applies(&team, &profile(&spec))?;
    let kept = team.get(&["modelprofile", "llm"])?;
    let mut expected = spec;
    expected["measured"]["gpus"] = 1.into();
    expected["measured"]["batchSize"] = 1.into();
    ensure!(kept["spec"] == expected, "{:#}", kept["spec"]);
    Ok(())
}

fn invalid_ones_are_refused_in_clear_words(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    let team = plane.namespace("invalid")?;
    let cases = [
        (json!({}), "give either config (the content of a config.json) or parameters"),
        (json!({"config": config(2), "parameters": "7B"}), "give either config"),
        (json!({"config": {}}), "spec.config"),
        (json!({"config": "llama"}), "spec.config"),
        (json!({"config": config(2), "layers": 2}), "describe a model that has no config"),
        (json!({"parameters": "7B", "checkpointBytes": "14Gi"}), "correct what follows from a config"),
        (json!({"parameters": "many"}), "spec.parameters"),
        (json!({"parameters": "7B", "layers": 0}), "spec.layers"),
        (json!({"config": config(2), "aliases": [""]}), "spec.aliases[0]"),
        (json!({"config": config(2), "aliases": ["two words"]}), "spec.aliases[0]"),
        (json!({"config": config(2), "aliases": ["a", "a"]}), "Duplicate value"),
        (json!({"config": config(2), "quantization": "awq2"}), "supported values: \"none\", \"awq\""),
        (json!({"config": config(2), "checkpointBytes": "14 GB"}), "spec.checkpointBytes"),
        (json!({"config": config(2), "measured": {"requiredBytes": "9Gi"}}), "spec.measured.contextLength"),
        (json!({"config": config(2), "alias": ["acme/llm"]}), "unknown field \"spec.alias\""),
    ];
    for (spec, words) in cases {
        let answer = team.apply(&profile(&spec), &["--dry-run=server", "--validate=strict"])?;
        ensure!(!answer.ok(), "taken: {spec}");
        ensure!(answer.stderr.contains(words), "{spec}: {}", answer.stderr);
    }
    Ok(())
}

fn decisions_follow_every_change(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("changing")?;
    let (by_name, by_alias) = (serving("profile", "llm"), serving("model", "/models/llm"));
    team.accepts(&by_alias).with_warning("UNKNOWN_MODEL");

    applies(&team, &profile(&json!({"aliases": ["/models/llm"], "config": config(32)})))?;
    team.rejects(&by_alias).because("TOO_BIG");
    team.rejects(&by_name).because("TOO_BIG");

    applies(&team, &profile(&json!({"aliases": ["/models/llm"], "config": config(4)})))?;
    // The change may come between the two reviews of one pod, so the first answer may be half old.
    until("the smaller model to be believed", LIMIT, || {
        let answer = team.ask(&by_alias)?;
        let fits = || {
            Ok::<_, anyhow::Error>(answer.clone().json()?["metadata"]["annotations"]["vramguard.io/verdict"] == "FITS")
        };
        Ok(answer.ok() && answer.warnings().is_empty() && fits()?)
    })?;

    // Nobody else's namespace is concerned.
    webhook.namespace("bystander")?.accepts(&by_alias).with_warning("UNKNOWN_MODEL");
    team.kubectl(&["delete", "modelprofile", "llm"])?.success()?;
    until("the profile to be forgotten", LIMIT, || {
        Ok(team.ask(&by_alias)?.warnings().iter().any(|warning| warning.contains("UNKNOWN_MODEL")))
    })?;
    team.accepts(&by_name).with_warning("no ModelProfile `llm`");
    Ok(())
}

fn the_namespaces_own_comes_before_the_clusters(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("own")?;
    let name = format!("wide-{}", team.name());
    let model = format!("acme/{name}");
    let mut wide = profile(&json!({"aliases": [model], "config": config(32)}));
    wide["kind"] = "ClusterModelProfile".into();
    wide["metadata"]["name"] = name.as_str().into();
    ensure!(!team.apply(&wide, &[])?.ok(), "a developer described a model for everybody");
    plane.admin().create(&[wide])?;
    team.rejects(&serving("model", &model)).because("TOO_BIG");
    applies(&team, &profile(&json!({"aliases": [model], "config": config(2)})))?;
    until("the namespace's own profile to be believed", LIMIT, || Ok(team.ask(&serving("model", &model))?.ok()))?;
    webhook.namespace("others")?.rejects(&serving("model", &model)).because("TOO_BIG");
    plane.kubectl(&["delete", "clustermodelprofile", &name])?.success().map(drop)
}

fn the_status_is_written_and_shown(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    // Two replicas write the same.
    let _replicas = (Webhook::start(plane, "")?, Webhook::start(plane, "")?);
    let team = plane.namespace("status")?;
    applies(&team, &profile(&json!({"config": config(32)})))?;
    let status = || -> Result<Value> { Ok(team.get(&["modelprofile", "llm"])?["status"].take()) };
    until("the status", LIMIT, || Ok(status()?["observedGeneration"] == 1))?;
    let first = status()?;
    ensure!(first["parameters"] == 6_738_415_616_u64 && first["architecture"] == "llama", "{first}");
    let shown = team.kubectl(&["get", "modelprofiles"])?.success()?;
    ensure!(shown.contains("PARAMETERS") && shown.contains("6738415616"), "{shown}");

    applies(&team, &profile(&json!({"config": {"model_type": "llama", "hidden_size": 7}})))?;
    until("the new status", LIMIT, || Ok(status()?["observedGeneration"] == 2))?;
    let second = status()?;
    let problem = second["problem"].as_str().context("no problem")?;
    ensure!(problem.starts_with("spec.config: ") && second["parameters"].is_null(), "{second}");
    // Once both have said it, it stays: nobody writes in turns.
    let version = || -> Result<Value> { Ok(team.get(&["modelprofile", "llm"])?["metadata"]["resourceVersion"].take()) };
    std::thread::sleep(Duration::from_secs(2));
    let before = version()?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(version()? == before, "the status is written again and again");
    Ok(())
}

fn the_servers_own_rights_suffice(plane: &ControlPlane) -> Result<()> {
    install(plane)?;
    let system = plane.namespace("rights")?;
    let subject = format!("--serviceaccount={}:default", system.name());
    let binding = format!("rights-{}", system.name());
    let role = "--clusterrole=profiles-vramguard";
    plane.kubectl(&["create", "clusterrolebinding", &binding, role, &subject])?.success()?;
    let account = plane.service_account(system.name(), "default")?;
    let webhook = crate::webhook::Settings::default().kubeconfig(account.kubeconfig()).start(plane)?;
    let team = webhook.namespace("served")?;
    applies(&team, &profile(&json!({"config": config(2)})))?;
    let done =
        until("the status", LIMIT, || Ok(team.get(&["modelprofile", "llm"])?["status"]["observedGeneration"] == 1));
    plane.kubectl(&["delete", "clusterrolebinding", &binding])?.success()?;
    done
}
