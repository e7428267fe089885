//! `vramguard estimate`: one workload from flags.

use clap::Args;

use super::args::OutputArgs;
use super::engine;
use super::error::Failure;
use super::exit::Exit;
use super::explain::CapacityArgs;
use super::hub::HubArgs;
use super::output::{self, Format};
use super::render::{answers, breakdown};
use super::solve::{self, Asked};
use super::values::Named;
use super::workload_flags::WorkloadArgs;

const EXAMPLES: &str = "\
Examples:
  vramguard estimate --model meta-llama/Llama-2-7b-hf --batch-size 4 --context-length 4096 --gpu A10
  vramguard estimate --model Qwen/Qwen2.5-7B-Instruct --engine vllm --gpu L40S -o json
  vramguard estimate --model meta-llama/Llama-2-7b-hf --task training --sharding zero3 --data-parallel 4 \\
      --precision mixed-bf16 --checkpointing full --batch-size 4 --context-length 4096 --gpu A100-80GB
  vramguard estimate --method reference --task training --parameters 6.74e9 --layers 32 \\
      --hidden-size 4096 --heads 32 --head-dim 128 --batch-size 4 --context-length 4096
  vramguard estimate --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --gpu A10 --solve context
  vramguard estimate --model meta-llama/Llama-3.1-70B-Instruct --engine vllm --context-length 8192 --solve gpu
  vramguard estimate --model meta-llama/Llama-2-7b-hf --task training --batch-size 4 --context-length 4096 \\
      --gpu A100-80GB --solve all

Exit codes: 0 it fits (with --solve: everything has an answer), 1 it does not, 2 bad input";

/// One workload, described by flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EstimateArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub capacity: CapacityArgs,
    /// Also answer what would fit, proven by evaluating it: all, context, concurrency, micro-batch, sequence-length,
    /// tensor-parallel, pipeline-parallel, kv-cache-dtype, quantization, checkpointing, sharding, gpu, mig; several are possible
    #[arg(long, value_name = "WHAT", help_heading = "Capacity", hide_possible_values = true,
        value_parser = Named::new(solve::NAMES, solve::read), value_delimiter = ',')]
    pub solve: Vec<Asked>,
    #[command(flatten)]
    pub hub: HubArgs,
    /// Show each term's formula
    #[arg(long, help_heading = "Output")]
    pub explain: bool,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

pub(super) fn run(args: &EstimateArgs) -> Result<Exit, Failure> {
    let declaration = args.workload.declaration()?;
    let candidates = args.capacity.candidates(&declaration)?;
    let task = declaration.task.unwrap_or(crate::estimate::workload::Task::Inference);
    let questions = solve::questions(&args.solve, task, candidates.is_some())?;
    let hub = args.hub.source()?;
    let mut report = engine::estimate(&declaration, candidates.as_ref(), hub.as_deref());
    if report.estimate.is_none() {
        return Err(engine::refused(&report));
    }
    report.solutions = engine::solve(&declaration, &questions, candidates.as_ref(), hub.as_deref());
    match args.output.format {
        Format::Table => {
            let mut text = breakdown::estimate(&report, args.explain);
            text.push_str(&answers::solutions(&report.solutions));
            output::text(&text)?;
        }
        format => output::document(&report, format)?,
    }
    Ok(if !questions.is_empty() {
        if solve::unanswered(&report.solutions) { Exit::Denied } else { Exit::Success }
    } else if candidates.is_some() {
        Exit::of([report.decision], false)
    } else {
        // Without a GPU there is nothing to be denied.
        Exit::Success
    })
}
