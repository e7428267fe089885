//! `vramguard plot`: charts of what the engine estimates.

mod stack;
mod sweep;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::engine;
use super::error::{Failure, code};
use super::exit::Exit;
use super::output;
use super::render::chart::{Chart as Picture, Drawing, Mark, Series};
use super::values::{self, DTypeOrAuto};
use crate::decide::Report;
use crate::estimate::workload::{Engine, Task};
use crate::estimate::{Bytes, TermName};
use crate::spec::declaration::{Declaration, ModelReference};

/// More points than this are no chart.
const POINT_LIMIT: usize = 64;

/// The charts.
#[derive(Debug, Subcommand)]
pub(super) enum Chart {
    /// KV cache against context length
    Kv(Box<KvArgs>),
    /// What the memory is for, term by term, against one or several GPUs
    Breakdown(Box<stack::BreakdownArgs>),
    /// Memory over the phases of a training step
    Phases(Box<stack::PhasesArgs>),
    /// What is needed as the context grows, against what GPUs offer
    Context(Box<sweep::ContextArgs>),
    /// What is needed as the batch grows, against what GPUs offer
    Batch(Box<sweep::BatchArgs>),
}

const EXAMPLES: &str = "\
Examples:
  vramguard plot kv --model meta-llama/Llama-2-7b-hf --batch-size 4 -o kv.svg
  vramguard plot kv --model meta-llama/Llama-2-7b-hf --model meta-llama/Meta-Llama-3-8B \\
      --kv-cache-dtype fp16 --kv-cache-dtype fp8 --gpu A10 --gpu L40S -o kv.png";

/// KV cache against context.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct KvArgs {
    /// Hugging Face id or alias; several draw several lines
    #[arg(long, value_name = "MODEL", required = true)]
    pub model: Vec<String>,
    /// Number format of the cache; several draw several lines
    #[arg(long, value_name = "FORMAT", value_parser = values::dtype(), hide_possible_values = true)]
    pub kv_cache_dtype: Vec<DTypeOrAuto>,
    /// Concurrent sequences
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::positive, allow_negative_numbers = true)]
    pub batch_size: u64,
    /// Ranks that divide every matrix
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::positive, allow_negative_numbers = true)]
    pub tensor_parallel: u64,
    /// Shortest context, doubled until --to
    #[arg(long, value_name = "TOKENS", default_value = "512", value_parser = values::positive, allow_negative_numbers = true)]
    pub from: u64,
    /// Longest context
    #[arg(long, value_name = "TOKENS", default_value = "16384", value_parser = values::positive, allow_negative_numbers = true)]
    pub to: u64,
    /// GPU whose capacity is drawn as a line, see `vramguard gpus`; several are possible
    #[arg(long, value_name = "GPU")]
    pub gpu: Vec<String>,
    /// File to write: .svg or .png; `-` writes SVG to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: PathBuf,
}

pub(super) fn run(chart: &Chart) -> Result<Exit, Failure> {
    match chart {
        Chart::Kv(args) => write(&args.picture()?, &args.output)?,
        Chart::Breakdown(args) => write(&args.picture()?, &args.output)?,
        Chart::Phases(args) => write(&args.picture()?, &args.output)?,
        Chart::Context(args) => write(&args.sweep.picture(sweep::Axis::Context)?, &args.sweep.output)?,
        Chart::Batch(args) => write(&args.sweep.picture(sweep::Axis::Batch)?, &args.sweep.output)?,
    }
    Ok(Exit::Success)
}

fn write(picture: &impl Drawing, path: &Path) -> Result<(), Failure> {
    let drawn = |error: super::render::chart::ChartError| Failure::new(code::IO, error.to_string());
    if path.as_os_str() == "-" {
        return Ok(output::bytes(picture.svg().map_err(drawn)?.as_bytes())?);
    }
    match path.extension().and_then(|ext| ext.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => {
            std::fs::write(path, picture.svg().map_err(drawn)?).map_err(|error| Failure::io("write", path, &error))?;
        }
        Some("png") => {
            // The image library's errors do not name the file.
            std::fs::File::create(path).map_err(|error| Failure::io("write", path, &error))?;
            picture.png(path).map_err(drawn)?;
        }
        _ => {
            let message = format!("cannot tell the image format of {}", path.display());
            return Err(Failure::new(code::USAGE, message).hint("end the file name in .svg or .png"));
        }
    }
    output::complain(&format!("wrote {}\n", path.display()));
    Ok(())
}

impl KvArgs {
    fn picture(&self) -> Result<Picture, Failure> {
        let formats = if self.kv_cache_dtype.is_empty() { &[DTypeOrAuto(None)] } else { &self.kv_cache_dtype[..] };
        let contexts = self.contexts()?;
        let mut series = Vec::new();
        for (color, model) in self.model.iter().enumerate() {
            for (dash, &format) in formats.iter().enumerate() {
                series.push(self.series(model, format, &contexts, (color, dash))?);
            }
        }
        let mut marks = Vec::new();
        for name in &self.gpu {
            let device = engine::device(name)?;
            marks.push(Mark { name: engine::short_product(&device.product).to_owned(), bytes: device.visible });
        }
        let split = if self.tensor_parallel > 1 {
            format!(", tensor parallel {}", self.tensor_parallel)
        } else {
            String::new()
        };
        let plural = if self.batch_size == 1 { "" } else { "s" };
        Ok(Picture {
            title: "KV cache against context length".to_owned(),
            subtitle: format!("{} concurrent sequence{plural} of full length{split}", self.batch_size),
            x_axis: "Context length, tokens".to_owned(),
            y_axis: "KV cache per GPU, GiB".to_owned(),
            x_unit: 2048.0,
            series,
            bands: Vec::new(),
            marks,
            spots: Vec::new(),
        })
    }

    fn contexts(&self) -> Result<Vec<u64>, Failure> {
        if self.from > self.to {
            return Err(Failure::new(code::USAGE, format!("--from {} is above --to {}", self.from, self.to)));
        }
        let doubled = std::iter::successors(Some(self.from), |tokens| tokens.checked_mul(2));
        Ok(doubled.take_while(|&tokens| tokens <= self.to).take(POINT_LIMIT).collect())
    }

    fn series(
        &self,
        model: &str,
        format: DTypeOrAuto,
        contexts: &[u64],
        (color, dash): (usize, usize),
    ) -> Result<Series, Failure> {
        let mut points = Vec::with_capacity(contexts.len());
        let mut used = None;
        for &tokens in contexts {
            let report = engine::estimate(&self.declaration(model, format, tokens), None, None);
            points.push((tokens, cache(&report)?));
            used = report.workload.and_then(|workload| workload.kv_cache_dtype);
        }
        let format = format.0.map(|dtype| dtype.name().to_owned()).or(used).unwrap_or_else(|| "model's own".to_owned());
        let short = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model);
        Ok(Series { name: format!("{short}, {format}"), color, dash, points })
    }

    fn declaration(&self, model: &str, format: DTypeOrAuto, tokens: u64) -> Declaration {
        let mut declaration = Declaration {
            task: Some(Task::Inference),
            model: Some(ModelReference::Name(model.to_owned())),
            kv_cache_dtype: format.0,
            context_length: Some(tokens),
            batch_size: Some(self.batch_size),
            engine: Engine::default(),
            ..Declaration::default()
        };
        declaration.parallelism.tensor = self.tensor_parallel;
        declaration
    }
}

/// The cache of the declared batch: the terms that hold it.
fn cache(report: &Report) -> Result<Bytes, Failure> {
    let Some(estimate) = &report.estimate else { return Err(engine::refused(report)) };
    let cached = |name: TermName| matches!(name, TermName::KvCache | TermName::State);
    Ok(estimate.terms.iter().filter(|term| cached(term.name)).map(|term| term.bytes.likely).sum())
}
