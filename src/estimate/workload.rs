//! What runs: task, model, engine or trainer, parallelism and knobs, everything resolved.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dtype::DType;
use super::model::{Model, Quantization};
use super::units::Bytes;

/// What the GPU memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Serving.
    Inference,
    /// Training or fine-tuning.
    Training,
}

/// Everything that the estimator needs to know about a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Serving or training.
    pub task: Task,
    /// The model, or as much of it as is known.
    pub model: ModelFacts,
    /// How the replica is split over GPUs.
    pub parallelism: Parallelism,
    /// Format of weights and activations asked of the engine; the model's own otherwise.
    pub dtype: Option<DType>,
    /// Quantization asked of the engine (`--quantization`), where it differs from the checkpoint's.
    pub quantization: Option<Quantization>,
    /// Format of the KV cache; the model's own otherwise.
    pub kv_cache_dtype: Option<DType>,
    /// Longest context (serving) or sequence length (training), tokens.
    pub context_length: Option<u64>,
    /// Concurrent sequences (serving) or micro-batch per GPU (training).
    pub batch_size: Option<u64>,
    /// The serving engine and what it was told.
    pub engine: Engine,
    /// Training settings; ignored for inference.
    pub training: Training,
    /// Which arithmetic to use.
    pub method: Method,
}

/// What is known about the model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelFacts {
    /// The architecture, layer by layer.
    Known(Arc<Model>),
    /// Only a size and a shape: enough for the reference formula.
    Shape(Shape),
}

/// The few numbers of the reference formula.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Parameter count.
    pub parameters: f64,
    /// Layers.
    pub layers: Option<u64>,
    /// Width of the residual stream.
    pub hidden_size: Option<u64>,
    /// Attention heads (of keys and values, if they are fewer).
    pub heads: Option<u64>,
    /// Width of a head.
    pub head_dim: Option<u64>,
}

/// Which arithmetic an estimate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The architecture-exact path where the architecture is known, the reference formula otherwise.
    #[default]
    Auto,
    /// The reference formula (docs/ARCHITECTURE.md), exactly, without overheads.
    Reference,
}

/// Degrees of parallelism; 1 means not split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Parallelism {
    /// Ranks that divide every matrix.
    pub tensor: u64,
    /// Stages that divide the layers.
    pub pipeline: u64,
    /// Replicas; in training the ranks that states are sharded over.
    pub data: u64,
    /// Ranks that divide the routed experts.
    pub expert: u64,
    /// Ranks that divide the sequence.
    pub context: u64,
}

impl Default for Parallelism {
    fn default() -> Self {
        Self { tensor: 1, pipeline: 1, data: 1, expert: 1, context: 1 }
    }
}

/// A serving engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Hugging Face text-generation-inference.
    Tgi,
    /// TensorRT-LLM.
    Trtllm,
    /// llama.cpp server.
    Llamacpp,
    /// Ollama.
    Ollama,
    /// A plain PyTorch or transformers server: allocates what the batch needs, no queue.
    Generic,
}

impl EngineName {
    /// Engines that queue requests beyond what fits: a declared concurrency is wanted, not required.
    #[must_use]
    pub const fn queues(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang | Self::Tgi | Self::Trtllm)
    }

    /// The name used in annotations and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::Trtllm => "trtllm",
            Self::Llamacpp => "llamacpp",
            Self::Ollama => "ollama",
            Self::Generic => "generic",
        }
    }
}

/// A dotted version, as far as it is known: `0.19.0` is `[0, 19, 0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u16; 3]);

/// A serving engine with its settings; `None` means its default.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of an engine")]
pub struct Engine {
    /// Which engine; [`EngineName::Generic`] when none was named.
    pub name: EngineName,
    /// Its version, where known.
    pub version: Option<Version>,
    /// Share of memory that the engine may plan with: of the device's total (vLLM `--gpu-memory-utilization`, TGI
    /// `--cuda-memory-fraction`), of what is free before loading (SGLang `--mem-fraction-static`), or of what is free
    /// after loading (TensorRT-LLM `free_gpu_memory_fraction`).
    pub memory_fraction: Option<f64>,
    /// Sequences scheduled at once at most (vLLM `--max-num-seqs`, SGLang `--max-running-requests`, TensorRT-LLM
    /// `--max_batch_size`).
    pub max_num_seqs: Option<u64>,
    /// Tokens in one step at most (vLLM `--max-num-batched-tokens`, SGLang `--chunked-prefill-size`, TGI
    /// `--max-batch-prefill-tokens`, TensorRT-LLM `--max_num_tokens`).
    pub max_num_batched_tokens: Option<u64>,
    /// Size of the KV pool in bytes per GPU, bypassing the fraction (`--kv-cache-memory-bytes`).
    pub kv_cache_memory: Option<Bytes>,
    /// The engine shortens the context to what fits (`--max-model-len auto`).
    pub auto_context: bool,
    /// Tokens per KV block (`--block-size`).
    pub block_size: Option<u64>,
    /// No CUDA graphs (`--enforce-eager`).
    pub enforce_eager: bool,
    /// Weights kept in host memory, per GPU (`--cpu-offload-gb`).
    pub cpu_offload: Bytes,
    /// LoRA adapters resident at once (`--max-loras`); 0 without LoRA.
    pub max_loras: u64,
    /// Rank of LoRA slots (`--max-lora-rank`).
    pub max_lora_rank: u64,
    /// Draft tokens per step of speculative decoding with the model's own MTP layers; 0 without.
    pub speculative_tokens: u64,
    /// Prefixes are cached (`--enable-prefix-caching`), which takes further pages of recurrent states.
    pub prefix_caching: Option<bool>,
    /// Data-parallel ranks of the attention among the tensor-parallel ones (SGLang `--enable-dp-attention`); 1 without.
    pub attention_data: u64,
    /// Layers per pipeline stage, where set by hand (`VLLM_PP_LAYER_PARTITION`).
    pub layer_partition: Option<Vec<u64>>,
    /// Most tokens that the KV pool may hold (SGLang `--max-total-tokens`, TGI `--max-batch-total-tokens`, TensorRT-LLM
    /// `kv_cache_config.max_tokens`).
    pub max_total_tokens: Option<u64>,
    /// Largest batch with a CUDA graph (SGLang `--cuda-graph-max-bs`).
    pub graph_batch: Option<u64>,
    /// Sliding-window layers keep the whole context (SGLang `--disable-hybrid-swa-memory`, llama.cpp `--swa-full`).
    pub full_window_cache: bool,
    /// Tokens of the sliding-window pool per token of the full pool (SGLang `--swa-full-tokens-ratio`).
    pub window_pool_ratio: Option<f64>,
    /// Memory of recurrent states per memory of KV (SGLang `--mamba-full-memory-ratio`).
    pub state_pool_ratio: Option<f64>,
    /// Slots for recurrent states (SGLang `--max-mamba-cache-size`).
    pub state_slots: Option<u64>,
    /// Sequences that share the context (llama.cpp `--parallel`) or have one each (`OLLAMA_NUM_PARALLEL`).
    pub parallel_slots: Option<u64>,
    /// Tokens of one physical batch (llama.cpp `--ubatch-size`).
    pub ubatch: Option<u64>,
    /// Layers on the GPU, the output layer counted as one more (llama.cpp `--gpu-layers`); `u64::MAX` for `all`.
    pub gpu_layers: Option<u64>,
    /// Whether unset options are lowered until the model fits (llama.cpp `--fit`).
    pub fit: Option<bool>,
    /// Images, audio and video are off, so their towers are not loaded (`--language-model-only`, limits of 0 in
    /// `--limit-mm-per-prompt`).
    pub text_only: bool,
    /// Whether prompts are cut into chunks (`--enable-chunked-prefill`).
    pub chunked_prefill: Option<bool>,
    /// A context beyond the model's own maximum is allowed (`VLLM_ALLOW_LONG_MAX_MODEL_LEN`).
    pub allow_long_context: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            name: EngineName::Generic,
            version: None,
            memory_fraction: None,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            kv_cache_memory: None,
            auto_context: false,
            block_size: None,
            enforce_eager: false,
            cpu_offload: Bytes::ZERO,
            max_loras: 0,
            max_lora_rank: 16,
            speculative_tokens: 0,
            prefix_caching: None,
            attention_data: 1,
            layer_partition: None,
            max_total_tokens: None,
            graph_batch: None,
            full_window_cache: false,
            window_pool_ratio: None,
            state_pool_ratio: None,
            state_slots: None,
            parallel_slots: None,
            ubatch: None,
            gpu_layers: None,
            fit: None,
            text_only: false,
            chunked_prefill: None,
            allow_long_context: false,
        }
    }
}

/// Training settings; `None` means that nothing was said.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a trainer")]
pub struct Training {
    /// Optimizer by its usual name.
    pub optimizer: Option<Optimizer>,
    /// Precision of parameters, gradients and states.
    pub precision: Option<Precision>,
    /// How states are divided over data-parallel ranks.
    pub sharding: Option<Sharding>,
    /// Activation checkpointing.
    pub checkpointing: Option<Checkpointing>,
    /// Adapters instead of full fine-tuning.
    pub lora: Option<Lora>,
    /// How logits and loss are computed.
    pub loss: Option<Loss>,
    /// Micro-batches accumulated before a step; 1 when unset.
    pub gradient_accumulation: Option<u64>,
    /// Micro-batches in flight bound for pipelines (number of micro-batches a step).
    pub micro_batches: Option<u64>,
    /// The trainer, where known, e.g. `torchtune`; only shown.
    pub trainer: Option<String>,
    /// Parameters and optimizer states live on the host.
    pub cpu_offload: bool,
    /// Parameters, gradients or states rest on the device only while an allocator without fragmentation runs.
    pub expandable_segments: bool,
    /// Extra frozen copies of the model on the device (DPO or GRPO reference).
    pub reference_models: u64,
    /// Norms, activation functions and the like run as fused kernels (Liger, torch.compile).
    pub fused_kernels: Option<bool>,
    /// Tensor-parallel ranks divide norms and residuals too (`--sequence-parallel`); the trainer's habit when unset.
    pub sequence_parallel: Option<bool>,
    /// Model chunks on one pipeline rank (interleaved schedule); 1 when unset.
    pub virtual_stages: Option<u64>,
    /// Attention scores exist as a matrix: eager or unfused attention instead of a flash kernel.
    pub eager_attention: bool,
    /// Hidden dropout keeps its masks.
    pub dropout: bool,
    /// Tensor-parallel ranks inside one expert (`--expert-tensor-parallel-size`); the trainer's habit when unset.
    pub expert_tensor: Option<u64>,
    /// Groups of ranks that each hold all shards: HSDP replicas, `MiCS`, several distributed-optimizer instances.
    pub shard_replicas: Option<u64>,
    /// Layers of each pipeline stage; even when empty.
    pub stage_layers: Vec<u64>,
    /// Micro-batches whose head gradients are computed later (`--defer-embedding-wgrad-compute`).
    pub deferred_head_gradients: u64,
    /// Each parameter is updated as soon as its gradient exists: gradients never exist together.
    pub optimizer_in_backward: bool,
    /// Checkpointed activations wait on the host.
    pub activation_offload: bool,
    /// Samples are packed or padded to one length; not known when unset.
    pub fixed_lengths: Option<bool>,
    /// Sharded parameters stay gathered from forward to backward (`reshard_after_forward: false`, `SHARD_GRAD_OP`).
    pub keep_gathered: bool,
    /// An exponential moving average of the trained parameters, in fp32.
    pub moving_average: bool,
    /// Parameters of further frozen models on the device (reward, value), 16-bit.
    pub other_parameters: u64,
    /// Sizes of DeepSpeed's buckets.
    pub buckets: ZeroBuckets,
    /// Modules that Megatron's selective checkpointing recomputes (`core_attn`, `layernorm`, `mlp`, `moe`, `moe_act`,
    /// `mla_up_proj`).
    pub recompute_modules: Vec<String>,
    /// Rank that gradients of matrices are projected to before the optimizer sees them (`GaLore`, `APOLLO`).
    pub projection_rank: Option<u64>,
    /// Layers that are trained at once, the others frozen until it is their turn (LISA, `BAdam`).
    pub active_layers: Option<u64>,
    /// Tokens of a target sample of an encoder-decoder model, whose context length is that of the source.
    pub target_length: Option<u64>,
    /// Sequences that one sample of the batch is made of: two for a preference pair (DPO), which run together; 1 when unset.
    pub sequences_per_sample: Option<u64>,
    /// Share of the device that an inference engine beside the trainer plans with (GRPO with a colocated engine).
    pub colocated_share: Option<f64>,
    /// Order in which a pipeline runs its micro-batches; one forward, one backward when unset.
    pub schedule: Option<Schedule>,
    /// Multi-token-prediction layers that are trained (`--mtp-num-layers`); the trainer's habit when unset.
    pub mtp_layers: Option<u64>,
}

/// Sizes in elements from a DeepSpeed configuration; its defaults when unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZeroBuckets {
    /// `reduce_bucket_size`.
    pub reduce: Option<u64>,
    /// `stage3_prefetch_bucket_size`.
    pub prefetch: Option<u64>,
    /// `stage3_max_live_parameters`.
    pub max_live: Option<u64>,
    /// `zero_hpz_partition_size`: ranks that a secondary copy of the parameters is divided over.
    pub secondary_shards: Option<u64>,
}

macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// The names that users may write, in the order they are documented.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name used in annotations and output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads a name or one of its aliases; `None` if it is not known.
            #[must_use]
            pub fn from_name(text: &str) -> Option<Self> {
                Some(match text { $($text $(| $alias)* => Self::$variant,)+ _ => return None })
            }
        }
    };
}

named_enum! {
    /// An optimizer, by what it keeps per trainable parameter.
    Optimizer {
        /// Two states.
        AdamW = "adamw" | "adam" | "adamw_torch" | "adamw_torch_fused" | "adamw-fused" | "adamw_hf" | "stable_adamw"
            | "schedule_free_adamw" | "nadam" | "radam",
        /// Two states of 8 bits with block scales.
        AdamW8bit = "adamw-8bit" | "adamw_8bit" | "adamw_bnb_8bit" | "adamw8bit" | "adamw_torch_8bit",
        /// Two states of 4 bits with block scales.
        AdamW4bit = "adamw-4bit" | "adamw_4bit" | "adamw_torch_4bit" | "adamw4bit",
        /// As `adamw-8bit`, in unified memory.
        PagedAdamW8bit = "paged-adamw-8bit" | "paged_adamw_8bit",
        /// As `adamw`, in unified memory.
        PagedAdamW = "paged-adamw" | "paged_adamw_32bit",
        /// Row and column factors only.
        Adafactor = "adafactor",
        /// One state.
        Lion = "lion" | "lion_32bit",
        /// One state of 8 bits.
        Lion8bit = "lion-8bit" | "lion_8bit" | "paged_lion_8bit",
        /// No state.
        Sgd = "sgd",
        /// One state.
        SgdMomentum = "sgd-momentum" | "adagrad" | "rmsprop",
        /// Three states.
        AdEmaMix = "ademamix" | "grokadamw",
        /// One state for matrices, AdamW for the rest.
        Muon = "muon",
    }
}

named_enum! {
    /// What parameters, gradients and states are kept in.
    Precision {
        /// Everything fp32.
        Fp32 = "fp32",
        /// Everything bf16, states included.
        Bf16 = "bf16",
        /// bf16 compute with fp32 master weights (or fp32 weights with autocast).
        MixedBf16 = "mixed-bf16" | "mixed" | "bf16-mixed",
        /// fp16 compute with fp32 master weights.
        MixedFp16 = "mixed-fp16" | "fp16" | "fp16-mixed",
        /// fp8 matrix products over bf16 weights with fp32 master weights.
        Fp8 = "fp8",
    }
}

named_enum! {
    /// How training states are divided over the data-parallel ranks.
    Sharding {
        /// One rank, nothing divided.
        None = "none",
        /// Everything replicated, gradients reduced in buckets.
        Ddp = "ddp",
        /// Optimizer states divided.
        Zero1 = "zero1",
        /// Optimizer states and gradients divided.
        Zero2 = "zero2",
        /// Optimizer states, gradients and parameters divided (DeepSpeed).
        Zero3 = "zero3",
        /// As `zero3`, by PyTorch FSDP with full resharding.
        Fsdp = "fsdp" | "fsdp2",
        /// Sharded inside a node, replicated between nodes.
        Hsdp = "hsdp",
        /// Megatron's distributed optimizer.
        Megatron = "megatron",
    }
}

named_enum! {
    /// Order in which a pipeline runs its micro-batches: decides how many a stage holds.
    Schedule {
        /// A stage holds as many micro-batches as stages follow it, and one.
        OneForwardOneBackward = "1f1b" | "interleaved1f1b" | "interleaved-1f1b",
        /// All forward passes before the first backward pass.
        AllForward = "gpipe" | "looped-bfs" | "loopedbfs",
        /// Gradients of weights are computed later, so that every stage holds as many as the first.
        ZeroBubble = "zero-bubble" | "interleavedzerobubble" | "zbvzerobubble" | "zbv",
    }
}

named_enum! {
    /// Which activations are recomputed instead of kept.
    Checkpointing {
        /// All are kept.
        None = "none",
        /// The expensive ones are kept.
        Selective = "selective",
        /// Only the input of each layer is kept.
        Full = "full",
    }
}

named_enum! {
    /// How logits and cross-entropy are computed.
    Loss {
        /// All logits at once, upcast to fp32.
        Default = "default",
        /// A few chunks after one another.
        Chunked = "chunked",
        /// Logits never exist as a whole (Liger, cut cross-entropy).
        Fused = "fused",
    }
}

/// Low-rank adapters.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the adapter libraries, named as they name them"
)]
pub struct Lora {
    /// Rank.
    pub rank: u64,
    /// Module names (`q_proj`, ...) or `all-linear`; empty means the trainer's default (query and value projections).
    pub targets: Vec<String>,
    /// The frozen base is quantized to 4 bit (QLoRA).
    pub quantized_base: bool,
    /// The quantization's scales are quantized too.
    pub double_quantization: bool,
    /// Adapters are kept in fp32 (the PEFT default).
    pub fp32_adapters: bool,
    /// Dropout before the adapters: keeps a mask and a copy.
    pub dropout: bool,
    /// Modules trained in full besides the adapters (`embed_tokens`, `lm_head`).
    pub modules_to_save: Vec<String>,
}
