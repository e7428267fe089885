//! `vramguard models`: what is known, and one model explained.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::args::OutputArgs;
use super::catalogues::{plain, rows};
use super::error::Failure;
use super::exit::Exit;
use super::hub::HubArgs;
use super::output::{self, Format};
use super::render::WIDTH;
use super::render::explain;
use super::render::grid::{Column, Grid};
use crate::estimate::Bytes;
use crate::estimate::model::{Model, Quantization, TensorKind};
use crate::estimate::workload::ModelFacts;
use crate::facts::catalog::Catalog;
use crate::facts::lookup::Models;
use crate::facts::profile::Profiles;

/// Which models.
#[derive(Debug, Args)]
pub(super) struct ModelsArgs {
    /// A model to explain, or a text to search names for, in either case
    pub name: Option<String>,
    #[command(flatten)]
    pub hub: HubArgs,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

/// A row of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    model_type: &'a str,
    parameters: u64,
    layers: u64,
    max_context: Option<u64>,
    dtype: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// What is known of one model beyond its row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    /// Where the facts come from.
    pub source: String,
    /// Layers in order.
    pub layer_groups: Vec<Group>,
    /// Parameters by what they are for.
    pub parameters_by_class: Vec<Class>,
    /// Bytes of all weights, by number format.
    pub weights_bytes: Vec<Weights>,
    /// Cache per token of context in 16 bit, while no window is full.
    pub kv_bytes_per_token: Bytes,
    /// The same of layers whose cache grows with any context.
    pub kv_bytes_per_token_at_length: Bytes,
    /// Recurrent states of one sequence in 16 bit, whatever its length.
    pub state_bytes: Bytes,
    /// Parameters of layers that are loaded for speculative decoding only.
    pub draft_parameters: u64,
}

/// Equal layers.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub layers: u64,
    pub attention: String,
    pub mlp: String,
    pub parameters: u64,
}

/// Parameters of one class.
#[derive(Debug, Serialize)]
pub(super) struct Class {
    pub class: &'static str,
    pub parameters: u64,
}

/// Weights in one format.
#[derive(Debug, Serialize)]
pub(super) struct Weights {
    pub format: String,
    pub bytes: Bytes,
}

pub(super) fn run(args: &ModelsArgs) -> Result<Exit, Failure> {
    let catalog = Catalog::embedded();
    if let Some(name) = &args.name
        && let Some((model, source)) = one(catalog, name, &args.hub)?
    {
        let details = details(&model, source);
        match args.output.format {
            Format::Table => output::text(&explain::model(&model, &details))?,
            format => output::document(&[row(&model, Some(details))], format)?,
        }
        return Ok(Exit::Success);
    }
    let wanted = args.name.as_deref().unwrap_or_default().to_lowercase();
    let names = catalog.names().filter(|name| name.to_lowercase().contains(&wanted));
    let found: Vec<_> = names.filter_map(|name| catalog.find(name).ok()).collect();
    list(&found, args.output.format)
}

/// The one model that is meant, with where its facts come from; `None` where the text is better searched for.
fn one(catalog: &Catalog, name: &str, hub: &HubArgs) -> Result<Option<(Arc<Model>, String)>, Failure> {
    let last = |id: &str| id.rsplit('/').next().unwrap_or(id).to_lowercase();
    // Half a name may be near enough to some model for a look-up, but is meant as a search.
    let half = catalog.names().any(|known| known.to_lowercase().contains(&name.to_lowercase()))
        && !catalog.names().any(|known| known.eq_ignore_ascii_case(name) || last(known) == name.to_lowercase());
    if half {
        return Ok(None);
    }
    if let Ok(model) = catalog.find(name) {
        let entry = catalog.entry(name);
        let source = entry.map_or_else(String::new, |entry| {
            let doubt = if entry.recalled { ", some values recalled rather than read" } else { "" };
            format!("embedded catalogue: {} ({}{doubt})", entry.id, entry.source)
        });
        return Ok(Some((model, source)));
    }
    let Some(source) = hub.source()? else { return Ok(None) };
    let models = Models { catalog, profiles: Profiles::none(), source: Some(source.as_ref()), namespace: "" };
    match models.by_name(name) {
        Ok(found) => match found.model {
            ModelFacts::Known(model) => Ok(Some((model, "config.json on the Hub".to_owned()))),
            ModelFacts::Shape(_) => Ok(None),
        },
        Err(why) => Err(Failure::new("UNKNOWN_MODEL", why)),
    }
}

fn row(model: &Model, details: Option<Details>) -> Row<'_> {
    Row {
        name: &model.name,
        model_type: &model.model_type,
        parameters: model.parameters(),
        layers: model.layer_count(),
        max_context: model.max_position_embeddings,
        dtype: model.dtype.name(),
        details,
    }
}

fn list(found: &[Arc<Model>], format: Format) -> Result<Exit, Failure> {
    let mut grid = Grid::new(vec![
        Column::flexible("MODEL", 20),
        Column::fixed("TYPE"),
        Column::number("PARAMETERS"),
        Column::number("LAYERS"),
        Column::number("CONTEXT"),
        Column::fixed("DTYPE"),
    ]);
    let all: Vec<_> = found.iter().map(|model| row(model, None)).collect();
    for row in &all {
        grid.row(vec![
            plain(row.name),
            plain(row.model_type),
            plain(format!("{:.2} B", row.parameters as f64 / 1e9)),
            plain(row.layers.to_string()),
            plain(row.max_context.map_or_else(|| "–".to_owned(), |tokens| tokens.to_string())),
            plain(row.dtype),
        ]);
    }
    rows(format, &all, &grid.lines(WIDTH))
}

fn details(model: &Model, source: String) -> Details {
    const TWO: f64 = 2.0;
    let in_16_bit = |elements: u64| Bytes::from_f64(elements as f64 * TWO);
    Details {
        source,
        layer_groups: model
            .layers
            .iter()
            .map(|group| Group {
                layers: group.count,
                attention: explain::attention(&group.attention),
                mlp: explain::mlp(&group.mlp),
                parameters: group.count.saturating_mul(group.layer_parameters()),
            })
            .collect(),
        parameters_by_class: classes(model),
        weights_bytes: weights(model),
        kv_bytes_per_token: in_16_bit(model.kv_elements_per_token()),
        kv_bytes_per_token_at_length: in_16_bit(model.unbounded_kv_elements_per_token()),
        state_bytes: in_16_bit(model.state_elements()),
        draft_parameters: model.mtp_parameters(),
    }
}

fn classes(model: &Model) -> Vec<Class> {
    const CLASSES: [(&str, &[TensorKind]); 6] = [
        ("linear layers", &[TensorKind::Linear]),
        ("routed experts", &[TensorKind::Expert]),
        ("embedding", &[TensorKind::Embedding]),
        ("output head", &[TensorKind::Head]),
        ("vision or audio tower", &[TensorKind::Tower]),
        ("norms, biases, routers", &[TensorKind::Vector, TensorKind::Router]),
    ];
    let sum = |kinds: &[TensorKind]| {
        let of_kind = model.weights().filter(|(_, tensor)| kinds.contains(&tensor.kind));
        of_kind.fold(0_u64, |sum, (count, tensor)| sum.saturating_add(count.saturating_mul(tensor.parameters())))
    };
    let all = CLASSES.map(|(class, kinds)| Class { class, parameters: sum(kinds) });
    all.into_iter().filter(|class| class.parameters > 0).collect()
}

/// The checkpoint's own format first, then usual quantizations of an unquantized one.
fn weights(model: &Model) -> Vec<Weights> {
    const USUAL: [&str; 5] = ["fp8", "int8", "awq", "nvfp4", "q4_k_m"];
    let bytes =
        |quantization: Option<Quantization>| Bytes::from_f64(Model { quantization, ..model.clone() }.stored_bytes());
    let own = model.quantization.as_ref();
    let known = model.checkpoint_bytes.map(|known| Bytes(known.total));
    let name = own.map_or_else(|| model.dtype.name().to_owned(), |quantization| quantization.name.clone());
    let mut all =
        vec![Weights { format: format!("{name} (as stored)"), bytes: known.unwrap_or_else(|| bytes(own.cloned())) }];
    if own.is_none() {
        all.extend(USUAL.iter().filter_map(|name| {
            let quantization = Quantization::from_name(name)?;
            Some(Weights { format: (*name).to_owned(), bytes: bytes(Some(quantization)) })
        }));
    }
    all
}
