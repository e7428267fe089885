//! Decoders that Megatron-LM builds from its arguments. No checkpoint has these types: the reader of its command line
//! writes them.

use super::super::family::{Family, Flag, Moe, MoeLayers, Names, Norm, Positions, QkNorm, Shared, Width};
use super::{LLAMA, MIXTRAL_MOE, SEPARATE};

const EXPERTS: Moe = Moe {
    layers: MoeLayers::AfterDense,
    width: "moe_intermediate_size",
    shared: Shared::Width("shared_expert_intermediate_size"),
    optional: true,
    ..MIXTRAL_MOE
};

const GATED: Family = Family {
    types: &["megatron-gated"],
    names: Names { attention: ["qkv_proj", "qkv_proj", "qkv_proj", "o_proj"], ..SEPARATE },
    qkv_bias: Flag::Key("add_bias_linear", true),
    out_bias: Flag::Key("add_bias_linear", true),
    mlp_bias: Flag::Key("add_bias_linear", true),
    qk_norm: QkNorm::PerHead(Flag::Key("qk_layernorm", false)),
    moe: Some(EXPERTS),
    tied: true,
    positions: Positions::Table(0),
    ..LLAMA
};

const PLAIN: Family =
    Family { types: &["megatron"], gated: false, norm: Norm::ScaleAndBias, width: Width::FourTimes, ..GATED };

/// Rows.
pub(super) const FAMILIES: &[Family] = &[
    GATED,
    PLAIN,
    Family { types: &["megatron-gated-rope"], positions: Positions::None, ..GATED },
    Family { types: &["megatron-rope"], positions: Positions::None, ..PLAIN },
];
