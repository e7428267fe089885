//! A model as the estimator sees it: layer groups made of attention, mlp and the tensors that they store.
//!
//! Nothing here knows a model by name. Readers ([`hf_config`], [`gguf`]) turn files into this shape; the memory terms sum it.

mod cache;
pub mod checkpoint;
pub mod gguf;
pub mod hf_config;
pub mod quantization;
pub mod safetensors;

use super::dtype::DType;
use super::measured::Measured;
pub use quantization::Quantization;

/// Everything about a model that decides memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the user calls it, e.g. `meta-llama/Llama-2-7b-hf`; only shown, never matched on.
    pub name: String,
    /// `model_type` of the config, e.g. `llama`; only shown.
    pub model_type: String,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Rows of the embedding, before any engine's padding.
    pub vocab_size: u64,
    /// The output head is the embedding matrix: stored once.
    pub tied_embeddings: bool,
    /// The longest context the model was made for, in tokens (rope-scaled), if the config says.
    pub max_position_embeddings: Option<u64>,
    /// The format of unquantized tensors in the checkpoint.
    pub dtype: DType,
    /// How the checkpoint is quantized, if it is.
    pub quantization: Option<Quantization>,
    /// The decoder's layers in order, equal neighbours merged.
    pub layers: Vec<LayerGroup>,
    /// Tensors outside the layers: embedding, head (absent when tied), final norm, position tables, vision tower...
    pub outer: Vec<Tensor>,
    /// Multi-token-prediction (draft) layers in the checkpoint; loaded only with speculative decoding.
    pub mtp: Vec<LayerGroup>,
    /// Rows of the tables of rotary cosines and sines that engines keep beside the weights: positions, times the factor
    /// of linear scaling, once for every kind of rotation; 0 without rotary embedding.
    pub rotary_rows: u64,
    /// Final logits are soft-capped (Gemma 2): the loss keeps extra copies.
    pub logit_softcap: bool,
    /// Exact bytes of the checkpoint's tensors that a server loads, where known ([`checkpoint`], `ModelProfile`): without
    /// draft layers and without a stored copy of a tied head. Beats derived sizes.
    pub checkpoint_bytes: Option<checkpoint::CheckpointBytes>,
    /// What it was seen to need (`ModelProfile`): beats the estimate of runs of the same kind.
    pub measured: Option<Measured>,
}

/// `count` equal layers.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerGroup {
    /// How many layers in a row are like this.
    pub count: u64,
    /// Token mixing: decides the cache.
    pub attention: Attention,
    /// Channel mixing: decides activations and expert sharding.
    pub mlp: Mlp,
    /// Norms in one layer: count, kind and whether fused kernels are usual does not matter here.
    pub norms: u64,
    /// Every stored tensor of one layer.
    pub tensors: Vec<Tensor>,
}

/// Token mixing of one layer. Head counts are global (before tensor parallelism).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attention {
    /// Every token attends to all before it: MHA (`kv_heads == heads`), GQA or MQA (`kv_heads == 1`).
    Full(Heads),
    /// Attends to the last `window` tokens.
    Sliding {
        /// Heads.
        heads: Heads,
        /// Tokens.
        window: u64,
    },
    /// Attends inside chunks of `chunk` tokens (Llama 4).
    Chunked {
        /// Heads.
        heads: Heads,
        /// Tokens.
        chunk: u64,
    },
    /// Multi-head latent attention: one latent per token for all heads, on every tensor-parallel rank.
    Latent {
        /// Query heads.
        heads: u64,
        /// `kv_lora_rank`, elements.
        latent: u64,
        /// `qk_rope_head_dim`, elements.
        rope: u64,
        /// `qk_nope_head_dim`, elements.
        nope: u64,
        /// `v_head_dim`, elements.
        value: u64,
        /// `q_lora_rank`, elements, where queries are compressed too.
        q_latent: Option<u64>,
        /// Width of the sparse indexer's key cache per token (`index_head_dim`), where the layer owns an indexer.
        indexer: Option<u64>,
    },
    /// Gated delta rule / KDA / lightning attention: a state per sequence, no growth with length.
    Linear(LinearState),
    /// Mamba 1 or 2: a state per sequence.
    Mamba(LinearState),
    /// Attends to an encoder's output: cache per source token, once a request.
    Cross(Heads),
    /// Uses the cache of an earlier layer; owns none.
    SharedKv(Heads),
    /// Bidirectional (encoder): no cache.
    Encoder(Heads),
    /// No token mixing in this layer.
    None,
}

/// Heads of softmax attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: u64,
    /// Key/value heads.
    pub kv_heads: u64,
    /// Width of a key (and query) head.
    pub key_dim: u64,
    /// Width of a value head.
    pub value_dim: u64,
    /// Queries and keys are normalised (saves extra activations in training).
    pub qk_norm: bool,
}

/// State per sequence and layer of a recurrent mixer, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearState {
    /// Channels of the short convolution; 0 without one.
    pub conv_channels: u64,
    /// Kernel width of the convolution; the engine keeps `conv_kernel - 1` columns.
    pub conv_kernel: u64,
    /// Elements of the recurrent state.
    pub recurrent: u64,
    /// Heads that tensor parallelism divides.
    pub heads: u64,
    /// Groups (or key heads) that tensor parallelism divides.
    pub groups: u64,
    /// The config asks for an fp32 recurrent state.
    pub fp32_state: bool,
}

/// Channel mixing of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mlp {
    /// One feed-forward block: gated (`gate`, `up`, `down`: three matrices) or plain (two).
    Dense {
        /// Inner width.
        intermediate: u64,
        /// Has a gate matrix (SwiGLU, GeGLU).
        gated: bool,
    },
    /// A mixture of experts.
    Moe {
        /// Routed experts, all resident.
        experts: u64,
        /// Experts each token uses.
        top_k: u64,
        /// Inner width of one routed expert.
        intermediate: u64,
        /// Inner width of all shared experts together; 0 without.
        shared_intermediate: u64,
        /// Experts have gate matrices.
        gated: bool,
    },
    /// No mlp in this layer.
    None,
}

/// One stored matrix or vector, `copies` times (experts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Module name as Hugging Face models call it, the last component: `q_proj`, `down_proj`, `embed_tokens`, `lm_head`, `norm`.
    pub module: &'static str,
    /// Output features; the length of a vector.
    pub rows: u64,
    /// Input features; 1 for a vector.
    pub cols: u64,
    /// How many of them one layer has (experts); 1 otherwise.
    pub copies: u64,
    /// What it is: decides whether quantization touches it and whether LoRA can target it.
    pub kind: TensorKind,
    /// How tensor and expert parallelism divide it.
    pub split: Split,
}

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorKind {
    /// A linear layer's weight: quantized with the model, a LoRA target.
    Linear,
    /// The weight of routed experts: quantized, rarely a LoRA target.
    Expert,
    /// Token embedding: stays in 16 bit.
    Embedding,
    /// Output head: stays in 16 bit.
    Head,
    /// Router of a mixture: stays in 16 bit or 32.
    Router,
    /// Norms, biases, sinks, convolution kernels, recurrence parameters: small, never quantized.
    Vector,
    /// A vision or audio tower, or its projector: stays in 16 bit.
    Tower,
}

/// How parallelism divides a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Every rank holds all of it.
    Replicated,
    /// Divided by the tensor-parallel degree.
    Tensor,
    /// Divided over key/value heads: replicated once the degree exceeds them.
    KvHeads(u64),
    /// Divided by rows of the vocabulary (padded by engines).
    Vocab,
    /// Divided by expert parallelism, else by tensor parallelism.
    Expert,
}

impl Tensor {
    /// Number of parameters, saturating.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.rows.saturating_mul(self.cols).saturating_mul(self.copies)
    }
}

impl LayerGroup {
    /// Parameters of one layer.
    #[must_use]
    pub fn layer_parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.parameters()))
    }
}

impl Model {
    /// Bytes of the checkpoint as they follow from shape, format and quantization.
    #[must_use]
    pub fn stored_bytes(&self) -> f64 {
        checkpoint::derived(self) as f64
    }

    /// Bytes of the draft layers that the checkpoint holds beside, by the same rule.
    #[must_use]
    pub fn draft_bytes(&self) -> f64 {
        checkpoint::drafts(self) as f64
    }

    /// Number of decoder layers, without MTP.
    #[must_use]
    pub fn layer_count(&self) -> u64 {
        self.layers.iter().fold(0, |sum, group| sum.saturating_add(group.count))
    }

    /// Unique parameters, without MTP layers.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.weights().fold(0, |sum, (count, tensor)| sum.saturating_add(count.saturating_mul(tensor.parameters())))
    }

    /// Every stored tensor with the number of layers that have it, without MTP layers.
    pub fn weights(&self) -> impl Iterator<Item = (u64, &Tensor)> {
        let layers = self.layers.iter().flat_map(|group| group.tensors.iter().map(move |tensor| (group.count, tensor)));
        layers.chain(self.outer.iter().map(|tensor| (1, tensor)))
    }
}
