//! `estimate`.

use insta::assert_snapshot;

use super::support::{Folder, vramguard, with_env};

const LLAMA_2_7B: &str = "--parameters 6.74e9 --layers 32 --hidden-size 4096 --heads 32 --head-dim 128";

fn reference(task: &str, output: &str) -> super::support::Run {
    vramguard(&format!(
        "estimate --method reference --task {task} {LLAMA_2_7B} --batch-size 4 --context-length 4096 {output}"
    ))
}

#[test]
fn the_reference_formula_gives_the_published_training_figure() {
    let run = reference("training", "-o json");
    assert_eq!(run.code, 0, "{run}");
    let report = run.json();
    assert_eq!(report["estimate"]["perGpu"]["required"]["likely"], 137_904_771_072_u64);
    assert_eq!(report["estimate"]["gpus"], 1);
    assert!(reference("training", "").stdout.contains("required  128.43 GiB"));
}

#[test]
fn the_reference_formula_gives_the_published_inference_figure() {
    let report = reference("inference", "-o json").json();
    let likely = report["estimate"]["perGpu"]["required"]["likely"].as_f64().unwrap();
    assert_eq!(format!("{:.1}", likely / f64::from(1 << 30)), "20.6");
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml: serde_json::Value = vramguard::spec::yaml::value(&reference("inference", "-o yaml").stdout).unwrap();
    assert_eq!(yaml, reference("inference", "-o json").json());
}

#[test]
fn without_a_gpu_the_estimate_stands_against_no_capacity() {
    assert_snapshot!(reference("inference", "--explain"), @r#"
    exit 0
    --- stdout
    6.74B parameters
    inference · generic · 6.74 B parameters · context 4096 · batch 4

    TERM        GiB  LOW–HIGH  SHARE                     KNOWN
    weights   12.55             61 %  █████████████████  derived
        6.7400e9 parameters × 2 B / 1
    kv_cache   8.00             39 %  ▓▓▓▓▓▓▓▓▓▓▓        derived
        32 layers × 4 × 4096 wide heads × 4096 tokens × 2 B × 2 / 1

    required  20.55 GiB to start and serve
    verdict   none: no capacity given (add --gpu, see `vramguard gpus`)
    note      no serving engine is named: one that allocates the whole batch up front is assumed
    --- stderr
    "#);
}

#[test]
fn a_gpu_gives_a_verdict_and_an_exit_code() {
    let model = "estimate --model meta-llama/Llama-2-7b-hf --batch-size 4 --context-length 4096";
    let roomy = vramguard(&format!("{model} --gpu L40S"));
    assert_eq!(roomy.code, 0, "{roomy}");
    assert!(roomy.stdout.contains("FITS"), "{roomy}");
    let small = vramguard(&format!("{model} --gpu T4"));
    assert_eq!(small.code, 1, "{small}");
    assert!(small.stdout.contains("TOO_BIG"), "{small}");
}

#[test]
fn a_model_may_come_as_its_own_config() {
    let folder = Folder::with(&[(
        "config.json",
        r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
            "max_position_embeddings": 4096, "tie_word_embeddings": false, "torch_dtype": "float16"}"#,
    )]);
    let run =
        vramguard(&format!("estimate --config-json {} --context-length 4096 -o json", folder.path("config.json")));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.json()["workload"]["parameters"], 6_738_415_616_u64);
}

#[test]
fn training_flags_mean_training() {
    let report =
        vramguard(&format!("estimate {LLAMA_2_7B} --optimizer adamw --batch-size 1 --context-length 512 -o json"));
    assert_eq!(report.json()["workload"]["task"], "training");
}

#[test]
fn colours_are_for_terminals_and_ascii_for_terminals_without_utf_8() {
    let flags = format!("estimate {LLAMA_2_7B} --batch-size 1 --context-length 512");
    let plain = with_env(&flags, "NO_COLOR", "");
    assert!(!plain.stdout.contains('\u{1b}'), "{plain}");
    let ascii = with_env(&flags, "LC_ALL", "C");
    assert!(ascii.stdout.is_ascii(), "{ascii}");
    assert!(ascii.stdout.contains("####"), "{ascii}");
}
