//! The look-up on a Hub, from the command line. The library's own tests say what becomes of every bad answer.

use super::fake_hub::{Answer, FakeHub, ok, status};
use super::support::{Folder, Run, vramguard, with_input};

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16", "max_position_embeddings": 4096}"#;

fn hub() -> FakeHub {
    FakeHub::start(|path| match path {
        "/acme/llm/resolve/main/config.json" => ok(CONFIG),
        "/acme/gated/resolve/main/config.json" => status("403 Forbidden", &[]),
        _ => status("404 Not Found", &[]),
    })
}

fn run(hub: &FakeHub, folder: &Folder, arguments: &str) -> Run {
    vramguard(&format!("{arguments} --hub --hub-endpoint {} --hub-cache {}", hub.url(), folder.path("cache")))
}

#[test]
fn nothing_is_asked_of_the_hub_unless_it_is_switched_on() {
    let hub = hub();
    let run = vramguard(&format!("estimate --model acme/llm --hub-endpoint {}", hub.url()));
    assert_eq!(run.code, 2, "{run}");
    assert!(hub.requests().is_empty());
}

#[test]
fn an_unknown_model_is_looked_up_once_and_a_known_one_never() {
    let (hub, folder) = (hub(), Folder::with(&[]));
    let estimate = "estimate --model acme/llm --context-length 4096 --batch-size 4 --gpu L40S -o json";
    let first = run(&hub, &folder, estimate);
    assert_eq!(first.code, 0, "{first}");
    assert_eq!(first.json()["workload"]["parameters"], 6_738_415_616_u64);
    let asked = hub.requests().len();
    assert_eq!(run(&hub, &folder, estimate).stdout, first.stdout);
    assert_eq!(hub.requests().len(), asked, "the second run finds it in the cache");
    run(&hub, &folder, "estimate --model meta-llama/Llama-2-7b-hf --context-length 4096");
    assert_eq!(hub.requests().len(), asked, "the catalogue knows it");
}

#[test]
fn why_the_hub_has_no_model_is_said() {
    let (hub, folder) = (hub(), Folder::with(&[("token", "hf_secret\n")]));
    let arguments = format!("estimate --model acme/gated --hub-token-file {}", folder.path("token"));
    let gated = run(&hub, &folder, &arguments);
    assert!(gated.code == 2 && gated.stderr.contains("asks for a token"), "{gated}");
    assert!(hub.requests()[0].contains("hf_secret") && !gated.to_string().contains("hf_secret"), "{gated}");
    let none = run(&hub, &folder, "estimate --model acme/none");
    assert!(none.code == 2 && none.stderr.contains("no such model"), "{none}");
    let bad = vramguard("estimate --model acme/llm --hub --hub-endpoint ftp://x");
    assert!(bad.code == 2 && bad.stderr.contains("https://HOST"), "{bad}");
}

#[test]
fn check_asks_once_for_many_workloads() {
    let (hub, folder) = (hub(), Folder::with(&[]));
    let pod = |n: u32| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p{n}, annotations: {{vramguard.io/model: acme/llm}}}}, spec: \
             {{containers: [{{name: c, image: x, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]}}}}\n"
        )
    };
    let manifest = (0..20).map(pod).collect::<Vec<_>>().join("---\n");
    let (url, cache) = (hub.url(), folder.path("cache"));
    let arguments = ["check", "-f", "-", "-o", "json", "--hub", "--hub-endpoint", &url, "--hub-cache", &cache];
    let run = with_input(&arguments, &manifest);
    let result = run.json();
    assert_eq!(result["results"].as_array().unwrap().len(), 20);
    assert!(result["results"].as_array().unwrap().iter().all(|one| one["workload"]["parameters"].is_u64()), "{run}");
    assert_eq!(hub.requests().len(), 2, "the config and its index");
}

#[test]
fn an_endless_answer_ends() {
    let hub = FakeHub::start(|_| Answer::Endless(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), 1 << 30));
    let folder = Folder::with(&[]);
    let run = run(&hub, &folder, "estimate --model acme/llm");
    assert!(run.code == 2 && run.stderr.contains("more than 4 MiB"), "{run}");
}

#[test]
fn a_model_is_explained() {
    let mixture = vramguard("models mistralai/Mixtral-8x7B-v0.1");
    assert_eq!(mixture.code, 0, "{mixture}");
    for words in [
        "mixtral",
        "32:8 heads of 128",
        "2 of 8 experts of 14336",
        "routed experts",
        "46.703 B",
        "128.0 KiB per token",
        "catalogue",
    ] {
        assert!(mixture.stdout.contains(words), "no {words}: {mixture}");
    }
    let rows = vramguard("models mistralai/Mixtral-8x7B-v0.1 -o json").json();
    let classes = rows[0]["parametersByClass"].as_array().unwrap();
    let sum: u64 = classes.iter().map(|class| class["parameters"].as_u64().unwrap()).sum();
    assert_eq!(rows[0]["parameters"], sum, "{rows}");
    assert_eq!(rows[0]["kvBytesPerToken"], 131_072);

    let (hub, folder) = (hub(), Folder::with(&[]));
    let found = run(&hub, &folder, "models acme/llm");
    assert!(found.stdout.contains("on the Hub") && found.stdout.contains("6.738 B"), "{found}");
    // Half a name is searched for.
    assert!(vramguard("models mixtral").stdout.lines().count() > 1);
}
