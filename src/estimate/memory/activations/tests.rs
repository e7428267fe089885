//! Against tensors that PyTorch was seen to save.

use super::*;
use crate::estimate::model::{Split, Tensor, TensorKind};

const EAGER: Kernels = Kernels {
    width: 2.0,
    inputs: 2.0,
    fused: false,
    fused_norms: false,
    gathered_inputs: false,
    autocast: false,
    expanded_kv: true,
    frozen: None,
    frozen_inputs: false,
    scores: None,
    dropout: false,
    imbalance: 1.0,
};

fn block(heads: Heads, mlp: Mlp, norms: u64) -> LayerGroup {
    LayerGroup { count: 1, attention: Attention::Full(heads), mlp, norms, tensors: Vec::new() }
}

fn heads(heads: u64, kv_heads: u64, dim: u64, qk_norm: bool) -> Heads {
    Heads { heads, kv_heads, key_dim: dim, value_dim: dim, qk_norm }
}

fn dense(intermediate: u64) -> Mlp {
    Mlp::Dense { intermediate, gated: true }
}

fn llama3_8b() -> LayerGroup {
    block(heads(32, 8, 128, false), dense(14336), 2)
}

/// Bytes of one layer over batch x sequence x hidden, the unit of published per-layer figures.
fn bsh(group: &LayerGroup, hidden: u64, kernels: &Kernels) -> f64 {
    layer(group, hidden, kernels).on_rank(1.0, false) / hidden as f64
}

fn close(actual: f64, expected: f64) {
    assert!((actual / expected - 1.0).abs() < 0.005, "{actual} instead of {expected}");
}

#[test]
fn eager_blocks_save_what_the_saved_tensor_hooks_saw() {
    close(bsh(&block(heads(32, 32, 128, false), dense(11008), 2), 4096, &EAGER), 45.53);
    close(bsh(&llama3_8b(), 4096, &EAGER), 52.03);
    close(bsh(&block(heads(28, 4, 128, false), dense(18944), 2), 3584, &EAGER), 66.32);
    close(bsh(&block(heads(32, 8, 128, true), dense(12288), 2), 4096, &EAGER), 55.57);
    close(bsh(&block(heads(64, 8, 128, true), dense(25600), 2), 5120, &EAGER), 79.71);
    close(bsh(&block(heads(32, 8, 64, false), dense(8192), 2), 2048, &EAGER), 56.07);
}

#[test]
fn experts_save_for_every_expert_that_a_token_uses() {
    let moe =
        |experts, top_k, intermediate| Mlp::Moe { experts, top_k, intermediate, shared_intermediate: 0, gated: true };
    close(bsh(&block(heads(32, 8, 128, false), moe(8, 2, 14336), 2), 4096, &EAGER), 88.06);
    close(bsh(&block(heads(32, 4, 128, true), moe(128, 8, 768), 2), 2048, &EAGER), 102.04);
}

#[test]
fn autocast_keeps_fp32_residuals_and_a_cast_for_each_projection() {
    close(bsh(&llama3_8b(), 4096, &Kernels { autocast: true, ..EAGER }), 70.03);
}

#[test]
fn adapters_can_save_more_than_full_training() {
    let all = Adapters { width: 4.0, qkv: 3.0, output: 1.0, up: 2.0, down: 1.0, dropout: false };
    let queries_and_values = Adapters { width: 4.0, qkv: 2.0, ..Adapters::default() };
    let saved = |adapters| bsh(&llama3_8b(), 4096, &Kernels { frozen: Some(adapters), ..EAGER });
    close(saved(all), 75.14);
    close(saved(queries_and_values), 45.06);
    close(saved(Adapters { width: 2.0, ..all }), 48.09);
    close(saved(Adapters { width: 2.0, ..queries_and_values }), 39.05);
    assert!(saved(all) > bsh(&llama3_8b(), 4096, &EAGER));
}

#[test]
fn a_checkpoint_is_the_layers_input_and_selective_lies_between() {
    let group = llama3_8b();
    let full = checkpoint(4096, &EAGER).on_rank(1.0, false);
    let selective = selective(&group, 4096, &EAGER).on_rank(1.0, false);
    close(full, 2.0 * 4096.0);
    assert!(selective > full && selective < 0.5 * layer(&group, 4096, &EAGER).on_rank(1.0, false));
}

#[test]
fn recomputed_modules_save_less_and_unknown_ones_nothing() {
    let group = llama3_8b();
    let saved = |modules: &[&str]| {
        let modules: Vec<String> = modules.iter().map(|&module| module.to_owned()).collect();
        without_modules(&group, 4096, &EAGER, &modules).on_rank(1.0, false)
    };
    let all = layer(&group, 4096, &EAGER).on_rank(1.0, false);
    close(saved(&["core_attn"]), all);
    // Everything of the feed-forward block but its input: 8 bytes for each of its inner elements.
    close(saved(&["mlp"]), all - 8.0 * 14336.0);
    assert!(saved(&["layernorm"]) < all);
}

#[test]
fn a_mamba_mixer_keeps_its_projection_and_the_scans_output() {
    // Mamba 2 of width 2048 (32 heads of 64, 8 groups, state of 128) over a hidden size of 1024.
    let state = LinearState {
        conv_channels: 2048 + 2 * 8 * 128,
        conv_kernel: 4,
        recurrent: 2048 * 128,
        heads: 32,
        groups: 8,
        fp32_state: false,
    };
    let last = Tensor {
        module: "out_proj",
        rows: 1024,
        cols: 2048,
        copies: 1,
        kind: TensorKind::Linear,
        split: Split::Tensor,
    };
    let group =
        LayerGroup { count: 1, attention: Attention::Mamba(state), mlp: Mlp::None, norms: 1, tensors: vec![last] };
    let fused = layer(&group, 1024, &Kernels { fused: true, fused_norms: true, expanded_kv: false, ..EAGER });
    // Channels, gate, scan and gated norm, two small numbers a head, and the inputs of norm and projection.
    close(fused.on_rank(1.0, false), 2.0 * (4096.0 + 3.0 * 2048.0 + 64.0 + 2.0 * 1024.0));
    let eager = layer(&group, 1024, &EAGER);
    assert!(eager.on_rank(1.0, false) > fused.on_rank(1.0, false) + 2.0 * 4096.0);
}

#[test]
fn sequence_parallelism_divides_the_rest() {
    let saved = layer(&llama3_8b(), 4096, &EAGER);
    assert!(saved.on_rank(4.0, true) < saved.on_rank(4.0, false));
    close(saved.on_rank(4.0, true) * 4.0, saved.on_rank(1.0, false));
}
