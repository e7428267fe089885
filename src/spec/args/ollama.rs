//! Ollama: only variables; the model comes with each request.

use super::table::{Effect, Flag, ImageRule, Program, flag};
use super::values::{kv_dtype, slots};

const ENV: &[Flag] = &[
    flag(&["OLLAMA_CONTEXT_LENGTH"], Effect::Set("contextLength")),
    flag(&["OLLAMA_NUM_PARALLEL"], Effect::Call(slots)),
    // Several models at once, each as large as the one that is named.
    flag(
        &["OLLAMA_MAX_LOADED_MODELS"],
        Effect::Call(|reader, n| {
            if !matches!(n.trim(), "0" | "1") {
                reader.unread("several models may be loaded at once; one is estimated");
            }
        }),
    ),
    flag(&["OLLAMA_KV_CACHE_TYPE"], Effect::Map("kvCacheDtype", kv_dtype)),
];

/// The server.
pub(super) const PROGRAM: Program = Program {
    name: "ollama",
    trains: false,
    starts: &[&["ollama", "serve"]],
    positional: None,
    flags: &[],
    wraps: None,
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
