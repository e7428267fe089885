//! Malformed input of every kind: each gets a clear answer, exit code 2 and no crash.

use insta::assert_snapshot;

use super::support::{Folder, Run, check, vramguard, vramguard_args};

fn refused(run: &Run) {
    assert_eq!(run.code, 2, "{run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
}

#[test]
fn an_unknown_flag_is_named_with_its_neighbour() {
    assert_snapshot!(vramguard("estimate --contextlength 4096"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: unexpected argument '--contextlength' found

      tip: a similar argument exists: '--context-length'

    Usage: vramguard estimate --context-length <TOKENS>

    For more information, try '--help'.
    "#);
}

#[test]
fn an_unknown_flag_is_a_json_error_where_json_was_asked_for() {
    assert_snapshot!(vramguard("estimate --contextlength 4096 -o json"), @r#"
    exit 2
    --- stdout
    {
      "apiVersion": "vramguard.io/v1",
      "kind": "Error",
      "error": {
        "code": "USAGE",
        "message": "unexpected argument '--contextlength' found",
        "hint": "a similar argument exists: '--context-length'"
      }
    }
    --- stderr
    "#);
}

#[test]
fn numbers_that_no_run_can_have_are_refused_by_flag() {
    let base = "estimate --parameters 7e9 --layers 32 --hidden-size 4096 --heads 32 --head-dim 128";
    for wrong in [
        "--batch-size 0",
        "--batch-size -4",
        "--batch-size 1e400",
        "--context-length 1.5",
        "--context-length 99999999999999999999",
        "--tensor-parallel 0",
        "--memory-fraction 1.5",
        "--memory-fraction -0.1",
        "--memory-fraction nan",
        "--engine-version latest",
        "--dtype fp17",
        "--task dancing",
        "--lora-rank 0",
    ] {
        let run = vramguard(&format!("{base} {wrong}"));
        refused(&run);
        let flag = wrong.split(' ').next().unwrap();
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(flag), "{run}");
    }
    for wrong in ["1e400", "-7e9", "0", "nan", "many"] {
        refused(&vramguard(&format!("estimate --parameters {wrong}")));
    }
}

#[test]
fn absurdly_large_but_possible_numbers_do_not_overflow() {
    let run = vramguard(
        "estimate --parameters 1e18 --layers 18446744073709551615 --hidden-size 18446744073709551615 \
         --heads 18446744073709551615 --head-dim 18446744073709551615 --batch-size 18446744073709551615 \
         --context-length 18446744073709551615 --gpu H100-80GB -o json",
    );
    assert!([1, 2].contains(&run.code), "{run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
}

#[test]
fn a_degree_that_does_not_divide_the_heads_is_refused() {
    assert_snapshot!(vramguard("estimate --model meta-llama/Llama-2-7b-hf --engine vllm --tensor-parallel 3"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: tensor parallelism 3 does not divide attention heads (32): use one of 1, 2, 4, 8, 16, 32
    "#);
}

#[test]
fn an_unknown_model_comes_with_suggestions() {
    assert_snapshot!(vramguard("estimate --model meta-llama/Llama-2-7b-hff"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: the model `meta-llama/Llama-2-7b-hff` is not known, did you mean `meta-llama/Llama-2-7b-hf` or `meta-llama/Llama-2-70b-hf` or `meta-llama/Llama-2-13b-hf`; give its `config` or its `parameters` with a shape
    hint: `vramguard models` lists the catalogue; --config-json reads any other model's config.json
    "#);
}

#[test]
fn an_unknown_gpu_comes_with_suggestions() {
    assert_snapshot!(vramguard("estimate --model meta-llama/Llama-2-7b-hf --gpu H100-81GB"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: unknown GPU `H100-81GB`
    hint: did you mean H100-80GB-HBM3? `vramguard gpus` lists what is known
    "#);
}

#[test]
fn no_model_at_all_says_what_to_add() {
    assert_snapshot!(vramguard("estimate"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: no model given
    hint: add --model NAME (see `vramguard models`), --config-json FILE, --checkpoint DIR, --gguf FILE, or --parameters COUNT with its shape
    "#);
}

#[test]
fn a_config_that_is_no_json_is_named() {
    let folder = Folder::with(&[("config.json", "{\"hidden_size\": ")]);
    let run = vramguard(&format!("estimate --config-json {}", folder.path("config.json")));
    refused(&run);
    assert!(folder.masked(&run.stderr).starts_with("error: DIR/config.json: not JSON: "), "{run}");
}

#[test]
fn a_missing_file_is_named() {
    assert_snapshot!(vramguard("check -f nowhere.yaml --nodes examples/nodes.yaml"), @r#"
    exit 2
    --- stdout
    0 workloads: 0 fit, 0 with a warning, 0 denied
    --- stderr
    error: cannot read nowhere.yaml: no such file or directory
    "#);
    assert_snapshot!(vramguard("check -f examples/01-vllm-llama-2-7b.yaml --nodes nowhere.yaml"), @r#"
    exit 2
    --- stdout
    --- stderr
    error: cannot read nowhere.yaml: no such file or directory
    "#);
}

#[test]
fn broken_yaml_is_named_by_line_and_the_rest_is_still_checked() {
    let good = include_str!("../../examples/04-pytorch-server-l40s.yaml");
    let folder = Folder::with(&[("a.yaml", "kind: Pod\nmetadata: {name: x\nspec: [\n"), ("b.yaml", good)]);
    let run = vramguard(&format!("check -f {} --nodes examples/nodes.yaml -o json", folder.path("")));
    refused(&run);
    let result = run.json();
    assert_eq!(result["results"].as_array().unwrap().len(), 1, "{run}");
    assert_eq!(result["results"][0]["verdict"], "FITS");
    assert_eq!(result["errors"].as_array().unwrap().len(), 1);
    assert!(result["errors"][0]["file"].as_str().unwrap().ends_with("a.yaml"));
    assert!(result["errors"][0]["line"].as_u64().is_some());
}

#[test]
fn a_malformed_item_of_a_list_is_named_and_the_rest_is_still_checked() {
    let pod = "{kind: Pod, apiVersion: v1, metadata: {name: good}, spec: {containers: [{name: c, image: x, \
        resources: {limits: {nvidia.com/gpu: 1}}}]}}";
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {{kind: Pod, apiVersion: v1, spec: 7}}\n- {pod}\n");
    let run = check(&list, "");
    refused(&run);
    assert!(run.stdout.contains("pod/good") && run.stderr.contains("items[0]"), "{run}");
}

#[test]
fn an_input_with_nothing_but_errors_is_an_error_document() {
    let run = check("kind: [\n", "-o json");
    refused(&run);
    let document = run.json();
    assert_eq!((document["kind"].as_str(), document["error"]["code"].as_str()), (Some("Error"), Some("BAD_INPUT")));
}

#[test]
fn documents_that_are_no_kubernetes_objects_are_skipped_with_a_note() {
    let run = check("replicas: 3\n---\n- a\n- b\n", "");
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stderr.matches("note: -:").count(), 2, "{run}");
}

fn pod(annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    {annotations}\nspec:\n  containers:\n  - name: c\n    \
         image: registry.example.com/x:1\n    resources: {{limits: {{nvidia.com/gpu: 1}}}}\n"
    )
}

fn denied(annotations: &str) -> String {
    let run = check(&pod(annotations), "-o json");
    assert_eq!(run.code, 1, "{run}");
    let report = run.json()["results"][0].clone();
    assert_eq!(report["verdict"], "INVALID_SPEC", "{run}");
    report["message"].as_str().unwrap().to_owned()
}

#[test]
fn unknown_annotations_and_fields_come_with_suggestions() {
    assert_snapshot!(denied("vramguard.io/context-lenght: '4096'"), @"vramguard.io/context-lenght: unknown annotation; did you mean `context-length`?");
    assert_snapshot!(denied("vramguard.io/spec: '{model: meta-llama/Llama-2-7b-hf, contextLenght: 4096}'"), @"vramguard.io/spec: contextLenght: unknown field; did you mean `contextLength`?");
}

#[test]
fn impossible_values_in_annotations_are_denied_with_their_place() {
    for (annotations, place) in [
        ("vramguard.io/batch-size: '0'", "batch"),
        ("vramguard.io/batch-size: '-3'", "batch"),
        ("vramguard.io/context-length: '1e400'", "context"),
        ("vramguard.io/spec: '{parallelism: {tensor: 0}}'", "tensor"),
        ("vramguard.io/spec: '{parameters: 1e400}'", "1e400"),
        ("vramguard.io/spec: '{'", "vramguard.io/spec"),
        ("vramguard.io/dtype: fp17", "dtype"),
    ] {
        let message = denied(annotations);
        assert!(message.contains(place), "{annotations}: {message}");
    }
}

#[test]
fn hostile_files_end_in_errors_not_crashes() {
    let deep = "[".repeat(100_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    for hostile in [deep.as_str(), &"{\"a\":".repeat(100_000), bomb] {
        refused(&check(hostile, ""));
    }
    let folder = Folder::with(&[]);
    std::fs::write(folder.path("x.yaml"), b"kind: \xff\xfe").unwrap();
    let run = vramguard_args(&["check", "-f", &folder.path("x.yaml")]);
    refused(&run);
    assert!(run.stderr.contains("not UTF-8"), "{run}");
}

#[test]
fn a_node_that_cannot_be_read_is_an_error_beside_the_results() {
    let folder = Folder::with(&[(
        "nodes.yaml",
        "kind: List\nitems:\n- {kind: Node, metadata: {name: broken}, spec: {taints: 7}}\n- {kind: Node, metadata: {name: whole}}\n",
    )]);
    let nodes = folder.path("nodes.yaml");
    let run = vramguard_args(&["check", "-f", "examples/01-vllm-llama-2-7b.yaml", "--nodes", &nodes]);
    refused(&run);
    assert!(run.stdout.contains("deploy/chat") && run.stderr.contains("Node broken: "), "{run}");
}

#[test]
fn nodes_that_are_none_are_refused() {
    let run = vramguard("check -f examples/01-vllm-llama-2-7b.yaml --nodes examples/02-pytorch-server-t4.yaml");
    refused(&run);
    assert!(run.stderr.contains("no Node in it"), "{run}");
}
