use serde_json::Value;

use super::*;

/// Counts that transformers, published totals and checkpoint headers agree on (`data/README.md`).
const EXPECTED: &str = include_str!("../../../tests/data/parameters.jsonl");

/// Architectures for which no reader can say the size, with the reason.
const NOT_UNDERSTOOD: &[(&str, &str)] = &[];

fn expected() -> impl Iterator<Item = Value> {
    EXPECTED.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn find(reference: &str) -> Arc<Model> {
    Catalog::embedded().find(reference).unwrap()
}

#[test]
fn rows_are_sorted_and_every_line_is_one() {
    let rows = &Catalog::embedded().rows;
    assert_eq!(rows.len(), TEXT.lines().count());
    assert!(rows.is_sorted_by(|a, b| a.key < b.key));
    assert!(rows.iter().all(|row| row.id().unwrap().to_lowercase() == row.key));
}

#[test]
fn parameter_counts_are_exact() {
    let mut wrong = Vec::new();
    for row in expected() {
        let id = row["id"].as_str().unwrap();
        let counted = match Catalog::embedded().find(id) {
            Ok(model) => Some(model.parameters()),
            Err(LookupError::Unreadable { reason: source, .. }) => {
                let reason = NOT_UNDERSTOOD.iter().find(|(known, _)| *known == id);
                if !reason.is_some_and(|(_, reason)| source.to_string().contains(reason)) {
                    wrong.push(format!("{id}: {source}"));
                }
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        if counted != row["total"].as_u64() {
            let off = counted.unwrap() as i128 - i128::from(row["total"].as_u64().unwrap_or(0));
            wrong.push(format!("{id}: {counted:?} instead of {} ({off:+}), {}", row["total"], row["breakdown"]));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ids_aliases_forks_and_paths_lead_to_one_model() {
    let references = [
        "meta-llama/Llama-2-7b-hf",
        "META-LLAMA/llama-2-7B-HF",
        "Llama-2-7b-hf",
        "llama-2-7b",
        "NousResearch/Llama-2-7b-hf",
        "meta-llama/Llama-2-7b-chat-hf",
        "/models/Llama-2-7b-hf",
        "/models/Llama-2-7b-hf/",
        "/data/hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d771dfac7d292323805ebc428287df4f9",
        "https://huggingface.co/meta-llama/Llama-2-7b-hf",
    ];
    for reference in references {
        assert!(Arc::ptr_eq(&find(reference), &find("meta-llama/Llama-2-7b-hf")), "{reference}");
    }
    assert_eq!(find("llama-3-8b").parameters(), 8_030_261_248);
    assert_eq!(find("meta-llama/Meta-Llama-3-8B-Instruct").parameters(), 8_030_261_248);
    assert_eq!(find("Qwen/Qwen2.5-7B-Instruct").parameters(), 7_615_616_512);
}

#[test]
fn quantized_variants_are_the_base_with_a_quantization() {
    let cases = [
        ("TheBloke/Llama-2-7B-AWQ", "awq"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "gptq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "gptq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "gptq-int8"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8", "fp8"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "fp8"),
        ("unsloth/llama-3-8b-bnb-4bit", "nf4"),
        ("TheBloke/Llama-2-7B-GGUF", "q4_k_m"),
        ("TheBloke/Llama-2-7B-GGUF:Q8_0", "q8_0"),
        ("/models/llama-2-7b.Q5_K_M.gguf", "q5_k_m"),
    ];
    for (reference, quantization) in cases {
        let model = find(reference);
        assert_eq!(model.quantization.as_ref().map(|q| q.name.as_str()), Some(quantization), "{reference}");
        assert!(Arc::ptr_eq(&model, &find(reference)), "kept");
    }
    assert_eq!(find("TheBloke/Llama-2-7B-AWQ").parameters(), 6_738_415_616);
}

#[test]
fn unknown_names_get_near_ones_and_hostile_names_an_answer() {
    let error = Catalog::embedded().find("meta-llama/Lama-2-7b-hf").unwrap_err().to_string();
    assert!(error.contains("did you mean `meta-llama/Llama-2-7b-hf`"), "{error}");
    let error = Catalog::embedded().find("somebody/something-else-entirely").unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
    for hostile in ["", "/", "////", "-awq", ".gguf", ":", "é/ü", "\0", &"a".repeat(1 << 20)] {
        let error = Catalog::embedded().find(hostile).unwrap_err().to_string();
        assert!(error.len() < 1000, "{error}");
    }
}

#[test]
fn rows_say_where_they_come_from() {
    let entry = Catalog::embedded().entry("llama-2-7b").unwrap();
    assert_eq!(entry.id, "meta-llama/Llama-2-7b-hf");
    assert!(!entry.source.is_empty() && !entry.recalled);
    assert!(Catalog::embedded().entry("google/flan-t5-base").unwrap().recalled);
}
