//! What a training job could do with less of.

use super::{Proposal, Search, Strategy};
use crate::decide::report::Change;
use crate::decide::solve::change;
use crate::decide::solve::search::largest;
use crate::estimate::Workload;
use crate::estimate::workload::{Checkpointing, Lora, Loss, ModelFacts, Optimizer, Sharding};

/// In the order in which they are tried: least invasive first.
pub(super) const STRATEGIES: &[Strategy] = &[
    |search| search.full_checkpointing().into_iter().collect(),
    |search| search.fused_loss().into_iter().collect(),
    |search| search.smaller_micro_batch().into_iter().collect(),
    |search| search.narrow_optimizer().into_iter().collect(),
    |search| search.sharded(search.workload),
    |search| search.sharded_and_checkpointed(),
    |search| search.adapters(),
];

impl Search<'_> {
    fn trained(
        &self,
        strategy: &'static str,
        cost: &'static str,
        changes: Vec<Change>,
        edit: impl FnOnce(&mut Workload),
    ) -> Proposal {
        let mut workload = self.workload.clone();
        edit(&mut workload);
        Proposal { strategy, workload, gpus: self.gpus, changes, cost: cost.to_owned() }
    }

    fn full_checkpointing(&self) -> Option<Proposal> {
        let now = self.workload.training.checkpointing;
        if now == Some(Checkpointing::Full) {
            return None;
        }
        let changes = vec![change("training.checkpointing", now.map_or("", Checkpointing::name), "full")];
        Some(self.trained("checkpointing", "about a third more compute", changes, |workload| {
            workload.training.checkpointing = Some(Checkpointing::Full);
        }))
    }

    fn fused_loss(&self) -> Option<Proposal> {
        let now = self.workload.training.loss;
        if now == Some(Loss::Fused) {
            return None;
        }
        let changes = vec![change("training.loss", now.map_or("", Loss::name), "fused")];
        Some(self.trained("loss", "a fused cross-entropy kernel", changes, |workload| {
            workload.training.loss = Some(Loss::Fused);
        }))
    }

    /// The largest micro-batch that divides the present one and fits, with as many more steps.
    fn smaller_micro_batch(&self) -> Option<Proposal> {
        /// Larger batches are no micro-batches.
        const MOST: u64 = 1 << 12;
        let now = self.workload.batch_size.filter(|now| *now <= MOST)?;
        let parts: Vec<u64> = (1..now).filter(|part| now.is_multiple_of(*part)).collect();
        let part = |number: u64| usize::try_from(number).ok().and_then(|n| parts.get(n.saturating_sub(1))).copied();
        let steps =
            |batch: u64| (now / batch.max(1)).saturating_mul(self.workload.training.gradient_accumulation.unwrap_or(1));
        let smaller = |batch: u64| {
            let mut workload = Workload { batch_size: Some(batch), ..self.workload.clone() };
            workload.training.gradient_accumulation = Some(steps(batch));
            workload
        };
        let fits = |number| part(number).is_some_and(|batch| self.fits_largest(&smaller(batch)));
        let batch = largest(parts.len() as u64, fits).and_then(part)?;
        let before = self.workload.training.gradient_accumulation.unwrap_or(1);
        let changes =
            vec![change("batchSize", now, batch), change("training.gradientAccumulation", before, steps(batch))];
        let (gpus, cost) = (self.gpus, "more accumulation steps".to_owned());
        Some(Proposal { strategy: "microbatch", workload: smaller(batch), gpus, changes, cost })
    }

    fn sharded(&self, base: &Workload) -> Vec<Proposal> {
        let now = base.training.sharding.unwrap_or(Sharding::None);
        let sharding = match now {
            Sharding::Fsdp | Sharding::Hsdp | Sharding::Megatron => now,
            _ => Sharding::Zero3,
        };
        let model_ranks = base.parallelism.tensor.saturating_mul(base.parallelism.pipeline);
        [1_u64, 2, 4, 8, 16]
            .into_iter()
            .filter(|data| {
                *data >= base.parallelism.data && (*data > base.parallelism.data || now != sharding) && *data > 1
            })
            .map(|data| {
                let mut workload = base.clone();
                workload.parallelism.data = data;
                workload.training.sharding = Some(sharding);
                let gpus = data.saturating_mul(model_ranks);
                let mut changes = vec![change("training.sharding", now.name(), sharding.name())];
                changes.retain(|change| change.from != change.to);
                changes.push(change("parallelism.data", base.parallelism.data, data));
                if gpus != self.gpus {
                    changes.push(change("gpus", self.gpus, gpus));
                }
                Proposal { strategy: "sharding", workload, gpus, changes, cost: "more GPUs, more traffic".to_owned() }
            })
            .collect()
    }

    fn narrow_optimizer(&self) -> Option<Proposal> {
        let now = self.workload.training.optimizer.unwrap_or(Optimizer::AdamW);
        if now != Optimizer::AdamW {
            return None;
        }
        let changes = vec![change("training.optimizer", now.name(), Optimizer::AdamW8bit.name())];
        Some(self.trained("optimizer", "quantized optimizer states", changes, |workload| {
            workload.training.optimizer = Some(Optimizer::AdamW8bit);
        }))
    }

    /// LoRA, then QLoRA, both with full checkpointing.
    fn adapters(&self) -> Vec<Proposal> {
        if self.workload.training.lora.is_some() || !matches!(self.workload.model, ModelFacts::Known(_)) {
            return Vec::new();
        }
        [false, true]
            .into_iter()
            .map(|quantized| {
                let method = if quantized { "rank 16 on a 4-bit base" } else { "rank 16" };
                let changes = vec![
                    change("training.lora", "", method),
                    change(
                        "training.checkpointing",
                        self.workload.training.checkpointing.map_or("", Checkpointing::name),
                        "full",
                    ),
                ];
                self.trained("lora", "trains adapters, not the whole model", changes, |workload| {
                    workload.training.lora = Some(low_rank(quantized));
                    workload.training.checkpointing = Some(Checkpointing::Full);
                })
            })
            .collect()
    }

    /// Sharding and full checkpointing together, for where neither suffices alone.
    fn sharded_and_checkpointed(&self) -> Vec<Proposal> {
        let now = self.workload.training.checkpointing;
        if now == Some(Checkpointing::Full) {
            return Vec::new();
        }
        let mut base = self.workload.clone();
        base.training.checkpointing = Some(Checkpointing::Full);
        let mut proposals = self.sharded(&base);
        for proposal in &mut proposals {
            proposal.changes.push(change("training.checkpointing", now.map_or("", Checkpointing::name), "full"));
        }
        proposals
    }
}

fn low_rank(quantized_base: bool) -> Lora {
    Lora {
        rank: 16,
        targets: vec!["all-linear".to_owned()],
        quantized_base,
        double_quantization: false,
        fp32_adapters: true,
        dropout: false,
        modules_to_save: Vec::new(),
    }
}
