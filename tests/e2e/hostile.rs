//! What malformed, absurd and hostile input gets: a clear answer, and a server that lives on.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::controlplane::{ControlPlane, until};
use crate::gpu_nodes::{a10_node, l40s_node, t4_node};
use crate::https;
use crate::llama::{LLAMA, PRODUCT, SPEC, T4, serving, vllm};
use crate::namespace::Namespace;
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::{Pod, pod};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::annotations_get_a_clear_answer", annotations_get_a_clear_answer),
        trial("hostile::flags_and_parallelism_get_a_clear_answer", flags_and_parallelism_get_a_clear_answer),
        trial("hostile::bodies_are_refused_and_the_server_lives", bodies_are_refused_and_the_server_lives),
        trial("hostile::bad_nodes_do_not_stop_the_watch", bad_nodes_do_not_stop_the_watch),
    ]
}

/// A pod with this declaration.
fn declaring(spec: &str) -> Pod {
    pod("odd").gpus(1).annotation(SPEC, spec)
}

/// The declaration of a pod that would fit, with this after it.
fn llama_with(more: &str) -> Pod {
    declaring(&format!("{{task: inference, model: {LLAMA}, dtype: fp16, {more}}}"))
}

fn annotations_get_a_clear_answer(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[l40s_node("l40s", 8)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("odd")?;
    let cases: [(&str, Pod, &[&str]); 14] = [
        ("no YAML", declaring("{task: [inference"), &["INVALID_SPEC", SPEC]),
        ("a word", declaring("llama"), &["INVALID_SPEC", SPEC]),
        (
            "an unknown field",
            llama_with("contextLenght: 4096"),
            &["INVALID_SPEC", "contextLenght", "did you mean `contextLength`"],
        ),
        ("a field twice", llama_with("contextLength: 4096, contextLength: 8"), &["INVALID_SPEC", "contextLength"]),
        ("batch 0", llama_with("batchSize: 0"), &["INVALID_SPEC", "batchSize"]),
        ("a negative batch", llama_with("batchSize: -4"), &["INVALID_SPEC", "batchSize"]),
        ("half a batch", llama_with("batchSize: 0.5"), &["INVALID_SPEC", "batchSize"]),
        ("more than there is", llama_with("batchSize: 1e400"), &["INVALID_SPEC", "1e400"]),
        ("beyond 64 bits", llama_with("contextLength: 99999999999999999999999"), &["INVALID_SPEC", "contextLength"]),
        ("not a number", llama_with("batchSize: .nan"), &["INVALID_SPEC", ".nan"]),
        ("an unknown word", llama_with("quantization: awk"), &["INVALID_SPEC", "quantization", "did you mean `awq`"]),
        (
            "a bad mode",
            serving("odd").annotation("vramguard.io/mode", "enfroce"),
            &["INVALID_SPEC", "did you mean `enforce`"],
        ),
        (
            "an unknown key",
            serving("odd").annotation("vramguard.io/modle", LLAMA),
            &["INVALID_SPEC", "vramguard.io/modle"],
        ),
        ("a bomb", declaring(&bomb()), &["INVALID_SPEC", SPEC]),
    ];
    for (what, pod, words) in cases {
        refused(&team, what, &pod, words)?;
    }
    // What nobody knows is no reason to refuse.
    let unknown = pod("odd").gpus(1).annotation("vramguard.io/model", "meta-lama/Lama-7b");
    team.accepts(&unknown).with_warning("UNKNOWN_MODEL");
    team.accepts(&serving("odd")).silently();
    Ok(())
}

/// Aliases of aliases: a few hundred bytes that mean billions of words.
fn bomb() -> String {
    let lines = "bcdefghij".chars().zip("abcdefghi".chars()).map(|(name, before)| {
        let ten = vec![format!("*{before}"); 10].join(", ");
        format!("{name}: &{name} [{ten}]")
    });
    let first = "a: &a [x, x, x, x, x, x, x, x, x, x]".to_owned();
    std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n")
}

fn flags_and_parallelism_get_a_clear_answer(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[l40s_node("l40s", 8)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("split")?;
    let three = llama_with("batchSize: 1, contextLength: 4096, parallelism: {tensor: 3}, engine: {name: vllm}").gpus(3);
    refused(&team, "3 ranks for 32 heads", &three, &["PARALLELISM_MISMATCH", "32", "3"])?;
    let flag = vllm("odd").args(&["--model", LLAMA, "--tensor-parallel-size", "3"]).gpus(3);
    refused(&team, "the same by flag", &flag, &["PARALLELISM_MISMATCH", "32", "3"])?;
    let short = vllm("odd").args(&["--model", LLAMA, "--tensor-parallel-size", "4"]);
    refused(&team, "4 ranks on one GPU", &short, &["PARALLELISM_MISMATCH", "4", "1"])?;
    let conflict = vllm("odd").args(&["--model", "Qwen/Qwen2.5-72B"]).annotation("vramguard.io/model", LLAMA);
    refused(&team, "72B declared as 7B", &conflict, &["SPEC_CONFLICT", LLAMA, "Qwen/Qwen2.5-72B"])?;
    // A value that vLLM may know and we do not: no default stands in for it.
    let absurd = vllm("odd").args(&["--model", LLAMA, "--max-model-len", "many"]);
    team.accepts(&absurd).with_warning("--max-model-len");
    Ok(())
}

/// Refused with all of these words; an error names the case.
fn refused(team: &Namespace<'_>, what: &str, pod: &Pod, words: &[&str]) -> Result<()> {
    let answer = team.ask(pod)?;
    ensure!(!answer.ok(), "{what}: accepted, with {:?}", answer.warnings());
    for word in words {
        ensure!(answer.stderr.contains(word), "{what}: no {word:?} in {}", answer.stderr);
    }
    Ok(())
}

fn bodies_are_refused_and_the_server_lives(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("attacked")?;
    let post = |content_type: &str, body: &[u8]| {
        https::post(webhook.review_address(), webhook.authority(), "/validate?timeout=5s", content_type, body)
    };
    let whole = review(r#"{"metadata":{},"spec":{"containers":[]}}"#);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut not_text = whole.clone().into_bytes();
    let middle = not_text.len() / 2;
    not_text.splice(middle..middle, [0xff, 0xfe, 0x00]);
    let huge = review(&format!("\"{}\"", "x".repeat(5 << 20)));
    let deep = review(&nested);
    let deep_inside = review(&format!(r#"{{"metadata":{{"annotations":{{"vramguard.io/model":{nested}}}}}}}"#));
    let deep_and_unread = review(&format!(r#"{{"metadata":{{}},"spec":{{"containers":[]}},"status":{nested}}}"#));
    let cases: [(&str, &str, &[u8], u16, &str); 11] = [
        ("5 MiB", "application/json", huge.as_bytes(), 413, "larger than"),
        ("cut off", "application/json", &whole.as_bytes()[..middle], 400, "EOF"),
        ("another type", "text/yaml", whole.as_bytes(), 415, "text/yaml"),
        ("no type", "", whole.as_bytes(), 415, "application/json"),
        ("not UTF-8", "application/json", &not_text, 400, "message"),
        ("100 000 deep", "application/json", nested.as_bytes(), 400, "message"),
        ("nothing", "application/json", b"", 400, "EOF"),
        ("another object", "application/json", br#"{"apiVersion":"v1","kind":"Pod"}"#, 400, "admission.k8s.io/v1"),
        ("an object 100 000 deep", "application/json", deep.as_bytes(), 200, "could not be read"),
        ("100 000 deep where we read", "application/json", deep_inside.as_bytes(), 200, "could not be read"),
        ("100 000 deep where we do not", "application/json", deep_and_unread.as_bytes(), 200, r#""allowed":true"#),
    ];
    for (what, content_type, body, expected, words) in cases {
        let (status, answer) = post(content_type, body).map_err(|error| error.context(what))?;
        ensure!(status == expected && answer.contains(words), "{what}: {status} {answer}");
    }
    ensure!(webhook.metric("vramguard_admission_errors_total", &[])? >= 8.0, "{}", webhook.metrics()?);
    let (status, answer) = post("application/json", whole.as_bytes())?;
    ensure!(status == 200 && answer.contains(r#""allowed":true"#), "{status} {answer}");
    webhook.process().must_be_alive()?;
    team.rejects(&serving("serve")).because("TOO_BIG");
    Ok(())
}

/// A review of a pod that is nothing but this text.
fn review(object: &str) -> String {
    let kind =
        r#""kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"}"#;
    let request = format!(r#"{{"uid":"1",{kind},"namespace":"default","operation":"CREATE","object":{object}}}"#);
    format!(r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{request}}}"#)
}

fn bad_nodes_do_not_stop_the_watch(plane: &ControlPlane) -> Result<()> {
    let absurd = [
        ("abc", "1"),
        ("1e30", "1"),
        ("99999999999999999999999999", "99999999999999999999"),
        ("0", "0"),
        ("0x5000", "1.5"),
    ];
    let odd = absurd.iter().enumerate().map(|(number, (memory, count))| {
        a10_node(&format!("odd-{number}"), 1)
            .label("nvidia.com/gpu.memory", memory)
            .label("nvidia.com/gpu.count", count)
    });
    let mut nodes = plane.nodes(&odd.collect::<Vec<_>>())?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("odd-nodes")?;
    // Whatever is made of them, nobody is refused for their sake: the product says what an A10 has.
    team.accepts(&serving("serve"));
    nodes.add(&t4_node("t4", 1))?;
    nodes.add(&t4_node("odd-t4", 1).label("nvidia.com/gpu.memory", "lots").resource("nvidia.com/gpu", "1k"))?;
    team.rejects(&serving("serve").on_nodes_with(PRODUCT, T4)).because("TOO_BIG");
    nodes.add(&l40s_node("l40s", 1))?;
    until("the watch to have seen the last node", Duration::from_secs(10), || {
        let answer = team.ask(&serving("serve").on_nodes_with("kubernetes.io/hostname", "l40s"))?;
        Ok(answer.ok() && answer.warnings().is_empty())
    })?;
    webhook.process().must_be_alive()
}
