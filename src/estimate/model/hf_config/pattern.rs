//! Which layer mixes tokens in which way.

use super::Build;
use super::error::ConfigError;
use super::family::Window;
use super::feed::Feed;
use super::keys::Keys;

/// Rule of a family for the mixers of its layers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// Softmax attention everywhere, with windows as the family has them.
    Softmax,
    /// Latent attention everywhere.
    Latent,
    /// Softmax attention each `full_attention_interval`-th layer (or as `layer_types` say), gated delta rule
    /// elsewhere; `split` where its projections are stored apart.
    Delta { split: bool },
    /// `linear_attn_config`: KDA and latent attention.
    Kda,
    /// `attn_type_list`: 1 is softmax, 0 lightning attention.
    Lightning,
    /// `attn_layer_period` and `attn_layer_offset`: softmax attention, Mamba 1 elsewhere.
    Jamba,
    /// Mamba 1 everywhere.
    Mamba1,
    /// Mamba 2 everywhere.
    Mamba2,
    /// `layer_types`: `attention` or `mamba` (Mamba 2).
    Granite,
    /// `hybrid_override_pattern` or `layers_block_type`: one of mixer or feed-forward block per layer.
    NemotronH,
    /// `full_attn_idxs` or `layer_types`: softmax attention, short convolutions elsewhere.
    Convolution,
    /// `sparse_attention_config.sparse_attention_freq`: 1 has a block selector.
    Selected,
    /// `hybrid_layer_pattern`: 1 has a window and heads of its own.
    Windowed,
    /// `cross_attention_layers` attend to an image, the others to text.
    Cross,
    /// The family has a reader of its own.
    Own(super::Reader),
}

/// How far softmax attention looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Full,
    Sliding(u64),
    Chunked(u64),
}

/// Token mixing of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mixer {
    Softmax(Span),
    Latent { indexer: bool },
    Delta { split: bool },
    Kda,
    Lightning,
    Mamba1 { inner_norms: bool },
    Mamba2,
    Convolution,
    Cross,
    Selected,
    Windowed { window: u64 },
    None,
}

/// Mixer of every layer.
pub(super) fn mixers(build: &Build<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let keys = build.keys;
    let each = |mixer: &dyn Fn(u64) -> Mixer| (0..layers).map(mixer).collect::<Vec<_>>();
    Ok(match build.family.plan {
        Plan::Softmax | Plan::Own(_) => spans(build, layers)?.into_iter().map(Mixer::Softmax).collect(),
        Plan::Latent => latent(keys, layers)?,
        Plan::Delta { split } => delta(keys, layers, split)?,
        Plan::Kda => kda(keys, layers)?,
        Plan::Lightning => lightning(keys, layers)?,
        Plan::Jamba => {
            let period = keys.size_or("attn_layer_period", 8)?;
            let offset = keys.count("attn_layer_offset")?.unwrap_or(4);
            let mamba = Mixer::Mamba1 { inner_norms: true };
            each(&|i| if i % period == offset { Mixer::Softmax(Span::Full) } else { mamba })
        }
        Plan::Mamba1 => each(&|_| Mixer::Mamba1 { inner_norms: false }),
        Plan::Mamba2 => each(&|_| Mixer::Mamba2),
        Plan::Granite => granite(keys, layers)?,
        Plan::NemotronH => nemotron(keys, layers)?.into_iter().map(|(mixer, _)| mixer).collect(),
        Plan::Convolution => convolution(keys, layers)?,
        Plan::Selected => selected(keys, layers)?,
        Plan::Windowed => windowed(keys, layers)?,
        Plan::Cross => {
            let cross = keys.indices("cross_attention_layers")?;
            let cross = cross
                .ok_or_else(|| keys.missing("cross_attention_layers", "it says which layers attend to the image"))?;
            each(&|i| if cross.contains(&i) { Mixer::Cross } else { Mixer::Softmax(Span::Full) })
        }
    })
}

/// How far each softmax layer looks back: `layer_types` where given, else the family's rule.
pub(super) fn spans(build: &Build<'_>, layers: u64) -> Result<Vec<Span>, ConfigError> {
    let keys = build.keys;
    if let Some(types) = keys.words("layer_types", layers)? {
        return types.iter().map(|kind| span_of(keys, kind)).collect();
    }
    if let Some(softmax) = keys.switches("attn_type_list", layers)?
        && !softmax.into_iter().all(|yes| yes)
    {
        return Err(keys.invalid("attn_type_list", "only softmax attention (1) is understood for this model type"));
    }
    let all = 0..layers;
    let window = keys.tokens("sliding_window")?;
    let Some(window) = window.or(match build.family.window {
        Window::Alternating => Some(keys.tokens("window_size")?.unwrap_or(256)),
        _ => None,
    }) else {
        return chunks(keys, layers);
    };
    let some = |sliding: bool| if sliding { Span::Sliding(window) } else { Span::Full };
    Ok(match build.family.window {
        Window::Never => all.map(|_| Span::Full).collect(),
        Window::Every => all.map(|_| some(true)).collect(),
        Window::IfUsed => {
            let used = keys.flag("use_sliding_window", false)?;
            let from = keys.count("max_window_layers")?.unwrap_or(0);
            all.map(|i| some(used && i >= from)).collect()
        }
        Window::AllButNth(default) => {
            let n = keys.size_or("sliding_window_pattern", default);
            let n = match keys.text("sliding_window_pattern") {
                // EXAONE 4 writes the pattern as letters: `LLLG`.
                Ok(Some(letters)) if !letters.is_empty() => letters.len() as u64,
                _ => n?,
            };
            all.map(|i| some((i + 1) % n != 0)).collect()
        }
        Window::Alternating => {
            keys.touch("attention_types");
            keys.touch("attention_layers");
            all.map(|i| some(i % 2 == 1)).collect()
        }
    })
}

/// Llama 4: chunks on all but each `no_rope_layer_interval`-th layer.
fn chunks(keys: &Keys<'_>, layers: u64) -> Result<Vec<Span>, ConfigError> {
    let Some(chunk) = keys.tokens("attention_chunk_size")? else { return Ok(vec![Span::Full; layers as usize]) };
    let interval = match keys.size_if("nope_layer_interval")? {
        Some(n) => n,
        None => keys.size_or("no_rope_layer_interval", 4)?,
    };
    Ok((0..layers).map(|i| if (i + 1) % interval == 0 { Span::Full } else { Span::Chunked(chunk) }).collect())
}

fn span_of(keys: &Keys<'_>, kind: &str) -> Result<Span, ConfigError> {
    let window = |key: &str| {
        keys.tokens(key)?.ok_or_else(|| keys.missing(key, "layer_types names layers that look back only so far"))
    };
    match kind {
        "full_attention" | "attention" | "global" | "global_attention" => Ok(Span::Full),
        "sliding_attention" | "local" => Ok(Span::Sliding(window("sliding_window")?)),
        "chunked_attention" => Ok(Span::Chunked(window("attention_chunk_size")?)),
        other => Err(unknown(keys, other, "`full_attention`, `sliding_attention` and `chunked_attention` are known")),
    }
}

fn unknown(keys: &Keys<'_>, kind: &str, allowed: &str) -> ConfigError {
    let cut: String = kind.chars().take(40).collect();
    keys.invalid("layer_types", format!("it names `{cut}` layers, but here {allowed}"))
}

fn latent(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    keys.touch("layer_types");
    let has_indexer = keys.has("index_head_dim") || keys.has("index_n_heads");
    let indexer: Vec<bool> = match keys.words("indexer_types", layers)? {
        Some(types) => types.iter().map(|kind| *kind == "full").collect(),
        None => vec![has_indexer; layers as usize],
    };
    Ok(indexer.into_iter().map(|indexer| Mixer::Latent { indexer }).collect())
}

fn delta(keys: &Keys<'_>, layers: u64, split: bool) -> Result<Vec<Mixer>, ConfigError> {
    let mixer = |full: bool| if full { Mixer::Softmax(Span::Full) } else { Mixer::Delta { split } };
    let interval = keys.size_or("full_attention_interval", 4)?;
    let Some(types) = keys.words("layer_types", layers)? else {
        return Ok((0..layers).map(|i| mixer((i + 1) % interval == 0)).collect());
    };
    let known = "`full_attention` and `linear_attention` are known";
    types
        .iter()
        .map(|kind| match *kind {
            "full_attention" => Ok(mixer(true)),
            "linear_attention" => Ok(mixer(false)),
            other => Err(unknown(keys, other, known)),
        })
        .collect()
}

fn kda(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let Some(config) = keys.object("linear_attn_config") else {
        return Err(keys.missing("linear_attn_config", "it says which layers are linear"));
    };
    let nested = Keys::new(config, "linear_attn_config.");
    let full = nested.indices("full_attn_layers")?.unwrap_or_default();
    let linear = nested.indices("kda_layers")?.unwrap_or_default();
    // Layers are counted from 1 there.
    let mixer = |i: u64| match (full.contains(&i), linear.contains(&i)) {
        (true, false) => Ok(Mixer::Latent { indexer: false }),
        (false, true) => Ok(Mixer::Kda),
        _ => Err(nested.invalid("full_attn_layers", format!("layer {i} must be in it or in kda_layers, not in both"))),
    };
    (1..=layers).map(mixer).collect()
}

fn lightning(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let softmax = keys.switches("attn_type_list", layers)?;
    let softmax =
        softmax.ok_or_else(|| keys.missing("attn_type_list", "it says which layers have softmax attention"))?;
    Ok(softmax.into_iter().map(|yes| if yes { Mixer::Softmax(Span::Full) } else { Mixer::Lightning }).collect())
}

fn selected(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let Some(config) = keys.object("sparse_attention_config") else {
        return Err(keys.missing("sparse_attention_config", "it says which layers select blocks"));
    };
    let nested = Keys::new(config, "sparse_attention_config.");
    let sparse = nested.switches("sparse_attention_freq", layers)?;
    let sparse = sparse.ok_or_else(|| nested.missing("sparse_attention_freq", "it says which layers select blocks"))?;
    Ok(sparse.into_iter().map(|yes| if yes { Mixer::Selected } else { Mixer::Softmax(Span::Full) }).collect())
}

fn windowed(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let windowed = keys.switches("hybrid_layer_pattern", layers)?;
    let windowed = windowed.ok_or_else(|| keys.missing("hybrid_layer_pattern", "it says which layers have windows"))?;
    let window = keys.tokens("sliding_window")?;
    let window = window.ok_or_else(|| keys.missing("sliding_window", "windowed layers look back so far"))?;
    Ok(windowed
        .into_iter()
        .map(|yes| if yes { Mixer::Windowed { window } } else { Mixer::Softmax(Span::Full) })
        .collect())
}

fn granite(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let types = match keys.words("layer_types", layers)? {
        Some(types) => types,
        None => keys
            .words("layers_block_type", layers)?
            .ok_or_else(|| keys.missing("layer_types", "it says which layers are attention"))?,
    };
    types
        .iter()
        .map(|kind| match *kind {
            "attention" | "full_attention" => Ok(Mixer::Softmax(Span::Full)),
            "mamba" => Ok(Mixer::Mamba2),
            other => Err(unknown(keys, other, "`attention` and `mamba` are known")),
        })
        .collect()
}

/// Nemotron-H: every layer is either a mixer or a feed-forward block.
pub(super) fn nemotron(keys: &Keys<'_>, layers: u64) -> Result<Vec<(Mixer, Feed)>, ConfigError> {
    let letters: Vec<String> = match keys.text("hybrid_override_pattern")? {
        Some(pattern) => pattern.chars().take(layers as usize + 1).map(String::from).collect(),
        None => keys
            .words("layers_block_type", layers)?
            .ok_or_else(|| keys.missing("hybrid_override_pattern", "it says what each layer is"))?
            .into_iter()
            .map(str::to_owned)
            .collect(),
    };
    if letters.len() as u64 != layers {
        let allowed = format!("one letter for each of the {layers} layers is needed");
        return Err(keys.invalid("hybrid_override_pattern", allowed));
    }
    let known = "M or mamba, * or attention, - or mlp, E or moe are known";
    letters
        .iter()
        .map(|kind| match kind.as_str() {
            "M" | "mamba" => Ok((Mixer::Mamba2, Feed::None)),
            "*" | "attention" => Ok((Mixer::Softmax(Span::Full), Feed::None)),
            "-" | "mlp" => Ok((Mixer::None, Feed::Dense)),
            "E" | "moe" => Ok((Mixer::None, Feed::Moe)),
            _ => Err(keys.invalid("hybrid_override_pattern", known)),
        })
        .collect()
}

fn convolution(keys: &Keys<'_>, layers: u64) -> Result<Vec<Mixer>, ConfigError> {
    let mixer = |full: bool| if full { Mixer::Softmax(Span::Full) } else { Mixer::Convolution };
    if let Some(types) = keys.words("layer_types", layers)? {
        keys.touch("full_attn_idxs");
        return types
            .iter()
            .map(|kind| match *kind {
                "full_attention" => Ok(mixer(true)),
                "conv" => Ok(mixer(false)),
                other => Err(unknown(keys, other, "`full_attention` and `conv` are known")),
            })
            .collect();
    }
    let full = keys.indices("full_attn_idxs")?;
    let full = full.ok_or_else(|| keys.missing("layer_types", "it says which layers are attention"))?;
    Ok((0..layers).map(|i| mixer(full.contains(&i))).collect())
}
