//! The flags that describe one workload: the fields of the annotations, in kebab case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::checkpoint;
use super::error::{Failure, code};
use super::values::{self, DTypeOrAuto, Named};
use crate::decide::Verdict;
use crate::estimate::Bytes;
use crate::estimate::model::Model;
use crate::estimate::workload::{
    Checkpointing, Engine, EngineName, Lora, Loss, Method, Optimizer, Parallelism, Precision, Sharding, Task, Training,
    Version,
};
use crate::facts::catalog::Catalog;
use crate::spec::declaration::{Declaration, ModelReference, Origin};

/// Which model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model (--model, --parameters, --config-json, or checkpoint files)")]
pub(super) struct ModelArgs {
    /// Hugging Face id or alias, see `vramguard models`
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["parameters", "config_json"])]
    pub model: Option<String>,
    /// Parameter count, e.g. 6.74e9 or 6.74B, for the reference formula
    #[arg(long, value_name = "COUNT", value_parser = values::parameters, allow_negative_numbers = true, conflicts_with = "config_json")]
    pub parameters: Option<f64>,
    /// The model's config.json; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub config_json: Option<PathBuf>,
    /// Take the weights' bytes from a .safetensors file or its model.safetensors.index.json (headers only); the config
    /// comes from --model, --config-json or the config.json beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["parameters", "gguf", "checkpoint"])]
    pub safetensors: Option<PathBuf>,
    /// Take everything from the header of a .gguf file, other parts of it lying beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "parameters", "config_json", "checkpoint"])]
    pub gguf: Option<PathBuf>,
    /// Take config.json, quantization settings and headers from a checkpoint's folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "parameters", "config_json"])]
    pub checkpoint: Option<PathBuf>,
    /// Layers
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true, requires = "parameters")]
    pub layers: Option<u64>,
    /// Width of the residual stream
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true, requires = "parameters")]
    pub hidden_size: Option<u64>,
    /// Attention heads (of keys and values, if they are fewer)
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true, requires = "parameters")]
    pub heads: Option<u64>,
    /// Width of a head
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true, requires = "parameters")]
    pub head_dim: Option<u64>,
}

/// What runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub(super) struct RunArgs {
    /// Serving or training; training if a training flag is given, else inference
    #[arg(long, value_parser = values::task())]
    pub task: Option<Task>,
    /// `auto`: exact for known architectures; `reference`: the plain formula without overheads
    #[arg(long, value_parser = values::method(), default_value = "auto")]
    pub method: Method,
    /// Number format of weights and activations: auto (the model's own), fp32, fp16, bf16, fp8, int8, int4, fp4
    #[arg(long, value_name = "FORMAT", value_parser = values::dtype(), hide_possible_values = true)]
    pub dtype: Option<DTypeOrAuto>,
    /// Weight quantization: awq, gptq, fp8, nvfp4, mxfp4, int8, nf4, none, or a GGUF type such as `q4_k_m`
    #[arg(long, value_name = "NAME")]
    pub quantization: Option<String>,
    /// Number format of the KV cache: auto, fp16, bf16, fp8, ...
    #[arg(long, value_name = "FORMAT", value_parser = values::dtype(), hide_possible_values = true)]
    pub kv_cache_dtype: Option<DTypeOrAuto>,
    /// Longest context, or sequence length in training, in tokens
    #[arg(long, value_name = "TOKENS", value_parser = values::positive, allow_negative_numbers = true)]
    pub context_length: Option<u64>,
    /// Concurrent sequences, or the micro-batch per GPU in training
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub batch_size: Option<u64>,
}

/// How the replica is split.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parallelism")]
pub(super) struct ParallelismArgs {
    /// Ranks that divide every matrix
    #[arg(long = "tensor-parallel", value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub tensor: Option<u64>,
    /// Stages that divide the layers
    #[arg(long = "pipeline-parallel", value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub pipeline: Option<u64>,
    /// Replicas; in training the ranks that states are sharded over
    #[arg(long = "data-parallel", value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub data: Option<u64>,
    /// Ranks that divide the routed experts
    #[arg(long = "expert-parallel", value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub expert: Option<u64>,
    /// Ranks that divide the sequence
    #[arg(long = "context-parallel", value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub context: Option<u64>,
}

/// The serving engine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Serving engine")]
pub(super) struct EngineArgs {
    /// Engine; `generic` allocates what the batch needs and queues nothing
    #[arg(long, value_parser = values::engine())]
    pub engine: Option<EngineName>,
    /// Its version, e.g. 0.19.0
    #[arg(long, value_name = "VERSION", value_parser = values::version)]
    pub engine_version: Option<Version>,
    /// Share of the device's memory that the engine plans with
    #[arg(long, value_name = "SHARE", value_parser = values::fraction, allow_negative_numbers = true)]
    pub memory_fraction: Option<f64>,
    /// Sequences scheduled at once at most
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub max_num_seqs: Option<u64>,
    /// Tokens in one step at most
    #[arg(long, value_name = "TOKENS", value_parser = values::positive, allow_negative_numbers = true)]
    pub max_num_batched_tokens: Option<u64>,
    /// Size of the KV pool per GPU, bypassing the share
    #[arg(long, value_name = "BYTES", value_parser = values::positive, allow_negative_numbers = true)]
    pub kv_cache_memory: Option<u64>,
    /// Tokens per KV block
    #[arg(long, value_name = "TOKENS", value_parser = values::positive, allow_negative_numbers = true)]
    pub block_size: Option<u64>,
    /// No CUDA graphs
    #[arg(long)]
    pub enforce_eager: bool,
    /// LoRA adapters resident at once
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub max_loras: Option<u64>,
    /// Rank of the adapter slots
    #[arg(long, value_name = "RANK", value_parser = values::positive, allow_negative_numbers = true, requires = "max_loras")]
    pub max_lora_rank: Option<u64>,
    /// Draft tokens per step from the model's own MTP layers
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub speculative_tokens: Option<u64>,
}

/// Training settings.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(super) struct TrainingArgs {
    /// Optimizer
    #[arg(long, value_parser = Named::new(Optimizer::NAMES, Optimizer::from_name))]
    pub optimizer: Option<Optimizer>,
    /// What parameters, gradients and states are kept in
    #[arg(long, value_parser = Named::new(Precision::NAMES, Precision::from_name))]
    pub precision: Option<Precision>,
    /// How states are divided over the data-parallel ranks
    #[arg(long, value_parser = Named::new(Sharding::NAMES, Sharding::from_name))]
    pub sharding: Option<Sharding>,
    /// Which activations are recomputed instead of kept
    #[arg(long, value_parser = Named::new(Checkpointing::NAMES, Checkpointing::from_name))]
    pub checkpointing: Option<Checkpointing>,
    /// How logits and loss are computed
    #[arg(long, value_parser = Named::new(Loss::NAMES, Loss::from_name))]
    pub loss: Option<Loss>,
    /// Train adapters of this rank instead of the whole model
    #[arg(long, value_name = "RANK", value_parser = values::positive, allow_negative_numbers = true)]
    pub lora_rank: Option<u64>,
    /// Modules with adapters, e.g. `q_proj,v_proj`, or all-linear
    #[arg(long, value_name = "MODULES", value_delimiter = ',', requires = "lora_rank")]
    pub lora_targets: Vec<String>,
    /// The frozen base is quantized to 4 bit (QLoRA)
    #[arg(long, requires = "lora_rank")]
    pub lora_quantized_base: bool,
    /// Micro-batches accumulated before a step
    #[arg(long, value_name = "N", value_parser = values::positive, allow_negative_numbers = true)]
    pub gradient_accumulation: Option<u64>,
    /// Norms and activation functions run as fused kernels
    #[arg(long)]
    pub fused_kernels: bool,
    /// Parameters and optimizer states live on the host
    #[arg(long)]
    pub cpu_offload: bool,
}

/// One workload.
#[derive(Debug, Args)]
pub(super) struct WorkloadArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub parallelism: ParallelismArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub training: TrainingArgs,
}

impl ModelArgs {
    /// The model as declared; a config file is read here.
    fn reference(&self) -> Result<ModelReference, Failure> {
        if let Some(path) = &self.safetensors {
            return self.with_safetensors(path).map(ModelReference::Loaded);
        }
        if let Some(path) = &self.gguf {
            return checkpoint::gguf_model(path).map(ModelReference::Loaded);
        }
        if let Some(dir) = &self.checkpoint {
            return checkpoint::directory(dir).map(ModelReference::Loaded);
        }
        if let Some(name) = &self.model {
            return Ok(ModelReference::Name(name.clone()));
        }
        if let Some(path) = &self.config_json {
            return checkpoint::config(path).map(ModelReference::Config);
        }
        match self.parameters {
            Some(parameters) => Ok(ModelReference::Shape {
                parameters,
                layers: self.layers,
                hidden_size: self.hidden_size,
                heads: self.heads,
                head_dim: self.head_dim,
            }),
            None => Err(Failure::new(code::USAGE, "no model given").hint(
                "add --model NAME (see `vramguard models`), --config-json FILE, --checkpoint DIR, --gguf FILE, or \
                 --parameters COUNT with its shape",
            )),
        }
    }

    /// The model that is named or described, or whose config lies beside the file, with the file's bytes.
    fn with_safetensors(&self, path: &Path) -> Result<Arc<Model>, Failure> {
        let facts = checkpoint::safetensors_facts(path)?;
        let beside = path.with_file_name("config.json");
        let model = match (&self.model, &self.config_json) {
            (Some(name), _) => Catalog::embedded()
                .find(name)
                .map(|model| (*model).clone())
                .map_err(|error| Failure::new(Verdict::UnknownModel.code(), error.to_string()))?,
            (None, Some(config)) => checkpoint::model(config, &checkpoint::config(config)?)?,
            (None, None) if beside.is_file() => checkpoint::model(&beside, &checkpoint::config(&beside)?)?,
            (None, None) => {
                let message = format!("{}: there is no config.json beside it", path.display());
                return Err(Failure::new(code::USAGE, message).hint("add --config-json FILE or --model NAME"));
            }
        };
        checkpoint::with_bytes(model, path, &facts)
    }
}

impl ParallelismArgs {
    fn degrees(&self) -> Parallelism {
        Parallelism {
            tensor: self.tensor.unwrap_or(1),
            pipeline: self.pipeline.unwrap_or(1),
            data: self.data.unwrap_or(1),
            expert: self.expert.unwrap_or(1),
            context: self.context.unwrap_or(1),
        }
    }
}

impl EngineArgs {
    fn engine(&self) -> Engine {
        let default = Engine::default();
        Engine {
            name: self.engine.unwrap_or(default.name),
            version: self.engine_version,
            memory_fraction: self.memory_fraction,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            kv_cache_memory: self.kv_cache_memory.map(Bytes),
            block_size: self.block_size,
            enforce_eager: self.enforce_eager,
            max_loras: self.max_loras.unwrap_or(default.max_loras),
            max_lora_rank: self.max_lora_rank.unwrap_or(default.max_lora_rank),
            speculative_tokens: self.speculative_tokens.unwrap_or(default.speculative_tokens),
            ..default
        }
    }
}

impl TrainingArgs {
    fn given(&self) -> bool {
        self.optimizer.is_some()
            || self.precision.is_some()
            || self.sharding.is_some()
            || self.checkpointing.is_some()
            || self.loss.is_some()
            || self.lora_rank.is_some()
            || self.gradient_accumulation.is_some()
    }

    fn training(&self) -> Training {
        let lora = self.lora_rank.map(|rank| Lora {
            rank,
            targets: self.lora_targets.clone(),
            quantized_base: self.lora_quantized_base,
            double_quantization: self.lora_quantized_base,
            fp32_adapters: true,
            dropout: false,
            modules_to_save: Vec::new(),
        });
        Training {
            optimizer: self.optimizer,
            precision: self.precision,
            sharding: self.sharding,
            checkpointing: self.checkpointing,
            loss: self.loss,
            lora,
            gradient_accumulation: self.gradient_accumulation,
            fused_kernels: self.fused_kernels.then_some(true),
            cpu_offload: self.cpu_offload,
            ..Training::default()
        }
    }
}

impl WorkloadArgs {
    /// The same declaration that annotations lead to.
    pub(super) fn declaration(&self) -> Result<Declaration, Failure> {
        let implied = if self.training.given() { Task::Training } else { Task::Inference };
        Ok(Declaration {
            task: Some(self.run.task.unwrap_or(implied)),
            model: Some(self.model.reference()?),
            dtype: self.run.dtype.and_then(|dtype| dtype.0),
            quantization: self.run.quantization.clone(),
            kv_cache_dtype: self.run.kv_cache_dtype.and_then(|dtype| dtype.0),
            context_length: self.run.context_length,
            batch_size: self.run.batch_size,
            parallelism: self.parallelism.degrees(),
            engine: self.engine.engine(),
            engine_named: self.engine.engine.is_some(),
            training: self.training.training(),
            method: self.run.method,
            origins: self.origins(),
            ..Declaration::default()
        })
    }

    fn origins(&self) -> BTreeMap<&'static str, Origin> {
        let given = [
            ("task", self.run.task.is_some()),
            ("model", true),
            ("dtype", self.run.dtype.is_some()),
            ("quantization", self.run.quantization.is_some()),
            ("kvCacheDtype", self.run.kv_cache_dtype.is_some()),
            ("contextLength", self.run.context_length.is_some()),
            ("batchSize", self.run.batch_size.is_some()),
            ("parallelism.tensor", self.parallelism.tensor.is_some()),
            ("parallelism.pipeline", self.parallelism.pipeline.is_some()),
            ("parallelism.data", self.parallelism.data.is_some()),
            ("parallelism.expert", self.parallelism.expert.is_some()),
            ("parallelism.context", self.parallelism.context.is_some()),
            ("engine.name", self.engine.engine.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(field, _)| (field, Origin::Argument)).collect()
    }
}
