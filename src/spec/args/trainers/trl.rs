//! TRL: `trl sft|dpo|grpo|kto|reward|rloo` and its example scripts.

use super::accelerate;
use super::hf::{self, Habits, Load};
use super::launch::COUNTS;
use crate::spec::args::run::is_script;
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};

const OWN: &[Flag] = &[
    flag(&["--config"], Effect::Config),
    flag(&["--accelerate-config"], Effect::KeepAny),
    flag(&["--loss-type"], Effect::Keep),
    flag(&["--padding-free"], Effect::KeepBool),
    flag(&["--beta"], Effect::Keep),
    flag(&["--ref-model", "--ref-model-name-or-path"], Effect::Keep),
    flag(&["--precompute-ref-log-probs"], Effect::KeepBool),
    flag(&["--max-prompt-length"], Effect::KeepAny),
    flag(&["--max-completion-length", "--response-length"], Effect::KeepAny),
    flag(&["--num-generations"], Effect::Keep),
    flag(&["--use-vllm"], Effect::KeepBool),
    flag(&["--vllm-mode"], Effect::Keep),
    flag(&["--vllm-gpu-memory-utilization", "--vllm-tensor-parallel-size"], Effect::Skip),
];

/// The program: its own command, the example scripts and the modules.
pub(in crate::spec::args) const TRL: Program = Program {
    name: "trl",
    trains: true,
    starts: &[
        &["trl", "sft"],
        &["trl", "dpo"],
        &["trl", "grpo"],
        &["trl", "kto"],
        &["trl", "reward"],
        &["trl", "rloo"],
        &["-m", "trl.scripts.sft"],
        &["-m", "trl.scripts.dpo"],
        &["-m", "trl.scripts.grpo"],
        &["-m", "trl.scripts.kto"],
        &["-m", "trl.scripts.reward"],
        &["-m", "trl.scripts.rloo"],
        &["sft.py"],
        &["dpo.py"],
        &["grpo.py"],
        &["kto.py"],
        &["reward.py"],
        &["reward_modeling.py"],
        &["rloo.py"],
    ],
    positional: None,
    flags: tables!(OWN, hf::FLAGS, hf::LENGTH, COUNTS, accelerate::FLAGS),
    wraps: None,
    switches: &["--trust-remote-code", "--do-train", "--push-to-hub"],
    env: &[],
    images: &[],
    finish,
};

/// What a kind of training does.
struct Kind {
    /// Part of the command's last word.
    name: &'static str,
    sequences: u64,
    /// Tokens of a sample without a flag.
    length: u64,
    /// Compares with a frozen copy of the model.
    reference: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "sft", sequences: 1, length: 1024, reference: false },
    Kind { name: "dpo", sequences: 2, length: 1024, reference: true },
    Kind { name: "kto", sequences: 1, length: 1024, reference: true },
    Kind { name: "reward", sequences: 2, length: 1024, reference: false },
    // Prompts of 512 and answers of 256 tokens.
    Kind { name: "grpo", sequences: 1, length: 768, reference: false },
    Kind { name: "rloo", sequences: 1, length: 768, reference: false },
];

fn finish(reader: &mut Reader<'_>) {
    let word = reader.start.last().copied().unwrap_or_default().trim_end_matches(".py");
    let word = word.rsplit('.').next().unwrap_or(word);
    let Some(kind) = KINDS.iter().find(|kind| word.starts_with(kind.name)) else { return };
    // A script of this name may load weights in its own way.
    let own = !reader.start.first().is_some_and(|word| is_script(word));
    let habits = Habits {
        checkpointing: Some(true),
        bf16: true,
        load: if own { Load::Fp32 } else { Load::Unknown },
        sequences: kind.sequences,
        launches: own && reader.start.first() == Some(&"trl"),
        copies: false,
        rank: Some(16),
        targets: None,
    };
    let generates = kind.length != 1024;
    if generates {
        generated_length(reader);
        generation(reader);
    }
    hf::common(reader, &habits);
    reader.usually("contextLength", kind.length);
    reader.usually("batchSize", 8 * kind.sequences);
    if reader.text("--loss-type") == Some("chunked_nll") {
        reader.put("training.loss", "chunked");
    }
    let compares = kind.reference || reader.text("--beta").is_some_and(|beta| generates && beta.parse() != Ok(0.0_f64));
    // With adapters the reference is the model without them.
    if compares && reader.draft.out.training.lora.is_none() && !reader.on("--precompute-ref-log-probs") {
        reader.put("training.referenceModels", 1);
    }
}

/// Prompt and answer.
fn generated_length(reader: &mut Reader<'_>) {
    let given = ["--max-prompt-length", "--max-completion-length"].map(|name| reader.kept.contains_key(name));
    if given.contains(&true) {
        let prompt = reader.number("--max-prompt-length").or((!given[0]).then_some(512));
        let answer = reader.number("--max-completion-length").or((!given[1]).then_some(256));
        match prompt.zip(answer) {
            Some((prompt, answer)) => reader.put("contextLength", prompt.saturating_add(answer)),
            None => reader.unknown("contextLength", "the lengths of prompts and answers cannot be read"),
        }
    }
}

fn generation(reader: &mut Reader<'_>) {
    let apart = reader.text("--vllm-mode").is_some_and(|mode| mode == "server");
    if reader.on("--use-vllm") && !apart {
        reader.unread("vLLM may share the GPU with training: what it takes is not counted");
    }
}
