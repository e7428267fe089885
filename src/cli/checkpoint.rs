//! Checkpoint files: headers only, with bounds, since files come from anywhere.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::error::{Failure, code};
use super::manifests;
use crate::estimate::model::checkpoint::{self, CheckpointFacts};
use crate::estimate::model::gguf::{self, Gguf, GgufError};
use crate::estimate::model::{Model, hf_config, safetensors};

/// A `config.json` is a few kilobytes; more than this is another file.
const CONFIG_LIMIT: u64 = 4 << 20;
/// The longest GGUF header read: tokenizers make tens of megabytes.
const GGUF_LIMIT: u64 = 256 << 20;
/// First bytes of a GGUF file that are tried.
const GGUF_START: u64 = 1 << 20;
/// Headers of all shards together.
const HEADERS_LIMIT: u64 = 256 << 20;
/// Files of one checkpoint.
const MOST_FILES: usize = 4096;
/// Settings of a quantization beside the config: file, key that it goes under, method that it stands for.
const SIDE_FILES: &[(&str, &str, Option<&str>)] = &[
    ("hf_quant_config.json", "_hf_quant_config", None),
    ("quantize_config.json", "quantization_config", Some("gptq")),
    ("quant_config.json", "quantization_config", Some("awq")),
];

fn bad(path: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::new(code::BAD_INPUT, format!("{}: {problem}", path.display()))
}

/// The JSON of a `config.json`.
pub(super) fn config(path: &Path) -> Result<Value, Failure> {
    let text = manifests::read_bounded(path, CONFIG_LIMIT)?;
    serde_json::from_str(&text).map_err(|error| {
        bad(path, format!("not JSON: {error}")).hint("--config-json takes the config.json of a Hugging Face model")
    })
}

/// The model of a config with the checkpoint's bytes.
pub(super) fn with_bytes(mut model: Model, path: &Path, facts: &CheckpointFacts) -> Result<Arc<Model>, Failure> {
    checkpoint::attach(&mut model, facts).map_err(|error| {
        bad(path, error).hint("give the config.json that belongs to it: --config-json FILE, or --checkpoint DIR")
    })?;
    Ok(Arc::new(model))
}

/// The model of a config file.
pub(super) fn model(path: &Path, config: &Value) -> Result<Model, Failure> {
    let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("config");
    hf_config::read(name, config).map_err(|error| bad(path, error))
}

/// `--checkpoint DIR`: config, settings of the quantization and headers.
pub(super) fn directory(dir: &Path) -> Result<Arc<Model>, Failure> {
    let at = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
    let Some(config_path) = at("config.json") else {
        return match files(dir, "gguf")?.first() {
            Some(file) => gguf_model(file),
            None => {
                Err(bad(dir, "no config.json and no .gguf file is in it").hint("give the folder of one checkpoint"))
            }
        };
    };
    let mut config = config(&config_path)?;
    for (name, key, method) in SIDE_FILES {
        if let (Some(path), Value::Object(root)) = (at(name), &mut config)
            && !root.contains_key("quantization_config")
        {
            let mut settings = self::config(&path)?;
            if let (Some(method), Value::Object(settings)) = (method, &mut settings) {
                settings.entry("quant_method").or_insert_with(|| Value::from(*method));
            }
            root.insert((*key).to_owned(), settings);
        }
    }
    let model = model(&config_path, &config)?;
    if let Some(index) = at("model.safetensors.index.json") {
        return with_bytes(model, &index, &safetensors_facts(&index)?);
    }
    let shards = files(dir, "safetensors")?;
    if shards.is_empty() {
        return Err(bad(dir, "no .safetensors file is in it").hint("--config-json estimates from the config alone"));
    }
    with_bytes(model, dir, &joined(&shards)?)
}

/// The files of a folder with an extension, by name.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(dir).map_err(|error| Failure::io("read", dir, &error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MOST_FILES);
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))).collect();
    found.sort();
    Ok(found)
}

/// `--safetensors`: one file, or the index of several with the headers of those that lie beside it.
pub(super) fn safetensors_facts(path: &Path) -> Result<CheckpointFacts, Failure> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return header(path, HEADERS_LIMIT).map(|(facts, _)| facts);
    }
    let index = manifests::read_bounded(path, safetensors::MOST_HEADER)?;
    let facts = safetensors::read_index(index.as_bytes()).map_err(|error| bad(path, error))?;
    let names = safetensors::shards(index.as_bytes()).map_err(|error| bad(path, error))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let shards: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    if shards.len() > MOST_FILES || !shards.iter().all(|shard| shard.is_file()) {
        return Ok(facts);
    }
    joined(&shards)
}

/// The headers of several files as those of one checkpoint.
fn joined(shards: &[PathBuf]) -> Result<CheckpointFacts, Failure> {
    let mut left = HEADERS_LIMIT;
    let mut all = Vec::with_capacity(shards.len());
    for shard in shards {
        let (facts, read) = header(shard, left)?;
        left = left.saturating_sub(read);
        all.push(facts);
    }
    let first = shards.first().map_or(Path::new(""), PathBuf::as_path);
    safetensors::join(all).map_err(|error| bad(first, error))
}

/// One header and its length.
fn header(path: &Path, limit: u64) -> Result<(CheckpointFacts, u64), Failure> {
    let failed = |error: &std::io::Error| Failure::io("read", path, error);
    let hint = "--safetensors takes a .safetensors file or its model.safetensors.index.json; fetch a cut file again";
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let length = file.metadata().map_err(|error| failed(&error))?.len();
    let mut head = Vec::new();
    file.by_ref().take(8).read_to_end(&mut head).map_err(|error| failed(&error))?;
    let end = safetensors::header_end(&head).map_err(|error| bad(path, error).hint(hint))?;
    if end > limit {
        return Err(bad(path, format!("the headers are longer than {} MiB together", HEADERS_LIMIT >> 20)));
    }
    file.take(end.saturating_sub(8)).read_to_end(&mut head).map_err(|error| failed(&error))?;
    let facts = safetensors::read(&head, Some(length)).map_err(|error| bad(path, error).hint(hint))?;
    Ok((facts, end))
}

/// `--gguf`: one file, or the first of several parts with the others beside it.
pub(super) fn gguf_model(path: &Path) -> Result<Arc<Model>, Failure> {
    let parts = parts(path)?.iter().map(|part| gguf_header(part)).collect::<Result<Vec<Gguf>, Failure>>()?;
    let whole = gguf::join(parts).map_err(|error| bad(path, error))?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("gguf");
    gguf::model(name, &whole).map(Arc::new).map_err(|error| bad(path, error))
}

/// All parts of a file `NAME-00001-of-00003.gguf`.
fn parts(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let split = name.strip_suffix(".gguf").and_then(|stem| stem.rsplit_once("-of-"));
    let Some((stem, of)) = split.and_then(|(start, of)| Some((start.rsplit_once('-')?.0, of))) else {
        return Ok(vec![path.to_owned()]);
    };
    let Some(count) = of.parse::<usize>().ok().filter(|count| (1..=MOST_FILES).contains(count)) else {
        return Ok(vec![path.to_owned()]);
    };
    let all: Vec<PathBuf> =
        (1..=count).map(|part| path.with_file_name(format!("{stem}-{part:05}-of-{of}.gguf"))).collect();
    match all.iter().find(|part| !part.is_file()) {
        Some(missing) => Err(bad(path, format!("{} is missing beside it", missing.display()))
            .hint("a checkpoint in parts needs all of them")),
        None => Ok(all),
    }
}

fn gguf_header(path: &Path) -> Result<Gguf, Failure> {
    let failed = |error: &std::io::Error| Failure::io("read", path, error);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let length = file.metadata().map_err(|error| failed(&error))?.len();
    let mut bytes = Vec::new();
    let mut wanted = GGUF_START;
    loop {
        let more = wanted.saturating_sub(bytes.len() as u64);
        let read = file.by_ref().take(more).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        match gguf::read(&bytes) {
            Err(GgufError::Truncated(_)) if read as u64 == more && wanted < GGUF_LIMIT => {
                wanted = wanted.saturating_mul(4).min(GGUF_LIMIT);
            }
            Err(error) => return Err(bad(path, error).hint("--gguf takes a .gguf file; fetch a cut file again")),
            Ok(gguf) if gguf.facts.bytes > length => {
                let problem = format!("its tensors have {} bytes, the file {length}: it is cut", gguf.facts.bytes);
                return Err(bad(path, problem).hint("fetch it again"));
            }
            Ok(gguf) => return Ok(gguf),
        }
    }
}
