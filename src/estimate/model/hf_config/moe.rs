//! Mixtures of experts: which layers, routed and shared experts, routers.

use crate::estimate::model::{Mlp, Split, Tensor, TensorKind};

use super::Build;
use super::error::ConfigError;
use super::family::{Moe, MoeLayers, Shared};
use super::feed::{self, Feed};
use super::keys::Keys;
use super::parts::{matrix, vector};

/// Experts beyond this are typing errors.
const MOST_EXPERTS: u64 = 1 << 16;

/// Channel mixing of every layer.
pub(super) fn feeds(build: &Build<'_>, layers: u64) -> Result<Vec<Feed>, ConfigError> {
    let Some(moe) = build.family.moe else { return Ok(vec![Feed::Dense; layers as usize]) };
    let keys = build.keys;
    if moe.optional && keys.count("num_experts")?.unwrap_or(0) == 0 {
        return Ok(vec![Feed::Dense; layers as usize]);
    }
    if let Some(types) = keys.words("mlp_layer_types", layers)? {
        keys.touch("first_k_dense_replace");
        keys.touch("moe_layer_freq");
        return types.iter().map(|kind| by_word(keys, kind)).collect();
    }
    let sparse = sparse_layers(keys, moe.layers, layers)?;
    Ok(sparse.into_iter().map(|sparse| if sparse { Feed::Moe } else { Feed::Dense }).collect())
}

fn by_word(keys: &Keys<'_>, kind: &str) -> Result<Feed, ConfigError> {
    match kind {
        "dense" => Ok(Feed::Dense),
        "sparse" | "moe" => Ok(Feed::Moe),
        _ => Err(keys.invalid("mlp_layer_types", "`dense` and `sparse` are known")),
    }
}

fn sparse_layers(keys: &Keys<'_>, rule: MoeLayers, layers: u64) -> Result<Vec<bool>, ConfigError> {
    let all = 0..layers;
    Ok(match rule {
        MoeLayers::All => all.map(|_| true).collect(),
        MoeLayers::AfterDense => after_dense(keys, layers)?,
        MoeLayers::SparseStep => {
            let step = keys.count("decoder_sparse_step")?.unwrap_or(1);
            let dense = keys.indices("mlp_only_layers")?.unwrap_or_default();
            all.map(|i| step > 0 && (i + 1) % step == 0 && !dense.contains(&i)).collect()
        }
        MoeLayers::Interleaved => {
            let listed = keys.indices("moe_layers")?;
            let step = keys.size_or("interleave_moe_layer_step", 1)?;
            all.map(|i| listed.as_ref().map_or((i + 1) % step == 0, |listed| listed.contains(&i))).collect()
        }
        MoeLayers::Period => {
            let period = keys.size_or("expert_layer_period", 2)?;
            let offset = keys.count("expert_layer_offset")?.unwrap_or(1);
            all.map(|i| i % period == offset).collect()
        }
        MoeLayers::Range => {
            let from = keys.count("moe_layer_start_index")?.unwrap_or(1);
            let to = match keys.value("moe_layer_end_index").and_then(serde_json::Value::as_i64) {
                None | Some(-1) => layers,
                Some(_) => keys.count("moe_layer_end_index")?.unwrap_or(layers).saturating_add(1),
            };
            let step = keys.size_or("moe_layer_interval", 1)?;
            all.map(|i| i >= from && i < to && (i + 1) % step == 0).collect()
        }
    })
}

fn after_dense(keys: &Keys<'_>, layers: u64) -> Result<Vec<bool>, ConfigError> {
    if keys.value("moe_layer_freq").is_some_and(serde_json::Value::is_array) {
        keys.touch("first_k_dense_replace");
        return Ok(keys.switches("moe_layer_freq", layers)?.unwrap_or_default());
    }
    let dense = keys
        .count("first_k_dense_replace")?
        .ok_or_else(|| keys.missing("first_k_dense_replace", "it says how many layers are dense"))?;
    let step = keys.size_or("moe_layer_freq", 1)?;
    Ok((0..layers).map(|i| i >= dense && i % step == 0).collect())
}

/// Numbers of a mixture.
struct Sizes {
    experts: u64,
    top_k: u64,
    intermediate: u64,
    shared: u64,
    /// Width that the routed experts read and write.
    hidden: u64,
}

fn experts(build: &Build<'_>, moe: &Moe) -> Result<Sizes, ConfigError> {
    let keys = build.keys;
    let experts = keys.size("num_experts")?;
    if experts > MOST_EXPERTS {
        return Err(keys.invalid("num_experts", format!("at most {MOST_EXPERTS} are believed")));
    }
    let top_k = keys.size("num_experts_per_tok")?;
    if top_k > experts {
        return Err(keys.invalid("num_experts_per_tok", format!("it must not exceed the {experts} experts")));
    }
    let intermediate = keys.size(moe.width)?;
    let shared = match moe.shared {
        Shared::None => 0,
        Shared::One => intermediate,
        Shared::Count => keys.count("n_shared_experts")?.unwrap_or(0) * intermediate,
        Shared::Width(key) => keys.count(key)?.unwrap_or(0),
    };
    let hidden = keys.size_or("moe_latent_size", build.hidden)?;
    Ok(Sizes { experts, top_k, intermediate, shared, hidden })
}

/// A mixture: routed experts, router, shared experts.
pub(super) fn mixture(build: &Build<'_>) -> Result<(Mlp, Vec<Tensor>), ConfigError> {
    let Some(moe) = build.family.moe else {
        return Err(build.keys.missing("num_experts", "this model type has no mixture layers"));
    };
    let sizes = experts(build, &moe)?;
    let mut tensors = Vec::with_capacity(12);
    router(&mut tensors, build, &moe, &sizes)?;
    routed(&mut tensors, build, &moe, &sizes);
    if sizes.shared > 0 {
        feed::matrices(&mut tensors, build, sizes.shared, build.family.gated, false);
        if moe.shared_gate {
            tensors.push(Tensor {
                kind: TensorKind::Router,
                ..matrix("shared_expert_gate", 1, build.hidden, Split::Replicated)
            });
        }
    }
    let Sizes { experts, top_k, intermediate, shared, .. } = sizes;
    let gated = build.family.gated;
    Ok((Mlp::Moe { experts, top_k, intermediate, shared_intermediate: shared, gated }, tensors))
}

fn router(into: &mut Vec<Tensor>, build: &Build<'_>, moe: &Moe, sizes: &Sizes) -> Result<(), ConfigError> {
    let gate = matrix("gate", sizes.experts, build.hidden, Split::Replicated);
    into.push(Tensor { kind: TensorKind::Router, ..gate });
    if moe.correction.get(build.keys)? || moe.bias {
        into.push(vector("e_score_correction_bias", sizes.experts, Split::Replicated));
    }
    if sizes.hidden != build.hidden {
        into.push(matrix("fc1_latent_proj", sizes.hidden, build.hidden, Split::Replicated));
        into.push(matrix("fc2_latent_proj", build.hidden, sizes.hidden, Split::Replicated));
    }
    Ok(())
}

fn routed(into: &mut Vec<Tensor>, build: &Build<'_>, moe: &Moe, sizes: &Sizes) {
    let [gate, up, down] = build.family.names.mlp;
    let expert = |module, rows, cols| Tensor {
        copies: sizes.experts,
        kind: TensorKind::Expert,
        ..matrix(module, rows, cols, Split::Expert)
    };
    let bias = |module, rows| Tensor { copies: sizes.experts, ..vector(module, rows, Split::Expert) };
    let inner = if build.family.gated { &[gate, up][..] } else { &[up][..] };
    for module in inner {
        into.push(expert(module, sizes.intermediate, sizes.hidden));
        if moe.bias {
            into.push(bias(module, sizes.intermediate));
        }
    }
    into.push(expert(down, sizes.hidden, sizes.intermediate));
    if moe.bias {
        into.push(bias(down, sizes.hidden));
    }
}
