//! Tensors kept for the backward pass, per layer, from what PyTorch really saves.
//!
//! Everything is in bytes for one token; `split` is what tensor parallelism always divides (inner widths), `whole` is
//! what it divides only with sequence parallelism (norms and the inputs of the projections).

use crate::estimate::model::{Attention, Heads, LayerGroup, LinearState, Mlp};

/// How the kernels of a trainer save tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent habits of kernels")]
pub struct Kernels {
    /// Bytes of an activation element in compute precision: 2, or 4 for fp32 training.
    pub width: f64,
    /// Bytes of an element of a matrix product's input that is kept: less than `width` with fp8 products.
    pub inputs: f64,
    /// Norms and activation functions run as fused kernels and save their inputs only.
    pub fused: bool,
    /// Norms save their input only although the rest is eager.
    pub fused_norms: bool,
    /// Tensor-parallel projections keep their gathered inputs instead of gathering again in backward.
    pub gathered_inputs: bool,
    /// Parameters and the residual stream are fp32 and every projection casts its own 16-bit copy of its input.
    pub autocast: bool,
    /// Keys and values are repeated to the number of query heads before the attention kernel.
    pub expanded_kv: bool,
    /// The base is frozen: its projections save no inputs, but its adapters do.
    pub frozen: Option<Adapters>,
    /// Frozen projections keep their inputs all the same.
    pub frozen_inputs: bool,
    /// Length of a sequence whose attention scores are kept as a matrix; none with a flash kernel.
    pub scores: Option<f64>,
    /// Masks of hidden dropout are kept, a byte an element, after both halves of a layer.
    pub dropout: bool,
    /// Tokens that the busiest rank's experts get, over the average.
    pub imbalance: f64,
}

/// Which projections have trainable adapters, and how those cast their inputs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Adapters {
    /// Bytes of the element that the adapter's input is cast to (4 for fp32 adapters, else 2).
    pub width: f64,
    /// Adapted query, key and value projections, each counted (0 to 3).
    pub qkv: f64,
    /// The output projection is adapted (0 or 1).
    pub output: f64,
    /// Adapted gate and up projections (0 to 2).
    pub up: f64,
    /// The down projection is adapted (0 or 1).
    pub down: f64,
    /// Dropout keeps a mask of 1 byte and a copy of each adapter's input.
    pub dropout: bool,
}

impl Adapters {
    /// Bytes for one element of the input of `count` adapters that read the same tensor.
    fn inputs(self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        if self.dropout {
            return count * (self.width + 1.0 + if self.width > 2.0 { 2.0 } else { 0.0 });
        }
        // Adapters of the compute precision share their input; a cast makes one copy each.
        if self.width > 2.0 { count * self.width } else { self.width }
    }
}

/// Bytes for one token and layer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Saved {
    /// Divided by tensor parallelism.
    pub split: f64,
    /// Divided by tensor parallelism only together with sequence parallelism.
    pub whole: f64,
    /// Not divided at all.
    pub gathered: f64,
}

impl Saved {
    const fn split(split: f64) -> Self {
        Self { split, whole: 0.0, gathered: 0.0 }
    }

    const fn whole(whole: f64) -> Self {
        Self { split: 0.0, whole, gathered: 0.0 }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            split: self.split + other.split,
            whole: self.whole + other.whole,
            gathered: self.gathered + other.gathered,
        }
    }

    /// Bytes for one token on a rank of `tensor` ranks.
    #[must_use]
    pub fn on_rank(self, tensor: f64, sequence_parallel: bool) -> f64 {
        let whole = if sequence_parallel { self.whole / tensor } else { self.whole };
        self.split / tensor + whole + self.gathered
    }
}

/// What one layer saves without checkpointing.
#[must_use]
pub fn layer(group: &LayerGroup, hidden: u64, kernels: &Kernels) -> Saved {
    let hidden = hidden as f64;
    let masks = if kernels.dropout { 2.0 * hidden } else { 0.0 };
    let norms = Saved::whole(group.norms as f64 * norm(hidden, kernels) + masks);
    norms.plus(attention(group, hidden, kernels)).plus(mlp(&group.mlp, hidden, kernels))
}

/// What one layer saves when matrix products alternate between kept and recomputed and attention is kept.
#[must_use]
pub fn selective(group: &LayerGroup, hidden: u64, kernels: &Kernels) -> Saved {
    let full = layer(group, hidden, kernels);
    let (hidden, width) = (hidden as f64, kernels.width);
    let mixing = match group.attention {
        Attention::Full(heads)
        | Attention::Sliding { heads, .. }
        | Attention::Chunked { heads, .. }
        | Attention::Cross(heads)
        | Attention::SharedKv(heads)
        | Attention::Encoder(heads) => {
            let h = Widths::of(heads);
            width * (h.query + h.value + h.output) + 4.0 * h.heads
        }
        _ => 0.45 * full.split,
    };
    let channel = match group.mlp {
        Mlp::Dense { intermediate, .. } => width * intermediate as f64,
        // Dispatch and combine are kept with half of the experts' products.
        Mlp::Moe { top_k, intermediate, shared_intermediate, .. } => {
            width * (top_k as f64 * (intermediate as f64 + hidden) + shared_intermediate as f64)
        }
        Mlp::None => 0.0,
    };
    let kept = Saved { split: mixing + channel, whole: 2.0 * width * hidden, gathered: 0.0 };
    Saved { split: kept.split.min(full.split), whole: kept.whole.min(full.whole.max(width * hidden)), gathered: 0.0 }
}

/// What one layer saves when some of its modules are recomputed: Megatron's names; unknown ones save nothing.
#[must_use]
pub fn without_modules(group: &LayerGroup, hidden: u64, kernels: &Kernels, modules: &[String]) -> Saved {
    let all = layer(group, hidden, kernels);
    let h = hidden as f64;
    let mut less = Saved::default();
    let has = |name: &str| modules.iter().any(|module| module == name);
    let channel = mlp(&group.mlp, h, kernels);
    let recomputed = match group.mlp {
        Mlp::Dense { .. } => has("mlp"),
        Mlp::Moe { .. } => has("moe"),
        Mlp::None => false,
    };
    if recomputed {
        // The module's input stays.
        let kept = input(kernels.inputs * h, kernels);
        less = less.plus(Saved {
            split: channel.split,
            whole: (channel.whole - kept.whole).max(0.0),
            gathered: (channel.gathered - kept.gathered).max(0.0),
        });
    } else if let Mlp::Moe { top_k, intermediate, .. } = group.mlp
        && has("moe_act")
    {
        less.split += kernels.width * top_k as f64 * intermediate as f64;
    }
    if has("layernorm") {
        less.whole += group.norms as f64 * norm(h, kernels) / 2.0;
    }
    if let Attention::Latent { heads, nope, value, .. } = group.attention
        && has("mla_up_proj")
    {
        less.split += kernels.width * heads as f64 * nope.saturating_add(value) as f64;
    }
    Saved {
        split: (all.split - less.split).max(0.0),
        whole: (all.whole - less.whole).max(kernels.width * h),
        gathered: (all.gathered - less.gathered).max(0.0),
    }
}

/// What one layer saves when it is checkpointed: its input.
#[must_use]
pub fn checkpoint(hidden: u64, kernels: &Kernels) -> Saved {
    let width = if kernels.autocast { 4.0 } else { kernels.width };
    Saved::whole(width * hidden as f64)
}

/// Keys and values that a layer's attention keeps for each token of another sequence, here an encoder's output.
#[must_use]
pub fn source(group: &LayerGroup, kernels: &Kernels) -> Saved {
    match group.attention {
        Attention::Cross(heads) => {
            let widths = Widths::of(heads);
            Saved::split(kernels.width * (widths.key + widths.value))
        }
        _ => Saved::default(),
    }
}

/// Temporaries of one layer inside backward: gradients of its widest tensors.
#[must_use]
pub fn backward(group: &LayerGroup, hidden: u64, kernels: &Kernels) -> Saved {
    let inner = match group.mlp {
        Mlp::Dense { intermediate, .. } => intermediate as f64,
        Mlp::Moe { top_k, intermediate, shared_intermediate, .. } => {
            (top_k as f64 * kernels.imbalance).mul_add(intermediate as f64, shared_intermediate as f64)
        }
        Mlp::None => 0.0,
    };
    Saved { split: 2.0 * kernels.width * inner, whole: 2.0 * kernels.width * hidden as f64, gathered: 0.0 }
}

/// What the final norm and the input of the head save.
#[must_use]
pub fn head(hidden: u64, kernels: &Kernels) -> f64 {
    let hidden = hidden as f64;
    norm(hidden, kernels) + if kernels.frozen.is_some() { 0.0 } else { kernels.width * hidden }
}

/// One norm over `width` elements.
fn norm(elements: f64, kernels: &Kernels) -> f64 {
    let bytes = match (kernels.fused || kernels.fused_norms, kernels.frozen.is_some()) {
        // The input alone; it is the residual stream.
        (true, _) => kernels.width,
        // An fp32 copy of the input; the normalised tensor too where the norm's weight is trained.
        (false, true) => 4.0,
        (false, false) if kernels.autocast => 8.0,
        (false, false) => 4.0 + kernels.width,
    };
    elements * bytes
}

/// Elements for one token of the tensors around an attention kernel.
#[derive(Debug, Clone, Copy)]
struct Widths {
    heads: f64,
    query: f64,
    key: f64,
    value: f64,
    output: f64,
}

impl Widths {
    fn of(heads: Heads) -> Self {
        let (query_heads, kv_heads) = (heads.heads as f64, heads.kv_heads as f64);
        let (key_dim, value_dim) = (heads.key_dim as f64, heads.value_dim as f64);
        Self {
            heads: query_heads,
            query: query_heads * key_dim,
            key: kv_heads * key_dim,
            value: kv_heads * value_dim,
            output: query_heads * value_dim,
        }
    }
}

fn attention(group: &LayerGroup, hidden: f64, kernels: &Kernels) -> Saved {
    match group.attention {
        Attention::Full(heads)
        | Attention::Sliding { heads, .. }
        | Attention::Chunked { heads, .. }
        | Attention::Cross(heads)
        | Attention::SharedKv(heads)
        | Attention::Encoder(heads) => softmax(heads, hidden, kernels),
        Attention::Latent { heads, latent, rope, nope, value, q_latent, .. } => {
            let (heads, latent) = (heads as f64, latent as f64);
            let key = heads * (nope.saturating_add(rope)) as f64;
            let output = heads * value as f64;
            let compressed = latent + q_latent.unwrap_or(0) as f64;
            let widths = Widths { heads, query: key, key, value: output, output };
            let inner = kernel(widths, kernels) + kernels.width * (output + key);
            let latents = norm(compressed, kernels) + kernels.width * (compressed + rope as f64);
            Saved { split: inner, whole: latents, gathered: 0.0 }.plus(inputs(hidden, kernels, 2.0))
        }
        Attention::Linear(state) | Attention::Mamba(state) => recurrent(state, mixed(group, hidden), hidden, kernels),
        Attention::None => Saved::default(),
    }
}

fn softmax(heads: Heads, hidden: f64, kernels: &Kernels) -> Saved {
    let widths = Widths::of(heads);
    let qk_norm = if heads.qk_norm { norm(widths.query + widths.key, kernels) } else { 0.0 };
    let adapted = kernels.frozen.map_or(0.0, |adapters| {
        let cast = adapters.inputs(adapters.output);
        // 16-bit adapters of the output projection share their input with the attention kernel.
        let shared = adapters.width <= 2.0 && !adapters.dropout;
        if shared { 0.0 } else { cast * widths.output }
    });
    Saved::split(kernel(widths, kernels) + qk_norm + adapted).plus(inputs(hidden, kernels, 3.0))
}

/// Queries, keys, values, output and log-sum-exp that a flash kernel saves; the output is the next projection's input.
fn kernel(widths: Widths, kernels: &Kernels) -> f64 {
    let (key, value) = if kernels.expanded_kv { (widths.query, widths.output) } else { (widths.key, widths.value) };
    // Under autocast rotary embeddings promote queries and keys to fp32 and the projection keeps its own input.
    let (input_width, output_copies) =
        if kernels.autocast && !kernels.fused { (4.0, 2.0) } else { (kernels.width, 1.0) };
    let scores = match kernels.scores {
        // Probabilities, and with dropout their mask and the dropped copy; eager softmax runs in fp32 first.
        Some(length) if kernels.fused => length * widths.heads * if kernels.dropout { 5.0 } else { kernels.width },
        Some(length) => length * widths.heads * (4.0 + kernels.width),
        None => 4.0 * widths.heads,
    };
    (widths.query + key + value).mul_add(input_width, widths.output * kernels.width * output_copies) + scores
}

/// The input of `projections` matrices that read the same tensor of the residual stream's width.
fn inputs(hidden: f64, kernels: &Kernels, projections: f64) -> Saved {
    match kernels.frozen {
        Some(adapters) => {
            let kept = if kernels.frozen_inputs { kernels.width } else { 0.0 };
            Saved::whole(hidden * adapters.inputs(adapters.qkv).max(kept))
        }
        None if kernels.autocast && !kernels.fused => Saved::whole(hidden * kernels.width * projections),
        None => input(hidden * kernels.inputs, kernels),
    }
}

/// The shared input of projections.
const fn input(bytes: f64, kernels: &Kernels) -> Saved {
    if kernels.gathered_inputs { Saved { split: 0.0, whole: 0.0, gathered: bytes } } else { Saved::whole(bytes) }
}

/// Width of what a recurrent mixer hands to its last projection.
fn mixed(group: &LayerGroup, hidden: f64) -> f64 {
    let last = group.tensors.iter().filter(|tensor| matches!(tensor.module, "out_proj" | "o_proj"));
    last.map(|tensor| tensor.cols as f64).fold(hidden, f64::max)
}

/// What a recurrent mixer saves: the projected channels and the gate, the scan's output, and what the gated norm makes
/// of it. Kernels that are not fused keep the convolution's output too.
fn recurrent(state: LinearState, inner: f64, hidden: f64, kernels: &Kernels) -> Saved {
    let channels = (state.conv_channels as f64).max(inner);
    let convolved = if kernels.fused { 0.0 } else { channels };
    let small = 2.0 * state.heads as f64;
    Saved::split(kernels.width * (channels + convolved + 2.0 * inner + small) + norm(inner, kernels))
        .plus(inputs(hidden, kernels, 1.0))
}

fn mlp(mlp: &Mlp, hidden: f64, kernels: &Kernels) -> Saved {
    match *mlp {
        Mlp::Dense { intermediate, gated } => dense(intermediate as f64, gated, hidden, kernels),
        Mlp::Moe { experts, top_k, intermediate, shared_intermediate, gated } => {
            let each = dense(intermediate as f64, gated, hidden, &Kernels { autocast: false, ..*kernels });
            let top_k = top_k as f64 * kernels.imbalance;
            // Permuted inputs and the experts' outputs, for every expert that a token uses.
            let permuted = top_k * 2.0 * kernels.width * hidden;
            let shared = if shared_intermediate > 0 {
                Saved::split(dense(shared_intermediate as f64, gated, hidden, kernels).split)
            } else {
                Saved::default()
            };
            let router = 4.0 * experts as f64 + if kernels.frozen.is_some() { 0.0 } else { kernels.width * hidden };
            Saved { split: top_k * each.split, whole: permuted + router, gathered: 0.0 }.plus(shared)
        }
        Mlp::None => Saved::default(),
    }
}

fn dense(inner: f64, gated: bool, hidden: f64, kernels: &Kernels) -> Saved {
    // Inputs of the activation function, of the product with the gate and of the last projection.
    let trained: f64 = match (gated, kernels.fused) {
        (true, false) => 4.0,
        (true, true) => 3.0,
        (false, _) => 2.0,
    };
    let Some(adapters) = kernels.frozen else {
        let projections = if kernels.autocast && !kernels.fused && gated { 2.0 } else { 1.0 };
        let kept = (trained - 1.0).mul_add(kernels.width, kernels.inputs);
        return Saved::split(kept * inner).plus(input(projections * kernels.inputs * hidden, kernels));
    };
    let kept = if kernels.frozen_inputs { kernels.width } else { 0.0 };
    Saved {
        split: ((trained - 1.0) * kernels.width + adapters.inputs(adapters.down).max(kept)) * inner,
        whole: adapters.inputs(adapters.up).max(kept) * hidden,
        gathered: 0.0,
    }
}

#[cfg(test)]
mod tests;
