use serde_json::{Value, json};

use super::*;
use crate::spec::nodes::{NodeView, inventory};

mod profiles;

fn nodes(list: &[(&str, u64, u64)]) -> Inventory {
    inventory(list.iter().map(|(product, mib, count)| {
        let node = json!({
            "metadata": {"name": product, "labels": {
                "nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": mib.to_string(),
            }},
            "status": {"allocatable": {"nvidia.com/gpu": count.to_string()}},
        });
        serde_json::from_value::<NodeView>(node).unwrap()
    }))
}

const T4: (&str, u64, u64) = ("Tesla-T4", 15_360, 1);
const A10: (&str, u64, u64) = ("NVIDIA-A10", 23_028, 1);
const L40S: (&str, u64, u64) = ("NVIDIA-L40S", 46_068, 1);
const A100: (&str, u64, u64) = ("NVIDIA-A100-SXM4-80GB", 81_920, 4);

fn judge_under(policy: &Policy, annotations: &Value, container: &Value, on: &[(&str, u64, u64)]) -> Report {
    let mut container = container.clone();
    container["name"] = "server".into();
    if container["resources"].is_null() {
        container["resources"] = json!({"limits": {"nvidia.com/gpu": "1"}});
    }
    let pod = json!({"metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": [container]}});
    let template: PodTemplate = serde_json::from_value(pod).unwrap();
    let inventory = nodes(on);
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory: Some(&inventory),
        policy,
        config_maps: None,
    };
    evaluate(&template, &Source::default(), &PolicyInput::default(), &environment).remove(0)
}

fn judge(annotations: &Value, container: &Value, on: &[(&str, u64, u64)]) -> Report {
    judge_under(&Policy::default(), annotations, container, on)
}

fn llama_2_7b() -> Value {
    json!({
        "vramguard.io/model": "meta-llama/Llama-2-7b-hf", "vramguard.io/dtype": "fp16",
        "vramguard.io/batch-size": "4", "vramguard.io/context-length": "4096",
    })
}

#[test]
fn a_server_that_allocates_up_front() {
    let plain = json!({});
    let denied = judge(&llama_2_7b(), &plain, &[T4]);
    assert_eq!((denied.verdict, denied.decision), (Verdict::TooBig, Decision::Deny));
    assert!(denied.message.contains("weights 12.6") && denied.message.contains("14.6 GiB"), "{}", denied.message);
    let tight = judge(&llama_2_7b(), &plain, &[A10]);
    assert_eq!((tight.verdict, tight.decision), (Verdict::Tight, Decision::Warn));
    let fits = judge(&llama_2_7b(), &plain, &[L40S]);
    assert_eq!((fits.verdict, fits.decision), (Verdict::Fits, Decision::Allow));
}

#[test]
fn an_engine_that_queues_needs_one_request() {
    let vllm = json!({"image": "vllm/vllm-openai:v0.19.0", "args": ["--model=meta-llama/Llama-2-7b-hf", "--max-model-len=4096"]});
    let many = json!({"vramguard.io/batch-size": "64"});
    let report = judge(&many, &vllm, &[A10]);
    assert_eq!((report.verdict, report.decision), (Verdict::Fits, Decision::Allow));
    assert!(report.notes.iter().any(|note| note.contains("will queue")), "{:?}", report.notes);
    let strict = Policy { require_wanted: true, ..Policy::default() };
    assert_eq!(judge_under(&strict, &many, &vllm, &[A10]).verdict, Verdict::TooBig);
}

#[test]
fn training_is_denied_unsharded_and_admitted_over_four() {
    let mut annotations = llama_2_7b();
    annotations["vramguard.io/task"] = "training".into();
    annotations["vramguard.io/precision"] = "mixed-bf16".into();
    let denied = judge(&annotations, &json!({}), &[A100]);
    assert_eq!(denied.verdict, Verdict::TooBig);
    assert!(denied.message.contains("optimizer 50."), "{}", denied.message);
    assert!(denied.fixes.iter().any(|fix| fix.strategy == "sharding"), "{:?}", denied.fixes);
    annotations["vramguard.io/sharding"] = "zero3".into();
    annotations["vramguard.io/data-parallel"] = "4".into();
    let four = json!({"resources": {"limits": {"nvidia.com/gpu": "4"}}});
    let admitted = judge(&annotations, &four, &[A100]);
    assert!(matches!(admitted.verdict, Verdict::Fits | Verdict::Tight), "{}", admitted.message);
    assert_ne!(admitted.decision, Decision::Deny);
}

#[test]
fn every_fix_is_proven() {
    let vllm = json!({"image": "vllm/vllm-openai:v0.19.0", "args": ["--model=meta-llama/Llama-3.1-8B-Instruct"]});
    let report = judge(&json!({}), &vllm, &[A10]);
    assert_eq!(report.verdict, Verdict::TooBig);
    let context = report.fixes.iter().find(|fix| fix.strategy == "context").unwrap();
    assert_eq!(context.changes[0].path, "--max-model-len");
    let shorter = json!({
        "image": "vllm/vllm-openai:v0.19.0",
        "args": ["--model=meta-llama/Llama-3.1-8B-Instruct", format!("--max-model-len={}", context.changes[0].to)],
    });
    assert_eq!(judge(&json!({}), &shorter, &[A10]).verdict, Verdict::Fits);
}

#[test]
fn what_could_not_be_read_is_no_reason_to_refuse() {
    let args = |length: &str| {
        json!({
            "image": "vllm/vllm-openai:v0.19.0",
            "args": ["--model=meta-llama/Llama-3.1-8B-Instruct", format!("--max-model-len={length}")],
        })
    };
    assert_eq!(judge(&json!({}), &args("131072"), &[A10]).verdict, Verdict::TooBig);
    let odd = judge(&json!({}), &args("$(FROM_A_SECRET)"), &[A10]);
    assert_eq!((odd.verdict, odd.decision), (Verdict::UnknownWorkload, Decision::Warn), "{}", odd.message);
    // The weights alone exceed the card, whatever the context.
    assert_eq!(judge(&json!({}), &args("$(FROM_A_SECRET)"), &[T4]).verdict, Verdict::TooBig);
    let auto = judge(&json!({}), &args("auto"), &[A10]);
    assert_eq!(auto.verdict, Verdict::Fits, "the engine shortens the context: {}", auto.message);
    assert!(auto.estimate.unwrap().serving.unwrap().max_context > 16_384);
}

#[test]
fn a_path_does_not_say_how_the_checkpoint_is_stored() {
    let at = |model: &str, more: &[&str]| {
        let mut args = vec![format!("--model={model}"), "--max-model-len=4096".to_owned()];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        judge(&json!({}), &json!({"image": "vllm/vllm-openai:v0.19.0", "args": args}), &[A100])
    };
    assert_eq!(at("meta-llama/Llama-3.1-70B-Instruct", &[]).verdict, Verdict::TooBig);
    let path = at("/models/Llama-3.1-70B-Instruct", &[]);
    assert_eq!((path.verdict, path.decision), (Verdict::UnknownWorkload, Decision::Warn), "{}", path.message);
    let plain = json!({"vramguard.io/quantization": "none", "vramguard.io/model": "/models/Llama-3.1-70B-Instruct"});
    let vllm = json!({"image": "vllm/vllm-openai:v0.19.0", "args": ["--model=/models/Llama-3.1-70B-Instruct", "--max-model-len=4096"]});
    assert_eq!(judge(&plain, &vllm, &[A100]).verdict, Verdict::TooBig);
    // Too big even in four bits.
    assert_eq!(at("/models/Meta-Llama-3.1-405B", &[]).verdict, Verdict::TooBig);
}

#[test]
fn a_replica_may_span_pods() {
    let serve = |more: &str| {
        let mut args =
            vec!["--model=meta-llama/Llama-3.1-8B-Instruct", "--max-model-len=4096", "--tensor-parallel-size=8"];
        args.extend((!more.is_empty()).then_some(more));
        let container = json!({"image": "vllm/vllm-openai:v0.19.0", "args": args, "resources": {"limits": {"nvidia.com/gpu": "4"}}});
        judge(&json!({}), &container, &[A100])
    };
    assert_eq!(serve("").verdict, Verdict::ParallelismMismatch);
    assert_eq!(serve("--distributed-executor-backend=ray").verdict, Verdict::Fits);
    assert_eq!(serve("--nnodes=2").verdict, Verdict::Fits);
}

#[test]
fn models_of_different_sizes_contradict_and_aliases_do_not() {
    let named = |model: &str| json!({"vramguard.io/model": model});
    let vllm = json!({"image": "vllm/vllm-openai:v0.19.0", "args": ["--model=meta-llama/Llama-3.1-70B-Instruct", "--max-model-len=4096"]});
    let conflict = judge(&named("meta-llama/Llama-3.1-8B-Instruct"), &vllm, &[A100]);
    assert_eq!(conflict.verdict, Verdict::SpecConflict);
    assert!(
        conflict.message.contains("8.0 billion") && conflict.message.contains("70.6 billion"),
        "{}",
        conflict.message
    );
    let alias = judge(&named("meta-llama/Llama-3.3-70B-Instruct"), &vllm, &[A100]);
    assert_eq!(alias.verdict, Verdict::TooBig);
}

#[test]
fn unknown_is_neither_zero_nor_a_refusal() {
    let unknown = judge(&json!({"vramguard.io/model": "nobody/knows-this"}), &json!({}), &[A10]);
    assert_eq!((unknown.verdict, unknown.decision), (Verdict::UnknownModel, Decision::Warn));
    let nowhere = judge(&llama_2_7b(), &json!({}), &[]);
    assert_eq!((nowhere.verdict, nowhere.decision), (Verdict::NoEligibleGpu, Decision::Warn));
    let strict = Policy { unknown: crate::decide::policy::UnknownAction::Deny, ..Policy::default() };
    let denied = judge_under(&strict, &json!({"vramguard.io/model": "nobody/knows-this"}), &json!({}), &[A10]);
    assert_eq!(denied.decision, Decision::Deny);
}

#[test]
fn a_smaller_class_deserves_a_warning() {
    let report = judge(&llama_2_7b(), &json!({}), &[T4, L40S]);
    assert_eq!((report.verdict, report.decision), (Verdict::Fits, Decision::Warn));
    assert!(report.message.contains("Tesla-T4"), "{}", report.message);
}

#[test]
fn impossible_values_name_the_field() {
    for (key, value, code, says) in [
        ("batch-size", "0", Verdict::InvalidSpec, "batch-size"),
        ("batch-size", "-3", Verdict::InvalidSpec, "batch-size"),
        ("context-length", "1e400", Verdict::InvalidSpec, "context-length"),
        ("tensor-parallel", "3", Verdict::ParallelismMismatch, "tensor parallelism 3"),
        ("contextlenght", "4096", Verdict::InvalidSpec, "context-length"),
    ] {
        let mut annotations = llama_2_7b();
        annotations[format!("vramguard.io/{key}")] = value.into();
        let three = json!({"resources": {"limits": {"nvidia.com/gpu": "3"}}});
        let report = judge(&annotations, &three, &[A100]);
        assert_eq!(report.verdict, code, "{key}={value}: {}", report.message);
        assert!(report.message.contains(says), "{key}={value}: {}", report.message);
    }
}

#[test]
fn a_script_that_may_run_either_of_two_models_is_not_refused() {
    let script = "if [ -n \"$BIG\" ]; then vllm serve meta-llama/Llama-3.1-70B-Instruct; else vllm serve Qwen/Qwen2.5-0.5B-Instruct; fi";
    let report =
        judge(&json!({}), &json!({"image": "vllm/vllm-openai:v0.19.0", "command": ["sh", "-c", script]}), &[A10]);
    assert_eq!((report.verdict, report.decision), (Verdict::UnknownWorkload, Decision::Warn), "{}", report.message);
}

#[test]
fn the_fixes_of_a_denial_cost_no_more_than_a_request_may() {
    let vllm = json!({"image": "vllm/vllm-openai:v0.19.0", "args": ["--model=meta-llama/Llama-3.1-70B-Instruct"]});
    let everything = [T4, A10, L40S, A100];
    let denied = judge(&json!({}), &vllm, &everything);
    assert_eq!(denied.verdict, Verdict::TooBig);
    let fastest = (0..20).map(|_| {
        let started = std::time::Instant::now();
        let _ = judge(&json!({}), &vllm, &everything);
        started.elapsed()
    });
    let fastest = fastest.min().unwrap();
    // Unoptimized code on a busy machine is some thirty times slower than what serves requests.
    assert!(fastest < std::time::Duration::from_millis(30), "{fastest:?}");
}
