//! Towers that several language models are put behind: CLIP, SigLIP, InternViT and MoonViT with their projectors.

use serde_json::Value;

use super::super::error::ConfigError;
use super::{Block, Tower, View, classic, patch, patches};

/// A CLIP or SigLIP tower and two matrices; features of several layers are put side by side.
pub(super) fn llava(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    let clip = match keys.text("model_type")?.unwrap_or_default() {
        "clip_vision_model" => true,
        "siglip_vision_model" => false,
        _ => return Err(keys.invalid("model_type", "clip_vision_model and siglip_vision_model are understood")),
    };
    let taken =
        view.top.value("vision_feature_layer").and_then(Value::as_array).map_or(1, |list| list.len().clamp(1, 64));
    let positions = patches(keys, 336, 14)? + u64::from(clip);
    let tower = if clip {
        // A class token, norms before and after, no bias of the patches.
        Tower::new().matrices(hidden, patch(keys, 14)?, 1).vectors(hidden + 4 * hidden, 1)
    } else {
        Tower::new().linear(hidden, patch(keys, 14)?).vectors(2 * hidden, 1)
    };
    Ok(tower
        .matrices(positions, hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .linear(view.text, hidden * taken as u64)
        .linear(view.text, view.text)
        .vectors(view.text, 1))
}

/// InternViT with layer scales; pixels are shuffled four to one before a norm and two matrices.
pub(super) fn internvl(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let bias = keys.flag("qkv_bias", true)? && keys.flag("attention_bias", true)?;
    let norms = if keys.flag("qk_normalization", false)? || keys.flag("use_qk_norm", false)? { 2 * hidden } else { 0 };
    let plain = classic(hidden, keys.size("intermediate_size")?);
    let block = Block { attention_bias: bias, vectors: plain.vectors + 2 * hidden + norms, ..plain };
    let ratio = view.top.real("downsample_ratio")?.unwrap_or(0.5);
    if !(ratio > 0.0 && ratio <= 1.0) {
        return Err(view.top.invalid("downsample_ratio", "a number above 0 and up to 1 is needed"));
    }
    let shuffled = (hidden as f64 / (ratio * ratio)) as u64;
    Ok(Tower::new()
        .linear(hidden, patch(keys, 14)?)
        .matrices(patches(keys, 448, 14)? + 1, hidden, 1)
        .vectors(hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .vectors(2 * shuffled, 1)
        .linear(view.text, shuffled)
        .linear(view.text, view.text))
}

/// MoonViT; two by two patches are merged before a norm and two matrices.
pub(super) fn kimi_vl(view: &View<'_, '_>) -> Result<Tower, ConfigError> {
    let keys = view.keys;
    let hidden = keys.size("hidden_size")?;
    let block = classic(hidden, keys.size("intermediate_size")?);
    let positions = keys.size_or("init_pos_emb_height", 64)? * keys.size_or("init_pos_emb_width", 64)?;
    let merged = 4 * hidden;
    Ok(Tower::new()
        .linear(hidden, patch(keys, 14)?)
        .matrices(positions, hidden, 1)
        .blocks(keys.layers("num_hidden_layers")?, &block)
        .vectors(2 * hidden, 1)
        .vectors(2 * hidden, 1)
        .linear(merged, merged)
        .linear(view.text, merged))
}
