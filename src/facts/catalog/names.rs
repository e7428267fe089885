//! What a model reference may look like, and which of it names the architecture.

use crate::estimate::model::Quantization;

/// Longer references are refused without looking: no model has such a name.
pub(super) const MOST_CHARS: usize = 200;

/// Endings by which quantized variants are named, longest first among those that end alike, and the quantization.
pub(super) const SUFFIXES: &[(&str, &str)] = &[
    ("-quantized.w4a16", "int4"),
    ("-quantized.w8a16", "int8"),
    ("-quantized.w8a8", "int8"),
    (".w4a16", "int4"),
    (".w8a16", "int8"),
    (".w8a8", "int8"),
    ("-gptq-w4a16", "gptq"),
    ("-gptq-w8a16", "gptq-int8"),
    ("-awq-w4a16", "awq"),
    ("-w4a16-awq", "awq"),
    ("-w4a16-gptq", "gptq"),
    ("-w8a8-fp8", "fp8"),
    ("-fp8-w8a8", "fp8"),
    ("-w8a8-int8", "int8"),
    ("-w4a16-g128", "int4"),
    ("-unsloth-bnb-4bit", "nf4"),
    ("-bnb-4bit", "nf4"),
    ("-bnb-8bit", "int8"),
    ("-nf4", "nf4"),
    ("-awq-int4", "awq"),
    ("-int4-awq", "awq"),
    ("-awq-4bit", "awq"),
    ("-awq-8bit", "int8"),
    ("-awq", "awq"),
    ("-gptq-int4", "gptq"),
    ("-gptq-4bit", "gptq"),
    ("-4bit-gptq", "gptq"),
    ("-int4-gptq", "gptq"),
    ("-int8-gptq", "gptq-int8"),
    ("-gptq-int8", "gptq-int8"),
    ("-gptq-8bit", "gptq-int8"),
    ("-gptq", "gptq"),
    ("-fp8-dynamic", "fp8"),
    ("-fp8-block", "fp8"),
    ("-fp8-kv", "fp8"),
    ("-fp8", "fp8"),
    ("-nvfp4a16", "nvfp4"),
    ("-nvfp4", "nvfp4"),
    ("-fp4", "nvfp4"),
    ("-mxfp4", "mxfp4"),
    ("-w4a16", "int4"),
    ("-w8a16", "int8"),
    ("-w8a8", "int8"),
    ("-int4", "int4"),
    ("-int8", "int8"),
    ("-mlx-4bit", "int4"),
    ("-mlx-8bit", "int8"),
    ("-4bit", "int4"),
    ("-8bit", "int8"),
    // Servers take this file of a repository unless told which.
    ("-gguf", "q4_k_m"),
];

/// Parts of names that tell tunes and file formats of one architecture apart.
const DECORATIONS: &[&str] = &["base", "bf16", "chat", "fp16", "hf", "instruct", "it", "meta", "pt"];

/// A reference taken apart, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `org/name`, or just a name.
    pub(super) id: String,
    /// File type of a GGUF file or tag.
    pub(super) file_type: Option<String>,
}

impl Reference {
    /// Takes a Hub id, address, cache folder, file or path apart.
    pub(super) fn parse(text: &str) -> Self {
        let lower = text.trim().to_ascii_lowercase();
        let (lower, tag) = split_tag(&lower);
        let plain = ["https://", "http://", "hf://", "huggingface.co/", "hf.co/"]
            .iter()
            .fold(lower, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
        let plain = plain.split_once("/resolve/").map_or(plain, |(before, _)| before);
        let plain = plain.split_once("/tree/").map_or(plain, |(before, _)| before).trim_end_matches('/');
        if let Some(id) = cached(plain) {
            return Self { id, file_type: tag };
        }
        match plain.strip_suffix(".gguf") {
            Some(file) => {
                let file = without_part(last(file));
                // `llama-3.1-8b` has a dot of its own: the file type is what stands after the last mark of either kind.
                let (name, kind) = file.rsplit_once(['.', '-']).filter(|(_, kind)| is_file_type(kind)).unzip();
                Self { id: name.unwrap_or(file).to_owned(), file_type: kind.map(str::to_owned) }
            }
            None => Self { id: plain.to_owned(), file_type: tag },
        }
    }

    /// The last component.
    pub(super) fn name(&self) -> &str {
        last(&self.id)
    }
}

/// `name-00001-of-00003`: one part of a file.
fn without_part(file: &str) -> &str {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    file.rsplit_once("-of-")
        .filter(|(_, total)| digits(total))
        .and_then(|(before, _)| before.rsplit_once('-'))
        .filter(|(_, part)| digits(part))
        .map_or(file, |(name, _)| name)
}

/// GGUF's own types of weights, and the formats that are no quantization.
fn is_file_type(kind: &str) -> bool {
    matches!(kind, "f16" | "bf16" | "f32" | "fp16") || Quantization::names().any(|name| name == kind)
}

/// `name:q8_0` and `name@revision`.
fn split_tag(text: &str) -> (&str, Option<String>) {
    let text = text.split_once('@').map_or(text, |(before, _)| before);
    match text.rsplit_once(':') {
        Some((before, tag)) if !before.is_empty() && !tag.contains('/') => (before, Some(tag.to_owned())),
        _ => (text, None),
    }
}

/// `.../models--org--name/snapshots/...`: a folder of the Hub's cache.
fn cached(path: &str) -> Option<String> {
    let folder = path.split('/').find_map(|part| part.strip_prefix("models--"))?;
    Some(folder.replacen("--", "/", 1))
}

/// What Ollama takes of a library's model unless told otherwise. Some small ones are larger: nothing is refused for it.
const LIBRARY_TYPE: &str = "q4_k_m";

/// `llama3.1:8b-instruct-q8_0`, as Ollama's library names models: names that the Hub may have for it, and the file type.
pub(super) fn library(text: &str) -> Option<([String; 2], String)> {
    let lower = text.trim().to_ascii_lowercase();
    let (family, tag) = lower.rsplit_once(':')?;
    let family = family.strip_prefix("library/").unwrap_or(family);
    let (size, rest) = tag.split_once('-').unwrap_or((tag, ""));
    let number = size.strip_suffix(['b', 'm'])?;
    if family.contains('/') || number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let kind = rest.rsplit('-').next().filter(|kind| is_file_type(kind)).unwrap_or(LIBRARY_TYPE);
    let dashed = match family.find(|c: char| c.is_ascii_digit()) {
        Some(at) if at > 0 => format!("{}-{}", family.get(..at)?.trim_end_matches('-'), family.get(at..)?),
        _ => family.to_owned(),
    };
    Some(([format!("{family}-{size}"), format!("{dashed}-{size}")], kind.to_owned()))
}

/// The last component of an id or path.
pub(super) fn last(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// A name without what tells tunes and formats apart: `meta-llama-3-8b-instruct` is `llama-3-8b`.
pub(super) fn core(name: &str) -> String {
    let parts: Vec<&str> = name.split('-').filter(|part| !DECORATIONS.contains(part)).collect();
    parts.join("-")
}

/// Known names near a wrong one, best first: those that share most pairs of letters.
pub(super) fn near<'a>(name: &str, known: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let wanted = pairs(name);
    let mut scored: Vec<(usize, &str)> = known
        .filter_map(|(key, shown)| {
            let have = pairs(last(key));
            let shared = have.iter().filter(|pair| wanted.binary_search(pair).is_ok()).count();
            let score = 200 * shared / (have.len() + wanted.len()).max(1);
            (score >= 55).then_some((score, shown))
        })
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.len().cmp(&b.1.len())));
    scored.into_iter().take(3).map(|(_, shown)| shown).collect()
}

fn pairs(name: &str) -> Vec<(u8, u8)> {
    let bytes = name.as_bytes();
    let mut pairs: Vec<(u8, u8)> = bytes.iter().copied().zip(bytes.iter().copied().skip(1)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let cases = [
            ("meta-llama/Llama-2-7b-hf", "meta-llama/llama-2-7b-hf", None),
            ("/models/Llama-2-7b-hf/", "/models/llama-2-7b-hf", None),
            ("https://huggingface.co/Qwen/Qwen3-8B/tree/main", "qwen/qwen3-8b", None),
            ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/0ab1", "qwen/qwen3-8b", None),
            ("bartowski/Qwen3-8B-GGUF:Q8_0", "bartowski/qwen3-8b-gguf", Some("q8_0")),
            ("/models/llama-2-7b.Q5_K_M.gguf", "llama-2-7b", Some("q5_k_m")),
            ("Qwen3-8B-Q4_0.gguf", "qwen3-8b", Some("q4_0")),
            ("/m/Llama-3.1-8B-Instruct-Q8_0.gguf", "llama-3.1-8b-instruct", Some("q8_0")),
            ("Mistral-7B-Instruct-v0.2.gguf", "mistral-7b-instruct-v0.2", None),
            ("Qwen2.5-72B-Q4_K_M-00001-of-00002.gguf", "qwen2.5-72b", Some("q4_k_m")),
            ("Qwen/Qwen3-8B@0123abc", "qwen/qwen3-8b", None),
        ];
        for (text, id, file_type) in cases {
            let parsed = Reference::parse(text);
            assert_eq!((parsed.id.as_str(), parsed.file_type.as_deref()), (id, file_type), "{text}");
        }
    }

    #[test]
    fn names_of_ollamas_library_are_the_hubs_with_a_size() {
        let of = |text: &str| library(text).map(|([plain, dashed], kind)| format!("{plain} {dashed} {kind}"));
        assert_eq!(of("llama3.1:8b").as_deref(), Some("llama3.1-8b llama-3.1-8b q4_k_m"));
        assert_eq!(
            of("qwen2.5-coder:1.5b-instruct-q8_0").as_deref(),
            Some("qwen2.5-coder-1.5b qwen-2.5-coder-1.5b q8_0")
        );
        for text in ["llama3.1", "llama3.1:latest", "a/b:8b", "phi3:mini", "x:b", "org/model:q8_0"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn tunes_share_a_core() {
        assert_eq!(core("meta-llama-3-8b-instruct"), core("llama-3-8b"));
        assert_eq!(core("mistral-7b-instruct-v0.1"), core("mistral-7b-v0.1"));
        assert_ne!(core("phi-3-mini-4k-instruct"), core("phi-3-mini-128k-instruct"));
    }
}
