//! From a GGUF header to a [`Model`]: what is stored comes from the tensors, what is cached from the metadata.

use crate::estimate::dtype::DType;
use crate::estimate::model::checkpoint::{CheckpointBytes, Classes, StoredTensor};
use crate::estimate::model::quantization::{Exception, Scales};
use crate::estimate::model::{LayerGroup, Model, Quantization, Split, Tensor, TensorKind};

use super::Gguf;
use super::layer::{self, Layer};

/// No model has more layers.
const MOST_LAYERS: u64 = 4096;

/// `general.file_type` and the names that users know.
const FILE_TYPES: &[(u64, &str)] = &[
    (2, "q4_0"),
    (3, "q4_1"),
    (7, "q8_0"),
    (8, "q5_0"),
    (9, "q5_1"),
    (10, "q2_k"),
    (11, "q3_k_s"),
    (12, "q3_k_m"),
    (13, "q3_k_l"),
    (14, "q4_k_s"),
    (15, "q4_k_m"),
    (16, "q5_k_s"),
    (17, "q5_k_m"),
    (18, "q6_k"),
    (19, "iq2_xxs"),
    (20, "iq2_xs"),
    (21, "q2_k_s"),
    (22, "iq3_xs"),
    (23, "iq3_xxs"),
    (24, "iq1_s"),
    (25, "iq4_nl"),
    (26, "iq3_s"),
    (27, "iq3_m"),
    (28, "iq2_s"),
    (29, "iq2_m"),
    (30, "iq4_xs"),
    (31, "iq1_m"),
    (36, "tq1_0"),
    (37, "tq2_0"),
    (38, "mxfp4"),
];

/// The header does not describe a model that is understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A key that is needed.
    #[error("the metadata has no usable `{0}`")]
    Missing(String),
    /// A part of a model that was split into files.
    #[error("the file is part {part} of {of}: its tensors are not the whole model")]
    Part {
        /// From 1.
        part: u64,
        /// Parts.
        of: u64,
    },
    /// Something whose memory is not known.
    #[error("{what} is not understood for the architecture `{architecture}`")]
    Unknown {
        /// What.
        what: String,
        /// `general.architecture`.
        architecture: String,
    },
    /// Metadata and tensors contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// The model as llama.cpp loads it; `name` is only shown.
///
/// # Errors
/// When metadata is missing, contradicts the tensors, or describes layers whose cache is not understood.
pub fn model(name: &str, gguf: &Gguf) -> Result<Model, ModelError> {
    let about = layer::About::new(gguf)?;
    if let Some(of) = gguf.metadata.count("split.count").filter(|of| *of > gguf.parts) {
        return Err(ModelError::Part { part: gguf.metadata.count("split.no").unwrap_or(0).saturating_add(1), of });
    }
    let count = about.needed("block_count")?;
    if count == 0 || count > MOST_LAYERS {
        return Err(about.contradiction(format!("block_count is {count}, from 1 to {MOST_LAYERS} is allowed")));
    }
    let (embedding, outer) = outer(gguf, &about)?;
    let mut layers = layers(gguf, &about, count)?;
    let drafts = about.count("nextn_predict_layers").unwrap_or(0).min(count.saturating_sub(1));
    let mtp = layers.split_off((count - drafts) as usize);
    let (dtype, quantization) = formats(gguf);
    Ok(Model {
        name: name.chars().take(200).collect(),
        model_type: about.architecture.clone(),
        hidden_size: about.hidden,
        vocab_size: embedding.rows,
        tied_embeddings: !gguf.facts.hints.head,
        max_position_embeddings: about.count("context_length").filter(|tokens| *tokens > 0),
        dtype,
        quantization,
        layers: crate::estimate::model::hf_config::merge(layers),
        outer,
        mtp: crate::estimate::model::hf_config::merge(mtp),
        rotary_rows: about.count("context_length").unwrap_or(0),
        logit_softcap: gguf.metadata.real(&about.key("final_logit_softcapping")).is_some_and(|cap| cap > 0.0),
        checkpoint_bytes: Some(loaded(gguf, count - drafts)),
        measured: None,
    })
}

/// Bytes without draft layers.
fn loaded(gguf: &Gguf, layers: u64) -> CheckpointBytes {
    let mut sum = Classes::<u64>::default();
    for tensor in &gguf.facts.tensors {
        let class = match tensor.layer() {
            Some(layer) if layer >= layers => continue,
            Some(_) => &mut sum.layers,
            None if tensor.is_embedding() => &mut sum.embedding,
            None if tensor.is_head() => &mut sum.head,
            None => &mut sum.rest,
        };
        *class = class.saturating_add(tensor.bytes);
    }
    let total = [sum.layers, sum.embedding, sum.head, sum.rest].into_iter().fold(0, u64::saturating_add);
    CheckpointBytes { total, classes: Some(sum) }
}

fn layers(gguf: &Gguf, about: &layer::About<'_>, count: u64) -> Result<Vec<LayerGroup>, ModelError> {
    let mut stored: Vec<Vec<&StoredTensor>> = vec![Vec::new(); count as usize];
    for tensor in &gguf.facts.tensors {
        if let Some(layer) = tensor.layer() {
            let slot = usize::try_from(layer).ok().and_then(|layer| stored.get_mut(layer));
            slot.ok_or_else(|| about.contradiction(format!("there is a layer {layer}, block_count is {count}")))?
                .push(tensor);
        }
    }
    stored.into_iter().zip(0..).map(|(tensors, index)| Layer { about, index, count, tensors }.read()).collect()
}

/// Everything outside the layers, and the embedding.
fn outer(gguf: &Gguf, about: &layer::About<'_>) -> Result<(Tensor, Vec<Tensor>), ModelError> {
    let mut outer = Vec::new();
    let mut embedding = None;
    for tensor in gguf.facts.tensors.iter().filter(|tensor| tensor.layer().is_none()) {
        let (rows, cols) = layer::sides(&tensor.shape);
        let (module, kind, split) = match tensor.name.as_str() {
            "token_embd.weight" => ("embed_tokens", TensorKind::Embedding, Split::Vocab),
            "output.weight" => ("lm_head", TensorKind::Head, Split::Vocab),
            "per_layer_token_embd.weight" => ("embed_tokens_per_layer", TensorKind::Embedding, Split::Vocab),
            "position_embd.weight" => ("position_embeddings", TensorKind::Embedding, Split::Replicated),
            _ if cols == 1 => ("norm", TensorKind::Vector, Split::Replicated),
            name if name.starts_with("v.") || name.starts_with("mm.") || name.starts_with("a.") => {
                ("vision_tower", TensorKind::Tower, Split::Replicated)
            }
            _ => ("other", TensorKind::Linear, Split::Replicated),
        };
        let tensor = Tensor { module, rows, cols, copies: 1, kind, split };
        if module == "embed_tokens" {
            embedding = Some(tensor);
        }
        outer.push(tensor);
    }
    let embedding = embedding.ok_or_else(|| ModelError::Missing("token_embd.weight".to_owned()))?;
    if embedding.cols != about.hidden {
        let cols = embedding.cols;
        return Err(about.contradiction(format!("token_embd is {cols} wide, embedding_length is {}", about.hidden)));
    }
    Ok((embedding, outer))
}

/// Elements and bytes of matrices.
#[derive(Default, Clone, Copy)]
struct Sum {
    elements: f64,
    bytes: f64,
}

impl Sum {
    fn add(&mut self, tensor: &StoredTensor) {
        self.elements += tensor.shape.iter().fold(1.0, |n, size| n * *size as f64);
        self.bytes += tensor.bytes as f64;
    }

    fn bits(&self) -> f64 {
        if self.elements > 0.0 { self.bytes * 8.0 / self.elements } else { 0.0 }
    }
}

/// The format of unquantized tensors, and the quantization with the average width of each kind of matrix.
fn formats(gguf: &Gguf) -> (DType, Option<Quantization>) {
    let by = |name: &str| gguf.facts.by_dtype.get(name).copied().unwrap_or(0);
    let plain = [("F16", DType::Fp16), ("BF16", DType::Bf16), ("F32", DType::Fp32)];
    let widest = plain.iter().max_by_key(|(name, _)| by(name)).map_or(DType::Fp16, |(_, dtype)| *dtype);
    let unquantized: u64 = plain.iter().map(|(name, _)| by(name)).fold(0, u64::saturating_add);
    if unquantized >= gguf.facts.bytes {
        return (widest, None);
    }
    let mut all = Sum::default();
    let mut parts: Vec<(Option<&'static str>, Sum)> = Vec::new();
    for tensor in &gguf.facts.tensors {
        let Some(part) = layer::matrix_part(tensor) else { continue };
        all.add(tensor);
        if let Some((_, sum)) = parts.iter_mut().find(|(known, _)| *known == part) {
            sum.add(tensor);
        } else {
            let mut sum = Sum::default();
            sum.add(tensor);
            parts.push((part, sum));
        }
    }
    let exceptions = parts.into_iter().map(|(module, sum)| Exception {
        module: module.map(str::to_owned),
        bits: sum.bits(),
        scales: Scales::None,
    });
    let file_type = gguf.metadata.count("general.file_type");
    let named = FILE_TYPES.iter().find(|(id, _)| Some(*id) == file_type).map(|(_, name)| (*name).to_owned());
    let most = gguf.facts.by_dtype.iter().max_by_key(|(_, bytes)| **bytes);
    let quantization = Quantization {
        name: named.unwrap_or_else(|| most.map_or_else(String::new, |(name, _)| name.to_ascii_lowercase())),
        bits: all.bits(),
        scales: Scales::None,
        ignored: Vec::new(),
        experts_only: false,
        exceptions: exceptions.collect(),
        whole_file: true,
    };
    (if by("BF16") > by("F16") { DType::Bf16 } else { DType::Fp16 }, Some(quantization))
}
