//! Vision towers and projectors: one function per kind, chosen by the `model_type` of the whole config.
//!
//! They are stored beside the language model and never quantized with it.

mod general;

use serde_json::{Map, Value};

use crate::estimate::model::{Split, Tensor, TensorKind};

use super::error::ConfigError;
use super::keys::Keys;
use super::parts::{matrix, vector};

/// What a tower is read from: its own config, that of the whole model, and the language model's hidden size.
struct View<'v, 'a> {
    keys: &'v Keys<'a>,
    top: &'v Keys<'a>,
    text: u64,
}

type Reader = fn(&View<'_, '_>) -> Result<Tower, ConfigError>;

/// Model types and their towers.
const TOWERS: &[(&[&str], Reader)] = &[
    (&["gemma3"], siglip),
    (&["gemma4"], gemma4),
    (&["internvl", "internvl_chat"], general::internvl),
    (&["kimi_k25"], moonvit),
    (&["kimi_vl"], general::kimi_vl),
    (&["llama4"], llama4),
    (&["llava", "llava_next", "vipllava"], general::llava),
    (&["minimax_m3_vl"], minimax),
    (&["mistral3"], pixtral),
    (&["mllama"], mllama),
    (&["qwen2_5_vl"], qwen2_5),
    (&["qwen2_vl"], qwen2),
    (&["qwen3_5", "qwen3_5_moe", "qwen3_vl", "qwen3_vl_moe"], qwen3),
];

/// Configs of parts that no reader knows.
const OTHERS: [&str; 5] = ["audio_config", "encoder", "speech_config", "talker_config", "visual"];

/// The tower's tensors, if the model has one.
pub(super) fn read<'a>(root: &'a Map<String, Value>, top: &Keys<'a>, text: u64) -> Result<Vec<Tensor>, ConfigError> {
    let model_type = top.text("model_type")?.unwrap_or_default();
    for key in OTHERS {
        if top.object(key).is_some_and(|object| !object.is_empty()) {
            return Err(unknown(key, model_type));
        }
    }
    let Some(Value::Object(config)) = root.get("vision_config") else { return Ok(Vec::new()) };
    let found = TOWERS.iter().find(|(types, _)| types.contains(&model_type));
    let (_, read) = found.ok_or_else(|| unknown("vision_config", model_type))?;
    let keys = Keys::new(config, "vision_config.");
    Ok(read(&View { keys: &keys, top, text })?.0)
}

fn unknown(key: &str, model_type: &str) -> ConfigError {
    ConfigError::UnknownKey { key: key.to_owned(), model_type: model_type.chars().take(64).collect() }
}

/// Tensors collected so far.
struct Tower(Vec<Tensor>);

/// One transformer block of a tower.
#[derive(Clone, Copy)]
struct Block {
    hidden: u64,
    intermediate: u64,
    gated: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// Further vector elements: norms, gates.
    vectors: u64,
}

impl Tower {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn matrices(mut self, rows: u64, cols: u64, copies: u64) -> Self {
        let one = matrix("vision_tower", rows, cols, Split::Tensor);
        self.0.push(Tensor { copies, kind: TensorKind::Tower, ..one });
        self
    }

    fn vectors(mut self, elements: u64, copies: u64) -> Self {
        let one = vector("vision_tower", elements, Split::Replicated);
        self.0.push(Tensor { copies, kind: TensorKind::Tower, ..one });
        self
    }

    /// A linear layer with a bias.
    fn linear(self, rows: u64, cols: u64) -> Self {
        self.matrices(rows, cols, 1).vectors(rows, 1)
    }

    fn blocks(self, layers: u64, block: &Block) -> Self {
        let Block { hidden, intermediate, gated, attention_bias, mlp_bias, vectors } = *block;
        let inner = if gated { 2 } else { 1 };
        let biases = if attention_bias { 4 * hidden } else { 0 };
        let mlp_biases = if mlp_bias { inner * intermediate + hidden } else { 0 };
        self.matrices(4 * hidden, hidden, layers)
            .matrices((inner + 1) * intermediate, hidden, layers)
            .vectors(biases + mlp_biases + vectors, layers)
    }
}

/// The block of most towers: LayerNorms and biases everywhere, no gate.
const fn classic(hidden: u64, intermediate: u64) -> Block {
    Block { hidden, intermediate, gated: false, attention_bias: true, mlp_bias: true, vectors: 4 * hidden }
}

/// Rows of a patch projection: channels x patch x patch.
fn patch(keys: &Keys<'_>, default: u64) -> Result<u64, ConfigError> {
    let side = length(keys, "patch_size", default)?;
    let channels = keys.size_or("num_channels", 3)?;
    Ok(channels * side * side)
}

/// Patches of an image.
fn patches(keys: &Keys<'_>, image: u64, side: u64) -> Result<u64, ConfigError> {
    let side = length(keys, "image_size", image)? / length(keys, "patch_size", side)?;
    Ok(side * side)
}

/// A side of a square, also written as `[side, side]`.
fn length(keys: &Keys<'_>, key: &str, default: u64) -> Result<u64, ConfigError> {
    match keys.value(key).and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::Number(first), Value::Number(second)]) if first == second => {
            let side = first.as_u64().filter(|side| (1..=1 << 16).contains(side));
            side.ok_or_else(|| keys.invalid(key, "a number from 1 to 65536 is needed"))
        }
        _ => keys.size_or(key, default),
    }
}

fn siglip(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    Ok(Tower::new()
        .linear(hidden, patch(keys, 14)?)
        .matrices(patches(keys, 896, 14)?, hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .vectors(2 * hidden, 1)
        // Projector: a norm and a matrix.
        .vectors(hidden, 1)
        .matrices(view.text, hidden, 1))
}

fn moonvit(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("vt_hidden_size")?;
    let block = classic(hidden, keys.size("vt_intermediate_size")?);
    let positions = keys.size_or("init_pos_emb_height", 64)? * keys.size_or("init_pos_emb_width", 64)?;
    let merged = 4 * hidden;
    Ok(Tower::new()
        .linear(hidden, patch(keys, 14)?)
        .matrices(positions, hidden, 1)
        .blocks(keys.layers("vt_num_hidden_layers")?, &block)
        .vectors(2 * hidden, 1)
        // Projector: a norm and two matrices.
        .vectors(2 * hidden, 1)
        .linear(merged, merged)
        .linear(view.text, merged))
}

fn gemma4(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let heads = keys.size("num_attention_heads")?;
    let head_dim = keys.size_or("head_dim", hidden / heads)?;
    if keys.size_or("num_key_value_heads", heads)? != heads || heads * head_dim != hidden {
        return Err(keys.invalid("num_key_value_heads", "only as many as num_attention_heads are understood"));
    }
    let intermediate = keys.size("intermediate_size")?;
    let vectors = 4 * hidden + 2 * head_dim;
    let block = Block { hidden, intermediate, gated: true, attention_bias: false, mlp_bias: false, vectors };
    Ok(Tower::new()
        .matrices(hidden, patch(keys, 16)?, 1)
        .matrices(2 * keys.size_or("position_embedding_size", 10_240)?, hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .matrices(view.text, hidden, 1))
}

fn llama4(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    let ratio = keys.real("pixel_shuffle_ratio")?.unwrap_or(0.5);
    if !(ratio > 0.0 && ratio <= 1.0) {
        return Err(keys.invalid("pixel_shuffle_ratio", "a number above 0 and up to 1 is needed"));
    }
    let shuffled = (hidden as f64 / (ratio * ratio)) as u64;
    let (inner, output) = (keys.size("projector_input_dim")?, keys.size("projector_output_dim")?);
    Ok(Tower::new()
        .matrices(hidden, patch(keys, 14)?, 1)
        .matrices(patches(keys, 448, 14)? + 1, hidden, 1)
        .vectors(hidden + 4 * hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .matrices(inner, shuffled, 1)
        .matrices(output, inner, 1)
        .matrices(view.text, keys.size_or("vision_output_dim", output)?, 1))
}

fn pixtral(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let intermediate = keys.size("intermediate_size")?;
    let block =
        Block { hidden, intermediate, gated: true, attention_bias: false, mlp_bias: false, vectors: 2 * hidden };
    let merge = view.top.size_or("spatial_merge_size", 2)?;
    if view.top.flag("multimodal_projector_bias", false)? {
        return Err(view.top.invalid("multimodal_projector_bias", "only false is understood"));
    }
    Ok(Tower::new()
        .matrices(hidden, patch(keys, 16)?, 1)
        .vectors(hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        // Projector: a norm, a merger of patches, two matrices.
        .vectors(hidden, 1)
        .matrices(hidden, merge * merge * hidden, 1)
        .matrices(view.text, hidden, 1)
        .matrices(view.text, view.text, 1))
}

fn mllama(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let tiles = keys.size_or("max_num_tiles", 4)?;
    let ratios = keys.value("supported_aspect_ratios").and_then(Value::as_array).map_or(8, |list| list.len() as u64);
    let rows = patches(keys, 448, 14)? + 1;
    let local = Block { attention_bias: false, ..classic(hidden, keys.size("intermediate_size")?) };
    // Global blocks have two gates more.
    let global = Block { vectors: local.vectors + 2, ..local };
    let tables = ratios + 1;
    Ok(Tower::new()
        .matrices(hidden, patch(keys, 14)?, 1)
        .matrices(rows, hidden, 1)
        .matrices(tables * tiles * rows, hidden, 1)
        .matrices(2 * tables * tiles, hidden, 1)
        // Class token, norms before and after, gates of the three position tables.
        .vectors(hidden + 4 * hidden + 3, 1)
        .blocks(keys.layers("num_hidden_layers")?, &local)
        .blocks(keys.size_or("num_global_layers", 8)?.min(super::keys::MOST_LAYERS), &global)
        .linear(view.text, keys.size("vision_output_dim")?))
}

/// Patch projection over two frames, without bias.
fn frames(keys: &Keys<'_>) -> Result<u64, ConfigError> {
    Ok(patch(keys, 14)? * keys.size_or("temporal_patch_size", 2)?)
}

fn merged(keys: &Keys<'_>, hidden: u64) -> Result<u64, ConfigError> {
    let merge = keys.size_or("spatial_merge_size", 2)?;
    Ok(merge * merge * hidden)
}

fn qwen2(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("embed_dim")?;
    let intermediate = (keys.real("mlp_ratio")?.unwrap_or(4.0).max(0.0) * hidden as f64) as u64;
    let merged = merged(keys, hidden)?;
    Ok(Tower::new()
        .matrices(hidden, frames(keys)?, 1)
        .blocks(keys.layers("depth")?, &classic(hidden, intermediate))
        .vectors(2 * hidden, 1)
        .linear(merged, merged)
        .linear(view.text, merged))
}

fn qwen2_5(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let intermediate = keys.size("intermediate_size")?;
    let block = Block { hidden, intermediate, gated: true, attention_bias: true, mlp_bias: true, vectors: 2 * hidden };
    let merged = merged(keys, hidden)?;
    Ok(Tower::new()
        .matrices(hidden, frames(keys)?, 1)
        .blocks(keys.layers("depth")?, &block)
        .vectors(hidden, 1)
        .linear(merged, merged)
        .linear(keys.size_or("out_hidden_size", view.text)?, merged))
}

fn qwen3(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    let (merged, output) = (merged(keys, hidden)?, keys.size_or("out_hidden_size", view.text)?);
    let deep = keys.value("deepstack_visual_indexes").and_then(Value::as_array).map_or(0, Vec::len);
    let mut tower = Tower::new()
        .linear(hidden, frames(keys)?)
        .matrices(keys.size_or("num_position_embeddings", 2304)?, hidden, 1)
        .blocks(keys.layers("depth")?, &block)
        .vectors(2 * hidden, 1)
        .linear(merged, merged)
        .linear(output, merged);
    // Features of some inner layers have mergers of their own, which norm after merging.
    for _ in 0..deep.min(64) {
        tower = tower.vectors(2 * merged, 1).linear(merged, merged).linear(output, merged);
    }
    Ok(tower)
}

/// CLIP blocks over two frames; a projector, and a second one over merged patches.
fn minimax(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    let output = view.top.size_or("projector_hidden_size", view.text)?;
    let compression = keys.object("img_token_compression_config");
    let compression =
        compression.ok_or_else(|| keys.missing("img_token_compression_config", "the projector is sized by it"))?;
    let compression = Keys::new(compression, "vision_config.img_token_compression_config.");
    let merge = compression.size_or("spatial_merge_size", 2)?;
    let frames = patch(keys, 14)? * compression.size_or("temporal_patch_size", 2)?;
    Ok(Tower::new()
        .matrices(hidden, frames, 1)
        .vectors(2 * hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .linear(output, hidden)
        .linear(view.text, output)
        .linear(view.text, merge * merge * output)
        .linear(view.text, view.text))
}
