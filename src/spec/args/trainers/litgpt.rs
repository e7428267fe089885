//! LitGPT: `litgpt finetune|finetune_lora|finetune_full|pretrain MODEL --train.micro_batch_size 1 ...`.

use super::launch::data_parallel;
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag};

const FLAGS: &[Flag] = &[
    flag(&["--config"], Effect::Config),
    flag(&["--checkpoint-dir", "--model-name"], Effect::Set("model")),
    flag(&["--precision"], Effect::Keep),
    flag(&["--quantize"], Effect::Keep),
    flag(&["--nproc-per-node", "--devices"], Effect::KeepAny),
    flag(&["--nnodes", "--num-nodes"], Effect::KeepAny),
    flag(&["--train.micro-batch-size"], Effect::Set("batchSize")),
    flag(&["--train.global-batch-size"], Effect::KeepAny),
    flag(&["--train.max-seq-length"], Effect::KeepAny),
    flag(&["--lora-r"], Effect::KeepAny),
    flag(&["--lora-dropout"], Effect::Keep),
    flag(&["--lora-query"], Effect::KeepBool),
    flag(&["--lora-key"], Effect::KeepBool),
    flag(&["--lora-value"], Effect::KeepBool),
    flag(&["--lora-projection"], Effect::KeepBool),
    flag(&["--lora-mlp"], Effect::KeepBool),
    flag(&["--lora-head"], Effect::KeepBool),
    flag(&["--optimizer", "--optimizer.class-path"], Effect::Keep),
];

/// The program.
pub(in crate::spec::args) const LITGPT: Program = Program {
    name: "litgpt",
    trains: true,
    starts: &[
        &["litgpt", "finetune_lora"],
        &["litgpt", "finetune_full"],
        &["litgpt", "finetune_adapter"],
        &["litgpt", "finetune_adapter_v2"],
        &["litgpt", "finetune"],
        &["litgpt", "pretrain"],
    ],
    positional: Some("model"),
    flags: FLAGS,
    wraps: None,
    switches: &[],
    env: &[],
    images: &[],
    finish,
};

/// Flags of adapted modules, whether they are on by default, and the modules.
const TARGETS: &[(&str, bool, &str)] = &[
    ("--lora-query", true, "q_proj"),
    ("--lora-key", false, "k_proj"),
    ("--lora-value", true, "v_proj"),
    ("--lora-projection", false, "o_proj"),
    ("--lora-mlp", false, "gate_proj,up_proj,down_proj"),
];

fn finish(reader: &mut Reader<'_>) {
    let command = reader.start.last().copied().unwrap_or_default();
    let pretrains = command == "pretrain";
    reader.put_kept("--train.max-seq-length", "contextLength");
    reader.usually("batchSize", if pretrains { 4 } else { 1 });
    if !reader.kept.contains_key("--nproc-per-node") {
        reader.usually("parallelism.data", 1);
    }
    data_parallel(reader, true);
    let several = reader.draft.out.parallelism.data > 1;
    reader.put(
        "training.sharding",
        match (several, pretrains) {
            (false, _) => "none",
            (true, true) => "hsdp",
            (true, false) => "fsdp",
        },
    );
    let precision = match reader.text("--precision") {
        Some("bf16-true") => "bf16",
        None | Some("bf16-mixed") => "mixed-bf16",
        Some("16-mixed") => "mixed-fp16",
        Some("32-true" | "32") => "fp32",
        Some(_) => return reader.unknown("training.precision", "the precision is not known here"),
    };
    reader.put("training.precision", precision);
    // Layers are recomputed only where FSDP wraps them, and not in pretraining.
    reader.usually("training.checkpointing", if several && !pretrains { "full" } else { "none" });
    reader.usually("training.loss", "chunked");
    if reader.text("--optimizer").is_some_and(|name| name.ends_with("SGD")) {
        reader.put("training.optimizer", "sgd");
    }
    if matches!(command, "finetune" | "finetune_lora") {
        adapters(reader);
    } else if command.starts_with("finetune_adapter") {
        reader.unread("adapters of this kind are counted as LoRA of the default rank");
        reader.draft.lora();
    }
    let passes = reader.draft.out.batch_size.and_then(|batch| batch.checked_mul(reader.draft.out.parallelism.data));
    if let Some((global, pass)) = reader.number("--train.global-batch-size").zip(passes) {
        reader.put("training.gradientAccumulation", (global / pass.max(1)).max(1));
    }
}

fn adapters(reader: &mut Reader<'_>) {
    reader.put_kept("--lora-r", "training.lora.rank");
    reader.draft.lora();
    reader.usually("training.lora.rank", 8);
    let on = |name: &str, usual: bool| if reader.kept.contains_key(name) { reader.on(name) } else { usual };
    let targets: Vec<&str> = TARGETS.iter().filter(|(name, usual, _)| on(name, *usual)).map(|row| row.2).collect();
    reader.put("training.lora.targets", targets.join(","));
    reader.usually("training.lora.fp32Adapters", reader.text("--precision") != Some("bf16-true"));
    if reader.text("--lora-dropout").is_none_or(|text| text.parse() != Ok(0.0_f64)) {
        reader.put("training.lora.dropout", true);
    }
    match reader.text("--quantize").map(str::to_owned) {
        Some(kind) if kind.starts_with("bnb.nf4") || kind.starts_with("bnb.fp4") => {
            reader.put("training.lora.quantizedBase", true);
            reader.put("training.lora.doubleQuantization", kind.ends_with("-dq"));
        }
        Some(kind) if kind.starts_with("bnb.int8") => {
            reader.put("training.lora.quantizedBase", true);
            reader.put("quantization", "int8");
        }
        _ => {}
    }
}
