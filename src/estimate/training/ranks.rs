//! One rank of the replica: its stage's layers and how many parameters of which kind it holds.

use super::plan::Plan;
use crate::estimate::model::{LayerGroup, Model, Split, Tensor, TensorKind};
use crate::estimate::workload::Schedule;

/// Parameters on one rank, after tensor, pipeline and expert parallelism, before sharding over data-parallel ranks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Counts {
    /// Of dense tensors.
    pub(super) dense: f64,
    /// Of routed experts.
    pub(super) expert: f64,
}

impl Counts {
    pub(super) fn total(self) -> f64 {
        self.dense + self.expert
    }

    /// Divided over data-parallel ranks.
    pub(super) fn over(self, (dense, expert): (f64, f64)) -> f64 {
        self.dense / dense + self.expert / expert
    }

    fn add(&mut self, kind: TensorKind, parameters: f64) {
        if kind == TensorKind::Expert { self.expert += parameters } else { self.dense += parameters }
    }
}

/// One pipeline stage's rank.
#[derive(Debug, Clone)]
pub(super) struct Rank<'a> {
    pub(super) stage: u64,
    /// Layers of the stage with their counts.
    pub(super) layers: Vec<(f64, &'a LayerGroup)>,
    /// Holds the output head and computes the loss.
    pub(super) last: bool,
    /// Micro-batches whose activations exist at once.
    pub(super) in_flight: f64,
    /// Parameters that are trained in their own tensors.
    pub(super) trained: Counts,
    /// Parameters of adapters.
    pub(super) adapters: f64,
    /// Frozen parameters that are not quantized.
    pub(super) frozen: Counts,
    /// Frozen parameters that are quantized.
    pub(super) quantized: Counts,
    /// Parameters of the largest layer.
    pub(super) block: f64,
    /// Parameters outside the layers.
    pub(super) root: f64,
    /// Parameters of the head (or of the tied embedding) on the rank.
    pub(super) head: f64,
    /// The largest matrix that is dequantized for a product.
    pub(super) largest_matrix: f64,
    /// Share of the trained parameters that are hidden matrices.
    pub(super) matrices: f64,
    /// Elements of the states and projectors of matrices whose gradients are projected to a low rank.
    pub(super) projected: f64,
    /// Trained draft layers on the rank: each computes a loss of its own.
    pub(super) drafts: f64,
    /// Share of a layer's parameters that is trained at once.
    active: f64,
}

impl<'a> Rank<'a> {
    /// The rank of a stage; `stage < plan.pipeline`.
    pub(super) fn of(plan: &Plan, model: &'a Model, stage: u64) -> Self {
        let last = stage.saturating_add(1) >= plan.pipeline;
        let mut layers = stage_layers(model, stage, plan);
        let drafts = if last { drafts(model, plan.draft_layers) } else { Vec::new() };
        let depth = drafts.iter().map(|(count, _)| count).sum();
        layers.extend(drafts);
        let mut rank = Self {
            stage,
            layers,
            last,
            in_flight: in_flight(plan, stage),
            trained: Counts::default(),
            adapters: 0.0,
            frozen: Counts::default(),
            quantized: Counts::default(),
            block: 0.0,
            root: 0.0,
            head: 0.0,
            largest_matrix: 0.0,
            matrices: 0.0,
            projected: 0.0,
            drafts: depth,
            active: 1.0,
        };
        rank.active = active_share(plan, model);
        rank.count_layers(plan);
        rank.active = 1.0;
        rank.count_outer(plan, model);
        rank.matrices = if rank.trained.total() > 0.0 { rank.matrices / rank.trained.total() } else { 0.0 };
        rank
    }

    /// All parameters that optimizer and gradients see.
    pub(super) fn trainable(&self) -> Counts {
        Counts { dense: self.trained.dense + self.adapters, expert: self.trained.expert }
    }

    /// All parameters of the base model.
    pub(super) fn parameters(&self) -> f64 {
        self.trained.total() + self.frozen.total() + self.quantized.total()
    }

    fn count_layers(&mut self, plan: &Plan) {
        for (count, group) in self.layers.clone() {
            let mut block = 0.0;
            for tensor in &group.tensors {
                block += self.count(plan, tensor, count);
            }
            self.block = self.block.max(block);
        }
    }

    fn count_outer(&mut self, plan: &Plan, model: &Model) {
        for tensor in &model.outer {
            let here = match tensor.kind {
                TensorKind::Embedding => self.stage == 0 || (self.last && model.tied_embeddings),
                TensorKind::Tower => self.stage == 0,
                _ => self.last,
            };
            if !here {
                continue;
            }
            let tied = tensor.kind == TensorKind::Embedding && model.tied_embeddings && tensor.module == "embed_tokens";
            let copies = if tied && self.stage == 0 && self.last && plan.untied_head { 2.0 } else { 1.0 };
            let parameters = copies * self.count(plan, tensor, copies);
            self.root += parameters;
            if tied || tensor.kind == TensorKind::Head {
                self.head += parameters / copies;
            }
        }
    }

    /// Adds `layers` times one tensor and returns its parameters on the rank.
    fn count(&mut self, plan: &Plan, tensor: &Tensor, layers: f64) -> f64 {
        let parameters = on_rank(tensor, plan, tensor.parameters() as f64);
        let total = layers * parameters;
        let matrix = matches!(tensor.kind, TensorKind::Linear | TensorKind::Expert) && tensor.cols > 1;
        let Some(adapters) = &plan.adapters else {
            let share = self.active;
            self.trained.add(tensor.kind, share * total);
            self.frozen.add(tensor.kind, (1.0 - share) * total);
            self.matrices += if matrix { share * total } else { 0.0 };
            if let Some(rank) = plan.declared.projection_rank.filter(|_| matrix) {
                let (short, long) = (tensor.rows.min(tensor.cols) as f64, tensor.rows.max(tensor.cols) as f64);
                let rank = (rank as f64).min(short);
                self.projected +=
                    layers * share * on_rank(tensor, plan, tensor.copies as f64 * rank * (2.0 * long + short));
            }
            return parameters;
        };
        self.adapters += layers * on_rank(tensor, plan, adapters.targets.adapter_parameters(tensor, adapters.rank));
        if adapters.saves(tensor.module, tensor.kind) {
            // The trainer keeps the original beside the copy that it trains.
            self.adapters += total;
        }
        if matrix && adapters.quantized.is_some() {
            self.quantized.add(tensor.kind, total);
            self.largest_matrix = self.largest_matrix.max(parameters / tensor.copies.max(1) as f64);
        } else {
            self.frozen.add(tensor.kind, total);
        }
        parameters
    }
}

/// Share of the layers that are trained at once; embedding and head always are.
fn active_share(plan: &Plan, model: &Model) -> f64 {
    plan.declared.active_layers.map_or(1.0, |layers| (layers as f64 / model.layer_count().max(1) as f64).min(1.0))
}

/// Micro-batches whose activations a stage holds; those of a schedule that is interleaved over chunks are fractions.
fn in_flight(plan: &Plan, stage: u64) -> f64 {
    let first = plan.pipeline.saturating_sub(1);
    let later = match plan.declared.schedule.unwrap_or(Schedule::OneForwardOneBackward) {
        Schedule::OneForwardOneBackward => first.saturating_sub(stage) as f64,
        Schedule::ZeroBubble => first as f64,
        // Twice as many as there are stages keep a pipeline half busy: fewer are not worth one.
        Schedule::AllForward => return plan.micro_batches.unwrap_or(2.0 * plan.pipeline as f64).max(1.0),
    };
    let chunks = plan.virtual_stages;
    let held = if chunks > 1.0 {
        2.0_f64.mul_add(later, (chunks - 1.0) * plan.pipeline as f64 + 1.0) / chunks
    } else {
        later + 1.0
    };
    plan.micro_batches.map_or(held, |count| held.min(count.max(1.0)))
}

/// Elements of a tensor on one rank.
fn on_rank(tensor: &Tensor, plan: &Plan, elements: f64) -> f64 {
    match tensor.split {
        Split::Replicated => elements,
        Split::Tensor | Split::Vocab => elements / plan.tensor,
        Split::KvHeads(heads) => elements / plan.tensor.min(heads.max(1) as f64),
        Split::Expert => elements / (plan.expert * plan.expert_tensor),
    }
}

/// The layers of a stage: as even as possible, the first stages take the rest.
fn stage_layers<'a>(model: &'a Model, stage: u64, plan: &Plan) -> Vec<(f64, &'a LayerGroup)> {
    let (begin, end) = range(model.layer_count(), stage, plan.pipeline.max(1), &plan.declared.stage_layers);
    groups(model, begin, end)
}

/// First layer of a stage and the first of the next; as declared, else as even as possible.
fn range(total: u64, stage: u64, stages: u64, declared: &[u64]) -> (u64, u64) {
    if declared.len() as u64 == stages && declared.iter().fold(0_u64, |sum, &count| sum.saturating_add(count)) == total
    {
        let sum = |stages: u64| declared.iter().zip(0..stages).map(|(&count, _)| count).sum();
        return (sum(stage), sum(stage.saturating_add(1)));
    }
    let (each, rest) = (total / stages, total % stages);
    let begin = each.saturating_mul(stage).saturating_add(stage.min(rest));
    (begin, begin.saturating_add(each).saturating_add(u64::from(stage < rest)))
}

/// Draft layers behind the last one, `most` at most.
fn drafts(model: &Model, most: u64) -> Vec<(f64, &LayerGroup)> {
    let mut left = most;
    let mut layers = Vec::new();
    for group in &model.mtp {
        let count = group.count.min(left);
        left = left.saturating_sub(count);
        if count > 0 {
            layers.push((count as f64, group));
        }
    }
    layers
}

fn groups(model: &Model, begin: u64, end: u64) -> Vec<(f64, &LayerGroup)> {
    let mut first = 0_u64;
    let mut layers = Vec::new();
    for group in &model.layers {
        let next = first.saturating_add(group.count);
        let count = next.min(end).saturating_sub(first.max(begin));
        if count > 0 {
            layers.push((count as f64, group));
        }
        first = next;
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::training::models::llama2_7b;

    #[test]
    fn stages_cover_every_layer_once() {
        let model = llama2_7b();
        for stages in [1, 2, 3, 5, 32] {
            let layers: f64 = (0..stages)
                .map(|stage| range(32, stage, stages, &[]))
                .flat_map(|(a, b)| groups(&model, a, b))
                .map(|(count, _)| count)
                .sum();
            assert!((layers - 32.0).abs() < f64::EPSILON, "{stages} stages");
        }
    }

    #[test]
    fn declared_stages_count_and_wrong_ones_do_not() {
        assert_eq!(range(12, 0, 4, &[2, 4, 4, 2]), (0, 2));
        assert_eq!(range(12, 3, 4, &[2, 4, 4, 2]), (10, 12));
        assert_eq!(range(12, 3, 4, &[2, 4, 4]), (9, 12));
    }
}
