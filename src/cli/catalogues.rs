//! `vramguard models` and `vramguard gpus`: what the embedded catalogues know.

use clap::Args;
use serde::Serialize;

use super::args::OutputArgs;
use super::error::Failure;
use super::exit::Exit;
use super::output::{self, Format};
use super::render::WIDTH;
use super::render::grid::{Column, Grid};
use super::render::style::{Span, Tone};
use crate::estimate::Bytes;
use crate::facts;

/// What to list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only names that contain this text, in either case
    pub filter: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl ListArgs {
    fn keeps(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.to_lowercase().contains(&filter.to_lowercase()))
    }

    fn print(&self, rows: &[impl Serialize], grid: &Grid) -> Result<Exit, Failure> {
        match self.output.format {
            Format::Table if rows.is_empty() => output::complain("nothing in the catalogue has this in its name\n"),
            Format::Table => output::text(&(grid.lines(WIDTH).join("\n") + "\n"))?,
            format => output::document(&rows, format)?,
        }
        Ok(Exit::Success)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelRow<'a> {
    name: &'a str,
    model_type: &'a str,
    parameters: u64,
    layers: u64,
    max_context: Option<u64>,
    dtype: &'static str,
}

fn plain(text: impl Into<String>) -> Vec<Span> {
    vec![Span::new(text, Tone::Plain)]
}

pub(super) fn models(args: &ListArgs) -> Result<Exit, Failure> {
    let catalog = facts::catalog::Catalog::embedded();
    let found: Vec<_> =
        catalog.names().filter(|name| args.keeps(name)).filter_map(|name| catalog.find(name).ok()).collect();
    let mut rows = Vec::new();
    let mut grid = Grid::new(vec![
        Column::flexible("MODEL", 20),
        Column::fixed("TYPE"),
        Column::number("PARAMETERS"),
        Column::number("LAYERS"),
        Column::number("CONTEXT"),
        Column::fixed("DTYPE"),
    ]);
    for model in &found {
        let row = ModelRow {
            name: &model.name,
            model_type: &model.model_type,
            parameters: model.parameters(),
            layers: model.layer_count(),
            max_context: model.max_position_embeddings,
            dtype: model.dtype.name(),
        };
        grid.row(vec![
            plain(row.name),
            plain(row.model_type),
            plain(format!("{:.2} B", row.parameters as f64 / 1e9)),
            plain(row.layers.to_string()),
            plain(row.max_context.map_or_else(|| "–".to_owned(), |tokens| tokens.to_string())),
            plain(row.dtype),
        ]);
        rows.push(row);
    }
    args.print(&rows, &grid)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GpuRow<'a> {
    product: &'a str,
    visible_bytes: Bytes,
    compute_capability: Option<String>,
}

pub(super) fn gpus(args: &ListArgs) -> Result<Exit, Failure> {
    let devices: Vec<_> = facts::gpus::all().filter(|device| args.keeps(&device.product)).collect();
    let mut rows = Vec::new();
    let mut grid =
        Grid::new(vec![Column::flexible("PRODUCT", 20), Column::number("VISIBLE GiB"), Column::number("CAPABILITY")]);
    for device in &devices {
        let row = GpuRow {
            product: &device.product,
            visible_bytes: device.visible,
            compute_capability: device.compute_capability.map(|(major, minor)| format!("{major}.{minor}")),
        };
        grid.row(vec![
            plain(row.product),
            plain(format!("{:.2}", row.visible_bytes.gib())),
            plain(row.compute_capability.as_deref().unwrap_or("–")),
        ]);
        rows.push(row);
    }
    args.print(&rows, &grid)
}
