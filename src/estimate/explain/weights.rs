//! Weights by class of tensors, and by module.

use super::Node;
use super::parts::{Part, divide};
use crate::estimate::dtype::DType;
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{LayerGroup, Mlp, Model, Tensor, TensorKind};
use crate::estimate::parallel::Stage;
use crate::estimate::workload::{Parallelism, Task};
use crate::estimate::{Bytes, Interval, Provenance, Workload};

/// Where tensors go in the tree, in the order of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Embedding,
    Tower,
    Attention,
    Mlp,
    Router,
    Experts,
    Norms,
    Head,
}

impl Class {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Embedding, "embedding"),
        (Self::Tower, "tower"),
        (Self::Attention, "attention"),
        (Self::Mlp, "mlp"),
        (Self::Router, "router"),
        (Self::Experts, "experts"),
        (Self::Norms, "norms"),
        (Self::Head, "head"),
    ];

    fn of(tensor: &Tensor, layer: Option<&LayerGroup>) -> Self {
        match tensor.kind {
            TensorKind::Embedding => Self::Embedding,
            TensorKind::Tower => Self::Tower,
            TensorKind::Head => Self::Head,
            TensorKind::Router => Self::Router,
            TensorKind::Expert => Self::Experts,
            TensorKind::Vector => Self::Norms,
            TensorKind::Linear if layer.is_some_and(|layer| feeds_forward(tensor, &layer.mlp)) => Self::Mlp,
            TensorKind::Linear => Self::Attention,
        }
    }
}

/// A matrix of the feed-forward block has its inner width on one side (twice, where gate and up are one).
fn feeds_forward(tensor: &Tensor, mlp: &Mlp) -> bool {
    const ATTENTION: [&str; 6] = ["q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "c_attn"];
    let width = match mlp {
        Mlp::Dense { intermediate, .. } => *intermediate,
        Mlp::Moe { shared_intermediate, .. } => *shared_intermediate,
        Mlp::None => 0,
    };
    let inner = |side: u64| side == width || side == width.saturating_mul(2);
    width > 0 && !ATTENTION.contains(&tensor.module) && (inner(tensor.rows) || inner(tensor.cols))
}

/// A module's tensors of one shape.
struct Module {
    class: Class,
    tensor: Tensor,
    layers: u64,
    bytes: f64,
}

/// The parts of the weights term on one stage.
pub(super) fn parts(
    workload: &Workload,
    model: &Model,
    stage: &Stage<'_>,
    whole: Interval,
    provenance: Provenance,
) -> Vec<Node> {
    let serves = workload.task == Task::Inference;
    let storage = Storage {
        dtype: workload.dtype.unwrap_or(if model.dtype == DType::Fp32 { DType::Bf16 } else { model.dtype }),
        // Trainers hold parameters in formats of their own: there the parts are shares by parameters.
        quantization: workload.quantization.as_ref().or(model.quantization.as_ref()).filter(|_| serves),
        parallelism: workload.parallelism,
        attention_data: workload.engine.attention_data,
        fused: true,
    };
    let modules = modules(model, stage, &storage);
    let formula = |module: &Module| {
        if serves { stored(module, &storage) } else { format!("{:.4e} parameters", counted(module)) }
    };
    let mut classes: Vec<Part> = Class::ALL
        .into_iter()
        .filter_map(|(class, name)| {
            let members: Vec<&Module> = modules.iter().filter(|module| module.class == class).collect();
            let leaf = |module: &&Module| Part {
                name: module.tensor.module.to_owned(),
                weight: Bytes::from_f64(module.bytes).0,
                formula: formula(module),
                parts: Vec::new(),
            };
            let leaves: Vec<Part> = members.iter().map(leaf).collect();
            let parameters: f64 = members.iter().map(|module| counted(module)).sum();
            let weight = leaves.iter().map(|leaf| leaf.weight).sum();
            let formula = format!("{parameters:.4e} parameters of the stage");
            (weight > 0).then(|| Part { name: name.to_owned(), weight, formula, parts: leaves })
        })
        .collect();
    let named: u64 = classes.iter().map(|class| class.weight).fold(0, u64::saturating_add);
    let rest = whole.likely - Bytes(named);
    if serves && rest > Bytes::ZERO {
        let formula = "rotary tables, padding, draft layers, the loader's slack".to_owned();
        classes.push(Part { name: "other".to_owned(), weight: rest.0, formula, parts: Vec::new() });
    }
    divide(whole, provenance, classes)
}

fn modules(model: &Model, stage: &Stage<'_>, storage: &Storage<'_>) -> Vec<Module> {
    let layers = stage
        .layers
        .iter()
        .flat_map(|(count, group)| group.tensors.iter().map(move |tensor| (*count, tensor, Some(*group))));
    let outer = model.outer.iter().filter(|tensor| on_stage(model, tensor, stage)).map(|tensor| (1, tensor, None));
    let mut found: Vec<Module> = Vec::new();
    for (count, tensor, layer) in layers.chain(outer) {
        let bytes = storage.tensor(tensor) * count as f64;
        let class = Class::of(tensor, layer);
        match found.iter_mut().find(|module| module.class == class && module.tensor == *tensor) {
            Some(module) => {
                module.layers = module.layers.saturating_add(count);
                module.bytes += bytes;
            }
            None => found.push(Module { class, tensor: *tensor, layers: count, bytes }),
        }
    }
    found
}

/// As the engines place them: embedding and towers first, head and last norm on the last stage.
fn on_stage(model: &Model, tensor: &Tensor, stage: &Stage<'_>) -> bool {
    match tensor.kind {
        TensorKind::Embedding => stage.is_first() || (stage.is_last() && model.tied_embeddings),
        TensorKind::Tower => stage.is_first(),
        _ => stage.is_last(),
    }
}

fn counted(module: &Module) -> f64 {
    module.tensor.parameters() as f64 * module.layers as f64
}

/// `32 × 4096 × 4096 × 2 B / 4`.
fn stored(module: &Module, storage: &Storage<'_>) -> String {
    let alone = Storage { parallelism: Parallelism::default(), attention_data: 1, ..*storage };
    let whole = alone.tensor(&module.tensor) * module.layers as f64;
    let width = whole / counted(module).max(1.0);
    let ranks = (whole / module.bytes.max(1.0)).round();
    let Tensor { rows, cols, copies, .. } = module.tensor;
    let sides = [module.layers, copies, rows, cols].into_iter().filter(|side| *side > 1).map(|side| side.to_string());
    let sides: Vec<String> = sides.collect();
    let width = format!("{width:.3}");
    let width = width.trim_end_matches('0').trim_end_matches('.');
    let divided = if ranks > 1.0 { format!(" / {ranks} ranks") } else { String::new() };
    format!("{} × {width} B{divided}", if sides.is_empty() { "1".to_owned() } else { sides.join(" × ") })
}
