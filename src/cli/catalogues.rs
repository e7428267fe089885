//! `vramguard gpus`: what the embedded catalogue knows.

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
}

/// Prints a catalogue's rows, as lines for people.
pub(super) fn rows(format: Format, rows: &[impl Serialize], lines: &[String]) -> Result<Exit, Failure> {
    match format {
        Format::Table if rows.is_empty() => output::complain("nothing in the catalogue has this in its name\n"),
        Format::Table => output::text(&(lines.join("\n") + "\n"))?,
        format => output::document(&rows, format)?,
    }
    Ok(Exit::Success)
}

pub(super) fn plain(text: impl Into<String>) -> Vec<Span> {
    vec![Span::new(text, Tone::Plain)]
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
    let mut all = Vec::new();
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
        all.push(row);
    }
    rows(args.output.format, &all, &grid.lines(WIDTH))
}
