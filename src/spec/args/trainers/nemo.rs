//! NeMo and Megatron-Bridge: recipes in Python with overrides such as `model.tensor_model_parallel_size=2`.

use super::launch::data_parallel;
use crate::spec::args::table::{Effect, Flag, ImageRule, Program, Reader, flag};

const OWN: &[Flag] = &[
    flag(
        &["train.micro-batch-size", "model.micro-batch-size", "data.micro-batch-size", "--micro-batch-size", "-mb"],
        Effect::KeepAny,
    ),
    flag(
        &["train.global-batch-size", "model.global-batch-size", "data.global-batch-size", "--global-batch-size", "-gb"],
        Effect::KeepAny,
    ),
    flag(
        &[
            "model.seq-length",
            "dataset.sequence-length",
            "dataset.seq-length",
            "data.seq-length",
            "model.data.max-seq-length",
            "model.encoder-seq-length",
            "--seq-length",
        ],
        Effect::KeepAny,
    ),
    flag(
        &[
            "model.tensor-model-parallel-size",
            "trainer.strategy.tensor-model-parallel-size",
            "strategy.tensor-model-parallel-size",
            "--tensor-parallel-size",
            "-tp",
        ],
        Effect::Set("parallelism.tensor"),
    ),
    flag(
        &[
            "model.pipeline-model-parallel-size",
            "trainer.strategy.pipeline-model-parallel-size",
            "--pipeline-parallel-size",
            "-pp",
        ],
        Effect::Set("parallelism.pipeline"),
    ),
    flag(
        &["model.context-parallel-size", "trainer.strategy.context-parallel-size", "--context-parallel-size", "-cp"],
        Effect::Set("parallelism.context"),
    ),
    flag(
        &[
            "model.expert-model-parallel-size",
            "trainer.strategy.expert-model-parallel-size",
            "--expert-parallel-size",
            "-ep",
        ],
        Effect::Set("parallelism.expert"),
    ),
    flag(
        &["model.expert-tensor-parallel-size", "trainer.strategy.expert-tensor-parallel-size", "-et"],
        Effect::Set("training.expertTensor"),
    ),
    flag(
        &["model.virtual-pipeline-model-parallel-size", "trainer.strategy.virtual-pipeline-model-parallel-size", "-vp"],
        Effect::Map("training.virtualStages", unless_null),
    ),
    flag(
        &["model.sequence-parallel", "trainer.strategy.sequence-parallel"],
        Effect::Map("training.sequenceParallel", unless_null),
    ),
    flag(
        &[
            "model.recompute-granularity",
            "model.activations-checkpoint-granularity",
            "model.config.recompute-granularity",
        ],
        Effect::Keep,
    ),
    flag(&["model.recompute-modules"], Effect::Set("training.recomputeModules")),
    flag(&["optimizer.optimizer-cpu-offload"], Effect::Set("training.cpuOffload")),
    flag(
        &[
            "optimizer.use-distributed-optimizer",
            "ddp.use-distributed-optimizer",
            "optim.config.use-distributed-optimizer",
        ],
        Effect::Keep,
    ),
    flag(&["mixed-precision", "trainer.precision", "trainer.plugins.precision"], Effect::Keep),
    flag(&["peft.dim", "model.peft.lora-tuning.adapter-dim"], Effect::Set("training.lora.rank")),
    flag(&["peft.target-modules"], Effect::Set("training.lora.targets")),
    flag(&["peft", "model.peft.peft-scheme", "--peft"], Effect::Keep),
    flag(&["--nproc-per-node", "trainer.devices"], Effect::KeepAny),
    flag(&["--nnodes", "trainer.num-nodes"], Effect::KeepAny),
    flag(&["--recipe", "--factory"], Effect::Keep),
    flag(&["--hf-path", "--pretrained-model-name-or-path", "--hf-model", "model.model-name"], Effect::Set("model")),
    flag(&["model.restore-from-path", "restore-config.path", "checkpoint.pretrained-checkpoint"], Effect::Skip),
];

/// The program. NeMo's examples keep settings in a config of the image.
pub(in crate::spec::args) const NEMO: Program = Program {
    name: "nemo",
    trains: true,
    starts: &[&["nemo", "llm"], &["run_recipe.py"], &["megatron_gpt_*.py"], &["finetune_*_nemo.py"]],
    positional: None,
    flags: OWN,
    wraps: None,
    switches: &[],
    env: &[],
    images: &[ImageRule { repository: "nvidia/nemo", entrypoint: false, versioned: false }],
    finish,
};

#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
fn unless_null(text: &str) -> Result<serde_json::Value, String> {
    let none = matches!(text.to_ascii_lowercase().as_str(), "null" | "none" | "");
    Ok(if none { serde_json::Value::Null } else { text.into() })
}

fn finish(reader: &mut Reader<'_>) {
    reader.put_kept("train.micro-batch-size", "batchSize");
    reader.put_kept("model.seq-length", "contextLength");
    data_parallel(reader, false);
    match reader.text("mixed-precision").map(str::to_ascii_lowercase) {
        Some(name) if name.contains("fp8") => reader.put("training.precision", "fp8"),
        Some(name) if name.contains("bf16") => reader.put("training.precision", "mixed-bf16"),
        Some(name) if name.contains("16") => reader.put("training.precision", "mixed-fp16"),
        Some(name) if name.contains("32") => reader.put("training.precision", "fp32"),
        _ => reader.usually("training.precision", "mixed-bf16"),
    }
    if let Some(kind) = reader.text("model.recompute-granularity").map(str::to_ascii_lowercase) {
        let none = matches!(kind.as_str(), "null" | "none");
        reader.at("model.recompute-granularity", |reader| {
            reader.put("training.checkpointing", if none { "none" } else { kind.as_str() });
        });
    }
    let adapted = reader
        .text("peft")
        .is_some_and(|kind| matches!(kind.to_ascii_lowercase().as_str(), "lora" | "dora" | "canonical_lora"));
    if adapted || !reader.draft.is_free("training.lora.rank") {
        reader.draft.lora();
        reader.usually("training.lora.rank", 32);
        reader.usually("training.lora.targets", "linear_qkv,linear_proj,linear_fc1,linear_fc2");
    }
    let divided = reader.text("optimizer.use-distributed-optimizer").is_none()
        || reader.on("optimizer.use-distributed-optimizer");
    reader.usually("training.sharding", if divided { "megatron" } else { "ddp" });
    let passes = reader.draft.out.batch_size.and_then(|batch| batch.checked_mul(reader.draft.out.parallelism.data));
    if let Some((global, pass)) = reader.number("train.global-batch-size").zip(passes) {
        reader.put("training.microBatches", (global / pass.max(1)).max(1));
    }
    reader.usually("training.fusedKernels", true);
    reader.usually("training.fixedLengths", true);
    let recipe =
        reader.text("--recipe").map_or_else(String::new, |name| format!(" `{}`", crate::spec::numbers::shown(name)));
    reader.draft.out.unread.push(format!(
        "what the recipe{recipe} sets by itself is not seen here: annotate the model and what is not overridden"
    ));
    reader.draft.out.unknown_fields.insert("arguments");
}
