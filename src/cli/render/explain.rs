//! One model for people: what it is made of, and what that costs.

use std::fmt::Write as _;

use super::WIDTH;
use super::grid::{Column, Grid};
use super::style::{Span, Tone, shorten};
use crate::cli::models::Details;
use crate::estimate::model::{Attention, Heads, LinearState, Mlp, Model};

/// The page of a model.
pub(in crate::cli) fn model(model: &Model, details: &Details) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name:<14}{value}");
    };
    line("Model", &Span::new(model.name.as_str(), Tone::Strong).painted());
    line("Facts", &shorten(&details.source, WIDTH - 14));
    line("Architecture", &format!("{}, hidden size {}", model.model_type, model.hidden_size));
    let tied = if model.tied_embeddings { ", shared by embedding and head" } else { "" };
    line("Vocabulary", &format!("{}{tied}", model.vocab_size));
    let context =
        model.max_position_embeddings.map_or_else(|| "not said".to_owned(), |tokens| format!("{tokens} tokens"));
    line("Context", &context);
    line("KV cache", &cache(details));
    if details.state_bytes.0 > 0 {
        line("States", &format!("{} per sequence in 16 bit, whatever its length", kib(details.state_bytes.as_f64())));
    }
    if details.draft_parameters > 0 {
        let drafts = format!("{}, loaded for speculative decoding only", billions(details.draft_parameters));
        line("Draft layers", &drafts);
    }
    for grid in [layers(details), parameters(model, details), weights(details)] {
        page.push('\n');
        page.push_str(&(grid.lines(WIDTH).join("\n") + "\n"));
    }
    page
}

fn cache(details: &Details) -> String {
    let (all, long) = (details.kv_bytes_per_token.as_f64(), details.kv_bytes_per_token_at_length.as_f64());
    let text = format!("{} per token in 16 bit", kib(all));
    if details.kv_bytes_per_token == details.kv_bytes_per_token_at_length {
        text
    } else {
        format!("{text}, {} once the windows are full", kib(long))
    }
}

fn layers(details: &Details) -> Grid {
    let mut grid = Grid::new(vec![
        Column::number("LAYERS"),
        Column::flexible("ATTENTION", 20),
        Column::flexible("FEED-FORWARD", 20),
        Column::number("PARAMETERS"),
    ]);
    for group in &details.layer_groups {
        grid.row(vec![
            plain(group.layers.to_string()),
            plain(group.attention.as_str()),
            plain(group.mlp.as_str()),
            plain(billions(group.parameters)),
        ]);
    }
    grid
}

fn parameters(model: &Model, details: &Details) -> Grid {
    let mut grid = Grid::new(vec![Column::fixed("CLASS"), Column::number("PARAMETERS")]);
    for class in &details.parameters_by_class {
        grid.row(vec![plain(class.class), plain(billions(class.parameters))]);
    }
    grid.row(vec![plain("all"), plain(billions(model.parameters()))]);
    grid
}

fn weights(details: &Details) -> Grid {
    let mut grid = Grid::new(vec![Column::fixed("WEIGHTS AS"), Column::number("GiB")]);
    for weights in &details.weights_bytes {
        grid.row(vec![plain(weights.format.as_str()), plain(format!("{:.2}", weights.bytes.gib()))]);
    }
    grid
}

fn plain(text: impl Into<String>) -> Vec<Span> {
    vec![Span::new(text, Tone::Plain)]
}

fn billions(parameters: u64) -> String {
    format!("{:.3} B", parameters as f64 / 1e9)
}

fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

/// Token mixing in a few words.
pub(crate) fn attention(attention: &Attention) -> String {
    match attention {
        Attention::Full(heads) => format!("full, {}", of_heads(heads)),
        Attention::Sliding { heads, window } => format!("window of {window}, {}", of_heads(heads)),
        Attention::Chunked { heads, chunk } => format!("chunks of {chunk}, {}", of_heads(heads)),
        Attention::Latent { heads, latent, rope, indexer, .. } => {
            let sparse = if indexer.is_some() { ", sparse" } else { "" };
            format!("latent of {}, {heads} heads{sparse}", latent.saturating_add(*rope))
        }
        Attention::Linear(state) => format!("linear, {}", of_state(state)),
        Attention::Mamba(state) => format!("Mamba, {}", of_state(state)),
        Attention::Cross(heads) => format!("cross, {}", of_heads(heads)),
        Attention::SharedKv(heads) => format!("another layer's cache, {}", of_heads(heads)),
        Attention::Encoder(heads) => format!("encoder, {}", of_heads(heads)),
        Attention::None => "none".to_owned(),
    }
}

fn of_heads(heads: &Heads) -> String {
    let Heads { heads, kv_heads, key_dim, value_dim, .. } = heads;
    let width = if key_dim == value_dim { key_dim.to_string() } else { format!("{key_dim}/{value_dim}") };
    if heads == kv_heads { format!("{heads} heads of {width}") } else { format!("{heads}:{kv_heads} heads of {width}") }
}

fn of_state(state: &LinearState) -> String {
    format!("{} heads, state of {}", state.heads, state.recurrent)
}

/// Channel mixing in a few words.
pub(crate) fn mlp(mlp: &Mlp) -> String {
    match mlp {
        Mlp::Dense { intermediate, gated } => {
            format!("dense {intermediate}{}", if *gated { ", gated" } else { "" })
        }
        Mlp::Moe { experts, top_k, intermediate, shared_intermediate, .. } => {
            let shared =
                if *shared_intermediate > 0 { format!(" + {shared_intermediate} shared") } else { String::new() };
            format!("{top_k} of {experts} experts of {intermediate}{shared}")
        }
        Mlp::None => "none".to_owned(),
    }
}
