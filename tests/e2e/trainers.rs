//! Training jobs without a single annotation: what their commands and files say is enough.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, eventually};
use crate::gpu_nodes::{a10_node, a100_80gb_node};
use crate::llama::{A10, A100, LLAMA, PRODUCT};
use crate::namespace::Namespace;
use crate::trial;
use crate::webhook::{Settings, Webhook};
use crate::workloads::{Pod, job, pod};

/// How long the webhook's view may lag behind the API server's.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("trainers::a_trl_job_is_judged_by_its_flags", a_trl_job_is_judged_by_its_flags),
        trial("trainers::a_torchtune_job_is_judged_by_its_config", a_torchtune_job_is_judged_by_its_config),
        trial("trainers::deepspeeds_file_is_read_where_that_is_allowed", deepspeeds_file_is_read_where_that_is_allowed),
    ]
}

/// A pod that runs a command on so many GPUs of a product.
fn running(name: &str, command: &str, gpus: u32, product: &str) -> Pod {
    let words: Vec<&str> = command.split_whitespace().collect();
    pod(name).command(&words).gpus(gpus).on_nodes_with(PRODUCT, product)
}

fn a_trl_job_is_judged_by_its_flags(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[a10_node("a10", 1), a100_80gb_node("a100", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("trl")?;
    let full = format!("trl sft --model_name_or_path {LLAMA} --per_device_train_batch_size 1 --max_length 2048");
    team.rejects(&job("sft", &running("sft", &full, 1, A100))).because("TOO_BIG").because("optimizer");
    // The same with adapters on a quantized base.
    let adapted = format!("{full} --dtype bfloat16 --use_peft --load_in_4bit --lora_r 8 --use_liger_kernel");
    team.accepts(&job("sft", &running("sft", &adapted, 1, A10))).silently();
    Ok(())
}

fn a_torchtune_job_is_judged_by_its_config(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[a10_node("a10", 1), a100_80gb_node("a100", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("torchtune")?;
    let recipe = "tune run full_finetune_single_device --config llama2/7B_full_low_memory tokenizer.max_seq_len=2048";
    let plain = format!("{recipe} optimizer=torch.optim.AdamW optimizer_in_bwd=False");
    team.rejects(&job("tune", &running("tune", &plain, 1, A10))).because("TOO_BIG").because("optimizer");
    team.accepts(&job("tune", &running("tune", recipe, 1, A100))).silently();
    let adapters = "tune run lora_finetune_single_device --config llama2/7B_qlora_single_device batch_size=1 tokenizer.max_seq_len=1024";
    team.accepts(&job("tune", &running("tune", adapters, 1, A10))).silently();
    Ok(())
}

/// A Job of four GPUs whose sharding stands in a ConfigMap.
fn sharded() -> Value {
    let command = format!(
        "torchrun --nproc_per_node=4 run_clm.py --model_name_or_path {LLAMA} --per_device_train_batch_size 1 \
         --block_size 2048 --torch_dtype float32 --bf16 true --gradient_checkpointing --deepspeed /etc/deepspeed/ds.json"
    );
    let mut job = job("zero", &running("zero", &command, 4, A100));
    let spec = &mut job["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "conf", "configMap": {"name": "deepspeed"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "conf", "mountPath": "/etc/deepspeed"}]);
    job
}

fn stage(stage: u64) -> Value {
    let text = json!({"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": stage}}).to_string();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "deepspeed"}, "data": {"ds.json": text}})
}

fn deepspeeds_file_is_read_where_that_is_allowed(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[a100_80gb_node("a100", 4)])?;
    let reading = Settings::default().argument("--read-config-maps").start(plane)?;
    let team = reading.namespace("deepspeed")?;
    // The file is not there yet, so nothing is known of the sharding; that is said, and no reason to refuse.
    unknown(&team)?;
    ensure!(team.apply(&stage(3), &[])?.ok(), "the ConfigMap");
    eventually(PATIENCE, || {
        let answer = team.ask(&sharded())?;
        ensure!(answer.ok() && answer.warnings().is_empty(), "{}", answer.stderr);
        Ok(())
    })?;
    // Without sharding, every GPU holds everything. The watch follows within moments.
    ensure!(team.apply(&stage(0), &[])?.ok(), "the ConfigMap's change");
    team.rejects(&sharded()).because("TOO_BIG");
    drop(reading);
    // Who may not read it does not guess.
    let usual = Webhook::start(plane, "")?;
    let other = usual.namespace("deepspeed")?;
    ensure!(other.apply(&stage(3), &[])?.ok(), "the other ConfigMap");
    unknown(&other)
}

/// It is let through with a warning that names the ConfigMap.
fn unknown(team: &Namespace<'_>) -> Result<()> {
    eventually(PATIENCE, || {
        let answer = team.ask(&sharded())?;
        let said = answer.warnings().join(" ");
        ensure!(answer.ok() && said.contains("`deepspeed`") && said.contains("not known here"), "{}", answer.stderr);
        Ok(())
    })
}
