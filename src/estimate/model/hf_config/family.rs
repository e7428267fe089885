//! What distinguishes architecture families, as data: one row of [`super::families::FAMILIES`] each.

use super::error::ConfigError;
use super::keys::Keys;
use super::pattern::Plan;

/// A yes or no that the family fixes or a key decides.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    /// Never.
    Off,
    /// Always.
    On,
    /// The key decides; the second value is what transformers assumes without it.
    Key(&'static str, bool),
}

impl Flag {
    pub(super) fn get(self, keys: &Keys<'_>) -> Result<bool, ConfigError> {
        match self {
            Self::Off => Ok(false),
            Self::On => Ok(true),
            Self::Key(key, default) => keys.flag(key, default),
        }
    }
}

/// What a norm stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    /// A scale.
    Scale,
    /// A scale and a bias.
    ScaleAndBias,
    /// Nothing.
    Parameterless,
}

impl Norm {
    /// Vectors per norm.
    pub(super) const fn vectors(self) -> u64 {
        match self {
            Self::Scale => 1,
            Self::ScaleAndBias => 2,
            Self::Parameterless => 0,
        }
    }
}

/// How many norms of the hidden width a layer has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Norms {
    /// So many.
    Fixed(u64),
    /// Two, or one where the flag of this name says that both blocks read the same input.
    UnlessParallel(&'static str),
    /// Falcon: `num_ln_in_parallel_attn`, `new_decoder_architecture` and `parallel_attn`.
    Falcon,
}

impl Norms {
    pub(super) fn get(self, keys: &Keys<'_>) -> Result<u64, ConfigError> {
        match self {
            Self::Fixed(n) => Ok(n),
            Self::UnlessParallel(key) => Ok(if keys.flag(key, false)? { 1 } else { 2 }),
            Self::Falcon => {
                let new = keys.flag("new_decoder_architecture", false)?;
                let given = keys.size_if("num_ln_in_parallel_attn")?;
                let parallel = keys.flag("parallel_attn", true)?;
                Ok(if new { given.unwrap_or(2) } else { 2 - u64::from(parallel) })
            }
        }
    }
}

/// Multi-token-prediction (draft) layers of the checkpoint, counted by `num_nextn_predict_layers`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draft {
    /// None that is known.
    None,
    /// Each is like the last layer (with an indexer of its own where the model has any), a projection of two hidden
    /// states to one and so many norms.
    LastLayer(u64),
    /// Each has attention and a mixture (Nemotron-H), the projection and three norms.
    AttentionAndMixture,
}

/// Normalisation of queries and keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum QkNorm {
    /// None.
    None,
    /// One scale of `head_dim` for queries, one for keys.
    PerHead(Flag),
    /// A scale for every channel of queries and of keys.
    Full(Flag),
}

/// Where the number of key/value heads is said.
#[derive(Debug, Clone, Copy)]
pub(super) enum KvHeads {
    /// `num_key_value_heads`, as many as query heads without it.
    Key,
    /// One if `multi_query` is set (the default is given), else as many as query heads.
    MultiQuery(bool),
    /// Falcon: `num_kv_heads` under `new_decoder_architecture`, else `multi_query`.
    Falcon,
    /// `multi_query_group_num` if `multi_query_attention` is set.
    Groups,
}

/// Which layers look back only a window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// None; a window key is ignored.
    Never,
    /// All, if `sliding_window` is set.
    Every,
    /// Layers from `max_window_layers` on, if `use_sliding_window` is set.
    IfUsed,
    /// All but each `n`-th, where `sliding_window_pattern` or the default says `n`.
    AllButNth(u64),
    /// GPT-Neo's `attention_types`.
    Alternating,
}

/// Width of the dense feed-forward block.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    /// `intermediate_size`.
    Key,
    /// Half of `intermediate_size`, which counts both halves (Qwen 1).
    Half,
    /// `intermediate_size`, four times the hidden size without it.
    FourTimes,
    /// `intermediate_size`, reduced to two thirds and rounded up unless `block_auto_adjust_ff_dim` is off (LFM2).
    Adjusted,
    /// `expansion_ratio` times the hidden size (MPT).
    Expansion,
}

/// Learned position table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Positions {
    /// None (rotary or ALiBi).
    None,
    /// One row per position plus so many.
    Table(u64),
    /// A table unless `attn_config.alibi` is set (MPT).
    UnlessAlibi,
}

/// Module names as the family's Hugging Face implementation has them; equal names are parts of one fused matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Query, key, value, output.
    pub(super) attention: [&'static str; 4],
    /// Gate, up, down.
    pub(super) mlp: [&'static str; 3],
}

/// Which layers are mixtures.
#[derive(Debug, Clone, Copy)]
pub(super) enum MoeLayers {
    /// All.
    All,
    /// All after `first_k_dense_replace` layers, each `moe_layer_freq`-th of them (a number or a list).
    AfterDense,
    /// `(i + 1) % decoder_sparse_step == 0`, minus `mlp_only_layers`.
    SparseStep,
    /// Each `interleave_moe_layer_step`-th (Llama 4).
    Interleaved,
    /// `i % expert_layer_period == expert_layer_offset` (Jamba).
    Period,
    /// From `moe_layer_start_index` to `moe_layer_end_index`, each `moe_layer_interval`-th (ERNIE).
    Range,
}

/// Experts that every token uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shared {
    /// None.
    None,
    /// `n_shared_experts` of the routed width.
    Count,
    /// The width under a key (0 or absent: none).
    Width(&'static str),
    /// One of the routed width, always.
    One,
}

/// Traits of a mixture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moe {
    /// Which layers.
    pub(super) layers: MoeLayers,
    /// Key of the width of a routed expert.
    pub(super) width: &'static str,
    /// A bias per expert corrects the router.
    pub(super) correction: Flag,
    /// Shared experts.
    pub(super) shared: Shared,
    /// The shared experts' output is gated (`hidden` weights).
    pub(super) shared_gate: bool,
    /// Experts and router have biases.
    pub(super) bias: bool,
    /// Key of the width of dense layers.
    pub(super) dense_width: &'static str,
    /// The family also has dense models: without experts in the config it is one.
    pub(super) optional: bool,
}

/// A family.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own, and rows name only what differs")]
pub(super) struct Family {
    /// Values of `model_type`.
    pub(super) types: &'static [&'static str],
    /// Module names.
    pub(super) names: Names,
    /// Token mixing of every layer.
    pub(super) plan: Plan,
    /// Multi-token-prediction layers.
    pub(super) draft: Draft,
    /// Which layers have windows.
    pub(super) window: Window,
    /// Key/value heads.
    pub(super) kv_heads: KvHeads,
    /// Head width that transformers assumes without `head_dim`; hidden size by heads where `None`.
    pub(super) head_dim: Option<u64>,
    /// Query, key and value projections have biases.
    pub(super) qkv_bias: Flag,
    /// The output projection has a bias.
    pub(super) out_bias: Flag,
    /// Normalisation of queries and keys.
    pub(super) qk_norm: QkNorm,
    /// The query projection also makes an output gate: twice as wide.
    pub(super) query_gate: bool,
    /// A learned sink per head.
    pub(super) sinks: bool,
    /// What norms store.
    pub(super) norm: Norm,
    /// Norms per layer.
    pub(super) norms: Norms,
    /// Norms outside the layers.
    pub(super) outer_norms: u64,
    /// The feed-forward block has a gate.
    pub(super) gated: bool,
    /// Its matrices have biases.
    pub(super) mlp_bias: Flag,
    /// Further parameters per layer (learned activation functions, gates).
    pub(super) extra: u64,
    /// Its width.
    pub(super) width: Width,
    /// Mixture traits.
    pub(super) moe: Option<Moe>,
    /// What transformers assumes without `tie_word_embeddings`.
    pub(super) tied: bool,
    /// The output head has a bias.
    pub(super) head_bias: Flag,
    /// Learned positions.
    pub(super) positions: Positions,
    /// Rows that the embedding has beyond `vocab_size`.
    pub(super) extra_rows: u64,
    /// Vocabulary that transformers assumes without `vocab_size`.
    pub(super) vocab: Option<u64>,
    /// `max_position_embeddings` already counts rope scaling.
    pub(super) context_scaled: bool,
    /// Keys that change the size in ways not modelled: only the given value is accepted.
    pub(super) only: &'static [(&'static str, Only)],
}

/// The one value of a key that is understood.
#[derive(Debug, Clone, Copy)]
pub(super) enum Only {
    /// A flag.
    Bool(bool),
    /// A number.
    Number(u64),
    /// A word.
    Word(&'static str),
}
