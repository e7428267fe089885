//! transformers' Trainer and PEFT: flags that every trainer built on them takes, and what follows from them.

use serde_json::{Value, json};

use super::launch::{COUNTS, data_parallel, replicated};
use super::{accelerate, deepspeed};
use crate::estimate::workload::Sharding;
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};
use crate::spec::declaration::Origin;
use crate::spec::numbers::shown;

/// Flags of `TrainingArguments`, model loading and PEFT, as scripts and trainers spell them.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        &["--model-name-or-path", "--model-name", "--base-model", "--pretrained-model-name-or-path"],
        Effect::Set("model"),
    ),
    flag(&["--per-device-train-batch-size", "--per-gpu-train-batch-size"], Effect::KeepAny),
    flag(&["--gradient-accumulation-steps"], Effect::KeepAny),
    flag(&["--gradient-checkpointing", "--activation-checkpointing"], Effect::KeepBool),
    flag(&["--bf16"], Effect::KeepBool),
    flag(&["--fp16"], Effect::KeepBool),
    flag(&["--dtype", "--torch-dtype", "--model-dtype"], Effect::Keep),
    flag(&["--optim"], Effect::Map("training.optimizer", optimizer)),
    flag(&["--use-liger-kernel", "--enable-liger-kernel", "--use-liger"], Effect::KeepBool),
    flag(&["--torch-compile"], Effect::KeepBool),
    flag(&["--auto-find-batch-size"], Effect::KeepBool),
    flag(&["--deepspeed", "--deepspeed-config"], Effect::KeepAny),
    flag(&["--fsdp"], Effect::KeepMany),
    flag(&["--fsdp-config"], Effect::Keep),
    flag(&["--attn-implementation", "--attn-impl"], Effect::Keep),
    flag(&["--packing"], Effect::KeepBool),
    flag(&["--activation-offloading"], Effect::KeepBool),
    flag(&["--use-peft"], Effect::KeepBool),
    flag(&["--lora-r", "--lora-rank"], Effect::KeepAny),
    flag(&["--lora-target-modules", "--lora-target", "--target-modules"], Effect::KeepMany),
    flag(&["--lora-modules-to-save", "--modules-to-save", "--additional-target"], Effect::KeepMany),
    flag(&["--lora-dropout"], Effect::Keep),
    flag(&["--load-in-4bit"], Effect::KeepBool),
    flag(&["--load-in-8bit"], Effect::KeepBool),
    flag(&["--use-bnb-nested-quant", "--double-quantization", "--bnb-4bit-use-double-quant"], Effect::KeepBool),
    flag(&["--parallelism-config"], Effect::Unread("parallelism in it is not read")),
];

/// What bounds a sample, where one flag does.
pub(super) const LENGTH: &[Flag] = &[flag(
    &["--max-length", "--max-seq-length", "--max-seq-len", "--model-max-length", "--block-size"],
    Effect::KeepAny,
)];

/// A training script of transformers' Trainer, also one that is not known.
pub(in crate::spec::args) const TRANSFORMERS: Program = Program {
    name: "transformers",
    trains: true,
    starts: &[&["run_clm.py"], &["run_clm_no_trainer.py"], &["run_mlm.py"], &["finetune_trainer.py"]],
    positional: None,
    flags: tables!(FLAGS, LENGTH, COUNTS),
    wraps: None,
    switches: &["--do-train", "--do-eval", "--trust-remote-code", "--overwrite-output-dir"],
    env: &[],
    images: &[],
    finish,
};

/// In what a trainer loads the weights that it trains, where no flag says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// fp32: mixed precision keeps fp32 weights.
    Fp32,
    /// The checkpoint's own 16 bits.
    Half,
    /// The script decides.
    Unknown,
}

/// What a trainer does where no flag says anything.
pub(super) struct Habits {
    /// Activations are recomputed; `None` where the script decides.
    pub(super) checkpointing: Option<bool>,
    /// bf16 without a flag.
    pub(super) bf16: bool,
    pub(super) load: Load,
    /// Sequences of a micro-batch for each sample: two where answers are compared.
    pub(super) sequences: u64,
    /// It starts a process for each GPU.
    pub(super) launches: bool,
    /// Every process has a copy of the model unless something divides it.
    pub(super) copies: bool,
    /// Rank and targets of adapters.
    pub(super) rank: Option<u64>,
    pub(super) targets: Option<&'static str>,
}

impl Habits {
    pub(super) const SCRIPT: Self = Self {
        checkpointing: None,
        bf16: false,
        load: Load::Unknown,
        sequences: 1,
        launches: false,
        copies: false,
        rank: None,
        targets: None,
    };
}

/// Names of settings of which one shows that transformers' Trainer is behind a script.
const TELLING: &[&str] = &[
    "--per-device-train-batch-size",
    "--gradient-accumulation-steps",
    "--gradient-checkpointing",
    "--deepspeed",
    "--fsdp",
    "--use-peft",
    "--lora-r",
    "--load-in-4bit",
];

fn finish(reader: &mut Reader<'_>) {
    let optimizer =
        reader.draft.out.origins.get("training.optimizer").is_some_and(|origin| *origin != Origin::Annotation);
    let told = optimizer || TELLING.iter().any(|name| reader.kept.contains_key(name));
    if told || !reader.start.is_empty() {
        return common(reader, &Habits::SCRIPT);
    }
    // What it is was annotated; how many of it run is still the launcher's to say.
    let annotated = |path: &str| reader.draft.out.origins.get(path) == Some(&Origin::Annotation);
    if ["task", "batchSize", "training.optimizer", "training.sharding"].into_iter().any(annotated) {
        return data_parallel(reader, false);
    }
    // A launcher alone does not say that its script trains.
    reader.draft.out.training.trainer = None;
    reader.draft.out.origins.remove("training.trainer");
    let hint = "a script is launched whose arguments are not known here: describe the workload in annotations";
    reader.draft.out.unread.push(hint.to_owned());
    reader.draft.out.unknown_fields.insert("arguments");
}

/// What follows for every trainer of the family.
pub(super) fn common(reader: &mut Reader<'_>, habits: &Habits) {
    accelerate::file(reader);
    accelerate::fsdp_config(reader, "--fsdp-config");
    size(reader, habits);
    data_parallel(reader, habits.launches);
    sharding(reader, habits.copies);
    checkpointing(reader, habits.checkpointing);
    adapters(reader, habits);
    precision(reader, habits);
    kernels(reader);
    if habits.checkpointing.is_some() {
        reader.usually("training.optimizer", "adamw");
    }
}

fn size(reader: &mut Reader<'_>, habits: &Habits) {
    let batch = "--per-device-train-batch-size";
    match reader.number(batch) {
        Some(samples) if habits.sequences > 1 => {
            let sequences = habits.sequences;
            reader.at(batch, |reader| reader.put("batchSize", samples.saturating_mul(sequences)));
        }
        _ => reader.put_kept(batch, "batchSize"),
    }
    if reader.on("--auto-find-batch-size") {
        reader.draft.out.notes.push("--auto-find-batch-size lowers a batch that does not fit".to_owned());
    }
    reader.put_kept("--gradient-accumulation-steps", "training.gradientAccumulation");
    reader.put_kept("--max-length", "contextLength");
    if reader.on("--packing") {
        reader.put("training.fixedLengths", true);
    }
}

/// Who divides the states: DeepSpeed, FSDP or nobody.
pub(super) fn sharding(reader: &mut Reader<'_>, copies: bool) {
    for name in ["--deepspeed", "--deepspeed-config-file"] {
        deepspeed::config(reader, name);
    }
    deepspeed::by_accelerate(reader);
    accelerate::fsdp(reader);
    accelerate::copies(reader);
    // accelerate may find a configuration in the image, PyTorch's launcher has none; and what is not transformers' Trainer
    // may divide in its own way.
    let torch = reader.launcher.is_some_and(|name| name.starts_with("torch"))
        && reader.kept.contains_key("--per-device-train-batch-size");
    let alone =
        reader.draft.out.gpus.as_ref().is_some_and(|gpus| gpus.count == 1) && reader.draft.out.parallelism.data == 1;
    if copies || torch || alone {
        replicated(reader);
    }
}

pub(super) fn checkpointing(reader: &mut Reader<'_>, habit: Option<bool>) {
    let told = reader.text("--gradient-checkpointing").map(str::to_ascii_lowercase);
    // axolotl and Unsloth also move what is kept to the host.
    let moved = told.as_deref().is_some_and(|text| matches!(text, "offload" | "offload_disk" | "unsloth"));
    if moved || reader.on("--activation-offloading") {
        reader.put("training.activationOffload", true);
    }
    let on = if told.is_some() { Some(moved || reader.on("--gradient-checkpointing")) } else { habit };
    if let Some(on) = on {
        let value = if on { "full" } else { "none" };
        if told.is_some() {
            reader.put("training.checkpointing", value);
        } else {
            reader.usually("training.checkpointing", value);
        }
    }
}

/// Weights loaded in bf16 train in bf16 as a whole; otherwise autocast keeps fp32 weights.
pub(super) fn precision(reader: &mut Reader<'_>, habits: &Habits) {
    let mixed = reader.text("--mixed-precision").unwrap_or_default().to_owned();
    let fp16 = reader.on("--fp16") || mixed == "fp16" || reader.on("ds.fp16");
    let auto = reader.text("--bf16").is_some_and(|text| text.eq_ignore_ascii_case("auto"));
    let said = reader.kept.contains_key("--bf16");
    let bf16 =
        reader.on("--bf16") || auto || mixed == "bf16" || reader.on("ds.bf16") || (habits.bf16 && !said && !fp16);
    let loaded = reader.text("--dtype").unwrap_or_default().to_ascii_lowercase();
    let load = match loaded.as_str() {
        "bfloat16" | "bf16" | "torch.bfloat16" => Load::Half,
        "float32" | "fp32" | "torch.float32" => Load::Fp32,
        _ => habits.load,
    };
    // DeepSpeed keeps an fp32 master whatever was loaded.
    let master =
        matches!(reader.draft.out.training.sharding, Some(Sharding::Zero1 | Sharding::Zero2 | Sharding::Zero3));
    let precision = match load {
        _ if fp16 => "mixed-fp16",
        Load::Unknown if master && bf16 => "mixed-bf16",
        Load::Half if !loaded.starts_with("float16") => "bf16",
        Load::Fp32 if bf16 => "mixed-bf16",
        Load::Fp32 => "fp32",
        Load::Half | Load::Unknown => return,
    };
    reader.put("training.precision", precision);
}

/// Low-rank adapters, where the trainer was asked for them.
pub(super) fn adapters(reader: &mut Reader<'_>, habits: &Habits) {
    let asked = reader.on("--use-peft") || reader.kept.contains_key("--lora-r") && reader.text("--use-peft").is_none();
    if asked {
        lora(reader, habits);
    }
}

/// The adapters' own settings.
pub(super) fn lora(reader: &mut Reader<'_>, habits: &Habits) {
    reader.put_kept("--lora-r", "training.lora.rank");
    for (name, path) in
        [("--lora-target-modules", "training.lora.targets"), ("--lora-modules-to-save", "training.lora.modulesToSave")]
    {
        if let Some(value) = reader.text(name).map(words) {
            reader.at(name, |reader| reader.put(path, value));
        }
    }
    reader.draft.lora();
    if let Some(rank) = habits.rank {
        reader.usually("training.lora.rank", rank);
    }
    if let Some(targets) = habits.targets {
        reader.usually("training.lora.targets", targets);
    }
    if reader.text("--lora-dropout").and_then(|text| text.parse::<f64>().ok()).is_some_and(|share| share > 0.0) {
        reader.put("training.lora.dropout", true);
    }
    if reader.on("--load-in-4bit") {
        reader.put("training.lora.quantizedBase", true);
        reader.put("training.lora.doubleQuantization", reader.on("--use-bnb-nested-quant"));
    } else if reader.on("--load-in-8bit") {
        reader.put("training.lora.quantizedBase", true);
        reader.put("quantization", "int8");
    }
}

/// `a b`, `a,b` and `["a", "b"]`.
fn words(text: &str) -> String {
    let names = text.split([' ', ',']).map(|name| name.trim_matches(['[', ']', '"', '\'', ' ']));
    names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(",")
}

fn kernels(reader: &mut Reader<'_>) {
    if reader.on("--use-liger-kernel") {
        reader.put("training.loss", "fused");
        reader.put("training.fusedKernels", true);
    }
    if reader.on("--torch-compile") {
        reader.put("training.fusedKernels", true);
    }
    if reader.text("--attn-implementation").is_some_and(|name| name == "eager") {
        reader.put("training.eagerAttention", true);
    }
}

/// transformers' names of optimizers, ours, and the other fields that they set.
const OPTIMIZERS: &[(&str, &str, Option<&str>)] = &[
    ("adamw_apex_fused", "adamw", None),
    ("adamw_anyprecision", "adamw", None),
    ("adamw_hf", "adamw", None),
    ("adamw_torch_npu_fused", "adamw", None),
    ("adamw_torch_8bit", "adamw-8bit", None),
    ("adamw_torchao_8bit", "adamw-8bit", None),
    ("schedule_free_adamw", "adamw", None),
    ("schedule_free_radam", "adamw", None),
    ("stable_adamw", "adamw", None),
    ("paged_adamw", "paged-adamw", None),
    ("paged_lion_8bit", "lion-8bit", None),
    ("paged_lion_32bit", "lion", None),
    ("adagrad", "sgd-momentum", None),
    ("rmsprop", "sgd-momentum", None),
    ("lomo", "sgd", Some("training.optimizerInBackward")),
    ("adalomo", "adafactor", Some("training.optimizerInBackward")),
];

/// Optimizers by transformers' names; those without a row keep states that are not modelled.
pub(super) fn optimizer(text: &str) -> Result<Value, String> {
    let name = text.trim().to_ascii_lowercase();
    if let Some((_, ours, other)) = OPTIMIZERS.iter().find(|(theirs, ..)| *theirs == name) {
        return Ok(match other {
            Some(other) => json!({"training.optimizer": ours, *other: true}),
            None => Value::from(*ours),
        });
    }
    match crate::estimate::workload::Optimizer::from_name(&name) {
        Some(optimizer) => Ok(Value::from(optimizer.name())),
        None => Err(format!("`{}` is an optimizer that is not known here", shown(text))),
    }
}
