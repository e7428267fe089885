//! `vramguard estimate`: one workload from flags.

use clap::Args;

use super::args::OutputArgs;
use super::engine;
use super::error::Failure;
use super::exit::Exit;
use super::hub::HubArgs;
use super::output::{self, Format};
use super::render::breakdown;
use super::workload_flags::WorkloadArgs;

const EXAMPLES: &str = "\
Examples:
  vramguard estimate --model meta-llama/Llama-2-7b-hf --batch-size 4 --context-length 4096 --gpu A10
  vramguard estimate --model Qwen/Qwen2.5-7B-Instruct --engine vllm --gpu L40S -o json
  vramguard estimate --model meta-llama/Llama-2-7b-hf --task training --sharding zero3 --data-parallel 4 \\
      --precision mixed-bf16 --checkpointing full --batch-size 4 --context-length 4096 --gpu A100-80GB
  vramguard estimate --method reference --task training --parameters 6.74e9 --layers 32 \\
      --hidden-size 4096 --heads 32 --head-dim 128 --batch-size 4 --context-length 4096";

/// One workload, described by flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EstimateArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// GPU to hold the estimate against, see `vramguard gpus`
    #[arg(long, value_name = "GPU", help_heading = "Capacity")]
    pub gpu: Option<String>,
    #[command(flatten)]
    pub hub: HubArgs,
    /// Show each term's formula
    #[arg(long, help_heading = "Output")]
    pub explain: bool,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

pub(super) fn run(args: &EstimateArgs) -> Result<Exit, Failure> {
    let hub = args.hub.source()?;
    let report = engine::estimate(&args.workload.declaration()?, args.gpu.as_deref(), hub.as_deref())?;
    if report.estimate.is_none() {
        return Err(engine::refused(&report));
    }
    match args.output.format {
        Format::Table => output::text(&breakdown::estimate(&report, args.explain))?,
        format => output::document(&report, format)?,
    }
    // Without a GPU there is nothing to be denied.
    Ok(if args.gpu.is_some() { Exit::of([report.decision], false) } else { Exit::Success })
}
