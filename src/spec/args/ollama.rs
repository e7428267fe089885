//! Ollama: only variables; the model comes with each request.

use super::table::{Effect, Flag, ImageRule, Program, flag};
use super::values::kv_dtype;

const ENV: &[Flag] = &[
    flag(&["OLLAMA_CONTEXT_LENGTH"], Effect::Set("contextLength")),
    flag(&["OLLAMA_NUM_PARALLEL"], Effect::Set("batchSize")),
    flag(&["OLLAMA_KV_CACHE_TYPE"], Effect::Map("kvCacheDtype", kv_dtype)),
];

/// The server.
pub(super) const PROGRAM: Program = Program {
    name: "ollama",
    trains: false,
    starts: &[&["ollama", "serve"]],
    positional: None,
    flags: &[],
    switches: &[],
    env: ENV,
    images: &[ImageRule { repository: "ollama", entrypoint: true, versioned: true }],
    finish: |reader| {
        if reader.draft.is_free("model") {
            let hint = "Ollama's model comes with each request: name the largest one in `vramguard.io/model`";
            reader.draft.out.unread.push(hint.to_owned());
        }
    },
};
