//! The subcommands and the arguments that several of them share.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use super::output::Format;
#[cfg(feature = "webhook")]
use super::serve;
use super::{catalogues, check, completions, estimate, explain, models, plot};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  vramguard estimate --model meta-llama/Llama-2-7b-hf --gpu L40S
  vramguard check -f manifests/ --nodes nodes.yaml
  kubectl get deployments -A -o yaml | vramguard check -f - --cluster
  vramguard plot kv --model meta-llama/Llama-2-7b-hf --batch-size 4 -o kv.svg

Exit codes: 0 everything fits, 1 something is denied, 2 bad input, 3 only warnings (with --strict)";

/// Knows whether a model fits the GPU, before a pod finds out
#[derive(Debug, Parser)]
#[command(name = "vramguard", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// How much GPU memory one workload needs, term by term
    Estimate(Box<estimate::EstimateArgs>),
    /// Where an estimate comes from: each term's formula, taken apart by tensors, layers and phases
    Explain(Box<explain::ExplainArgs>),
    /// Whether the workloads in manifests fit the GPUs of a cluster
    Check(check::CheckArgs),
    /// Draw a chart
    Plot {
        /// Which chart
        #[command(subcommand)]
        chart: plot::Chart,
    },
    /// Explain a model, or list those of the embedded catalogue
    Models(Box<models::ModelsArgs>),
    /// List the GPUs of the embedded catalogue
    Gpus(catalogues::ListArgs),
    /// Print the JSON Schema of `check -o json`
    Schema,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Run the admission webhook
    #[cfg(feature = "webhook")]
    Serve(serve::ServeArgs),
}

impl Command {
    /// The format in which errors are expected too.
    pub(super) fn format(&self) -> Format {
        match self {
            Self::Estimate(args) => args.output.format,
            Self::Explain(args) => args.output.format,
            Self::Check(args) => args.output.of_errors(),
            Self::Models(args) => args.output.format,
            Self::Gpus(args) => args.output.format,
            Self::Plot { .. } | Self::Schema | Self::Completions(_) => Format::Table,
            #[cfg(feature = "webhook")]
            Self::Serve(_) => Format::Table,
        }
    }
}

/// How results are printed.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Table for people; JSON or YAML for programs
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}
