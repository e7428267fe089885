//! `explain`.

use serde_json::Value;

use super::support::{vramguard, with_env};

/// The likely values of children sum to their parent's, all the way down.
fn check(node: &Value) -> u64 {
    let likely = node["bytes"]["likely"].as_u64().unwrap_or_else(|| panic!("{node}"));
    if let Some(children) = node["children"].as_array() {
        assert_eq!(children.iter().map(check).sum::<u64>(), likely, "{}", node["name"]);
    }
    likely
}

fn child<'a>(node: &'a Value, name: &str) -> &'a Value {
    let children = node["children"].as_array().unwrap_or_else(|| panic!("{node}"));
    children.iter().find(|child| child["name"] == name).unwrap_or_else(|| panic!("no {name}: {node}"))
}

#[test]
fn the_tree_sums_to_the_estimate() {
    let workloads = [
        "--model meta-llama/Llama-3.1-8B-Instruct --engine vllm --context-length 8192 --gpu L40S",
        "--model google/gemma-2-9b-it --engine sglang --tensor-parallel 2",
        "--model mistralai/Mixtral-8x7B-Instruct-v0.1 --engine vllm --gpu A100-80GB --pipeline-parallel 2",
        "--model meta-llama/Llama-2-7b-hf --task training --batch-size 4 --context-length 4096 --gpu A100-80GB",
        "--parameters 6.74e9 --layers 32 --hidden-size 4096 --batch-size 4 --context-length 4096",
    ];
    for workload in workloads {
        let run = vramguard(&format!("explain {workload} -o json"));
        assert_eq!(run.code, 0, "{run}");
        let document = run.json();
        assert_eq!(document["kind"], "Explanation");
        let estimated = vramguard(&format!("estimate {workload} -o json")).json();
        assert_eq!(document["required"]["bytes"], estimated["estimate"]["perGpu"]["required"], "{workload}");
        check(&document["required"]);
    }
}

#[test]
fn weights_are_taken_apart_by_class_and_module() {
    let run = vramguard("explain --model meta-llama/Llama-2-7b-hf --engine vllm --gpu L40S -o json");
    let document = run.json();
    let weights = child(&document["required"], "weights");
    let up = child(child(weights, "mlp"), "up_proj");
    assert_eq!(up["bytes"]["likely"], 32_u64 * 11_008 * 4096 * 2);
    assert_eq!(up["formula"], "32 × 11008 × 4096 × 2 B");
    let cache = child(child(&document["required"], "kv_cache"), "32 × full");
    assert_eq!(cache["formula"], "4096 tokens × 32 kv heads × (128 + 128)");
}

#[test]
fn people_see_a_tree_and_the_capacity() {
    let flags = "explain --model meta-llama/Llama-2-7b-hf --task training --sharding zero3 --data-parallel 4 \
                 --checkpointing full --batch-size 4 --context-length 4096 --gpu A100-80GB";
    let run = vramguard(flags);
    assert_eq!(run.code, 0, "{run}");
    for text in
        ["├─ weights", "│  ├─ attention", "the peak: ", "backward-start", "capacity  NVIDIA-A100-SXM4-80GB-79GiB"]
    {
        assert!(run.stdout.contains(text), "no {text}: {run}");
    }
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{run}");
    let ascii = with_env(flags, "LC_ALL", "C");
    assert!(ascii.stdout.is_ascii() && ascii.stdout.contains("+- weights"), "{ascii}");
}

#[test]
fn what_cannot_be_explained_says_why() {
    for (flags, said) in [
        ("--model no/such-model", "no/such-model"),
        ("", "no model given"),
        ("--model meta-llama/Llama-2-7b-hf --gpu B2000", "unknown GPU `B2000`"),
        ("--model meta-llama/Llama-2-7b-hf --tensor-parallel 5", "does not divide attention heads"),
        ("--model meta-llama/Llama-2-7b-hf --explian", "--explian"),
    ] {
        let run = vramguard(&format!("explain {flags}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run}");
        assert!(run.stderr.contains(said), "{flags}: {run}");
    }
}

#[test]
fn manifests_are_explained_too() {
    let run = vramguard("explain -f examples/07-vllm-llama-3.1-70b-tp4.yaml --nodes examples/nodes.yaml -o json");
    assert_eq!(run.code, 0, "{run}");
    let documents = run.json();
    let first = &documents[0];
    check(&first["required"]);
    assert!(first["source"]["name"].is_string() && first["capacity"]["gpuClass"].is_string(), "{first}");
    let people = vramguard("explain -f examples/07-vllm-llama-3.1-70b-tp4.yaml");
    assert!(people.stdout.contains("Deployment/") && people.stdout.contains("├─ weights"), "{people}");
    for (flags, said) in [
        ("-f examples/07-vllm-llama-3.1-70b-tp4.yaml --model meta-llama/Llama-2-7b-hf", "cannot be used with"),
        ("-f examples/07-vllm-llama-3.1-70b-tp4.yaml --batch-size 4", "cannot be used with"),
        ("-f examples/nodes.yaml", "no workload in it"),
        ("-f examples/none.yaml", "examples/none.yaml"),
    ] {
        let refused = vramguard(&format!("explain {flags}"));
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused}");
        assert!(refused.stderr.contains(said), "{flags}: {refused}");
    }
}
