//! The search for changes after which a workload fits. Every suggestion has been evaluated by the same engine.

mod remedies;

use super::fit::{self, Strictness};
use super::inventory::{Candidate, Candidates};
use super::report::{Change, Fix};
use super::verdict::Verdict;
use crate::estimate::dtype::DType;
use crate::estimate::model::Quantization;
use crate::estimate::workload::{
    Checkpointing, EngineName, Lora, Loss, ModelFacts, Optimizer, Sharding, Task, Workload,
};

/// Suggestions at most.
const MOST: usize = 3;
/// Suggestions of one strategy at most.
const MOST_OF_A_KIND: usize = 1;

/// A changed workload with what was changed.
struct Proposal {
    strategy: &'static str,
    workload: Workload,
    /// GPUs of one pod that it needs.
    gpus: u64,
    changes: Vec<Change>,
    cost: &'static str,
}

/// What the workload is now: the starting point of the search.
pub struct Search<'a> {
    /// The workload that does not fit.
    pub workload: &'a Workload,
    /// GPUs that the pod requests.
    pub gpus: u64,
    /// Where it could land, and where it cannot for now.
    pub candidates: &'a Candidates,
    /// Which need counts.
    pub strictness: Strictness,
}

impl Search<'_> {
    /// Up to three proven changes, least invasive first.
    #[must_use]
    pub fn run(&self) -> Vec<Fix> {
        let mut fixes: Vec<Fix> = self.steer().into_iter().collect();
        let singles = match self.workload.task {
            Task::Inference => self.serving(),
            Task::Training => self.training(),
        };
        for proposal in &singles {
            if fixes.len() >= MOST {
                break;
            }
            if fixes.iter().filter(|fix| fix.strategy == proposal.strategy).count() >= MOST_OF_A_KIND {
                continue;
            }
            if let Some(fix) = self.prove(proposal) {
                fixes.push(fix);
            }
        }
        fixes.truncate(MOST);
        fixes
    }

    /// Evaluates a proposal on the eligible classes; the smallest class on which it fits is named.
    fn prove(&self, proposal: &Proposal) -> Option<Fix> {
        let roomy = self.candidates.eligible.iter().filter(|candidate| candidate.gpus_per_node >= proposal.gpus);
        let smallest_first = sorted_by_memory(roomy);
        smallest_first.into_iter().find_map(|candidate| {
            let fit = fit::fit(&proposal.workload, candidate, self.strictness).ok()?;
            (fit.verdict == Verdict::Fits).then(|| Fix {
                strategy: proposal.strategy.to_owned(),
                changes: proposal.changes.clone(),
                required: self.strictness.need(&fit.estimate),
                gpu_class: candidate.class.name(),
                cost: proposal.cost.to_owned(),
            })
        })
    }

    /// The unchanged workload on a class that it cannot land on for now.
    fn steer(&self) -> Option<Fix> {
        let excluded = self.candidates.excluded.iter().map(|(candidate, _)| candidate);
        sorted_by_memory(excluded).into_iter().filter(|candidate| candidate.gpus_per_node >= self.gpus).find_map(
            |candidate| {
                let fit = fit::fit(self.workload, candidate, self.strictness).ok()?;
                (fit.verdict == Verdict::Fits).then(|| Fix {
                    strategy: "steer".to_owned(),
                    changes: vec![change("nodeSelector nvidia.com/gpu.product", "", &candidate.class.device.product)],
                    required: self.strictness.need(&fit.estimate),
                    gpu_class: candidate.class.name(),
                    cost: "needs a node of this class".to_owned(),
                })
            },
        )
    }

    fn serving(&self) -> Vec<Proposal> {
        let mut proposals = remedies::proposals(self);
        proposals.extend(self.shorter_contexts());
        proposals.extend(self.smaller_batches());
        proposals.extend(self.more_tensor_ranks());
        proposals.extend(self.cache_in_fp8());
        proposals.extend(self.quantized_weights());
        proposals
    }

    fn shorter_contexts(&self) -> Vec<Proposal> {
        const SHORTEST: u64 = 1024;
        let stated = self.workload.context_length;
        let model_maximum = match &self.workload.model {
            ModelFacts::Known(model) => model.max_position_embeddings,
            ModelFacts::Shape(_) => None,
        };
        let Some(now) = stated.or(model_maximum) else { return Vec::new() };
        let powers = (0..24).map(|shift| 1_u64 << (33 - shift)).filter(|tokens| *tokens < now && *tokens >= SHORTEST);
        powers
            .map(|tokens| Proposal {
                strategy: "context",
                workload: Workload { context_length: Some(tokens), ..self.workload.clone() },
                gpus: self.gpus,
                changes: vec![change(
                    "contextLength",
                    &stated.map_or_else(String::new, |n| n.to_string()),
                    &tokens.to_string(),
                )],
                cost: "shorter requests only",
            })
            .collect()
    }

    fn smaller_batches(&self) -> Vec<Proposal> {
        let Some(now) = self.workload.batch_size else { return Vec::new() };
        if self.workload.engine.name.queues() && !self.strictness.require_wanted {
            return Vec::new();
        }
        halves(now)
            .map(|batch| Proposal {
                strategy: "sequences",
                workload: Workload { batch_size: Some(batch), ..self.workload.clone() },
                gpus: self.gpus,
                changes: vec![change("batchSize", &now.to_string(), &batch.to_string())],
                cost: "fewer requests at once",
            })
            .collect()
    }

    fn more_tensor_ranks(&self) -> Vec<Proposal> {
        let now = self.workload.parallelism.tensor;
        let pipeline = self.workload.parallelism.pipeline;
        [2_u64, 4, 8, 16]
            .into_iter()
            .filter(|degree| *degree > now)
            .map(|degree| {
                let mut workload = self.workload.clone();
                workload.parallelism.tensor = degree;
                let gpus = degree.saturating_mul(pipeline);
                let mut changes = vec![change("parallelism.tensor", &now.to_string(), &degree.to_string())];
                if gpus != self.gpus {
                    changes.push(change("gpus", &self.gpus.to_string(), &gpus.to_string()));
                }
                Proposal { strategy: "gpus", workload, gpus, changes, cost: "more GPUs" }
            })
            .collect()
    }

    fn cache_in_fp8(&self) -> Option<Proposal> {
        let narrow = self.workload.kv_cache_dtype.is_some_and(|dtype| dtype.bits() <= 8);
        if narrow || self.workload.engine.name != EngineName::Vllm {
            return None;
        }
        let from = self.workload.kv_cache_dtype.map_or("auto", DType::name);
        Some(Proposal {
            strategy: "kv-cache-dtype",
            workload: Workload { kv_cache_dtype: Some(DType::Fp8), ..self.workload.clone() },
            gpus: self.gpus,
            changes: vec![change("kvCacheDtype", from, "fp8")],
            cost: "slightly less exact attention",
        })
    }

    /// Quantization at load time, where neither the checkpoint nor the engine has one yet.
    fn quantized_weights(&self) -> Vec<Proposal> {
        let ModelFacts::Known(model) = &self.workload.model else { return Vec::new() };
        if self.workload.quantization.is_some() || model.quantization.is_some() {
            return Vec::new();
        }
        let names: &[&str] = match self.workload.engine.name {
            EngineName::Vllm | EngineName::Sglang | EngineName::Tgi => &["fp8", "awq"],
            _ => &["int8", "nf4"],
        };
        let quantized = names.iter().filter_map(|name| Quantization::from_name(name).map(|found| (*name, found)));
        quantized
            .map(|(name, quantization)| Proposal {
                strategy: "quantization",
                workload: Workload { quantization: Some(quantization), ..self.workload.clone() },
                gpus: self.gpus,
                changes: vec![change("quantization", "none", name)],
                cost: "quantized weights; for awq a quantized checkpoint",
            })
            .collect()
    }

    fn training(&self) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        proposals.extend(self.full_checkpointing());
        proposals.extend(self.fused_loss());
        proposals.extend(self.smaller_micro_batches());
        proposals.extend(self.narrow_optimizer());
        proposals.extend(self.sharded(self.workload));
        proposals.extend(self.sharded_and_checkpointed());
        proposals.extend(self.adapters());
        proposals
    }

    fn trained(
        &self,
        strategy: &'static str,
        cost: &'static str,
        changes: Vec<Change>,
        edit: impl FnOnce(&mut Workload),
    ) -> Proposal {
        let mut workload = self.workload.clone();
        edit(&mut workload);
        Proposal { strategy, workload, gpus: self.gpus, changes, cost }
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

    fn smaller_micro_batches(&self) -> Vec<Proposal> {
        let Some(now) = self.workload.batch_size else { return Vec::new() };
        halves(now)
            .map(|batch| {
                let steps =
                    now.div_ceil(batch).saturating_mul(self.workload.training.gradient_accumulation.unwrap_or(1));
                let changes = vec![
                    change("batchSize", &now.to_string(), &batch.to_string()),
                    change("training.gradientAccumulation", "", &steps.to_string()),
                ];
                self.trained("microbatch", "more accumulation steps", changes, |workload| {
                    workload.batch_size = Some(batch);
                    workload.training.gradient_accumulation = Some(steps);
                })
            })
            .collect()
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
                changes.push(change("parallelism.data", &base.parallelism.data.to_string(), &data.to_string()));
                if gpus != self.gpus {
                    changes.push(change("gpus", &self.gpus.to_string(), &gpus.to_string()));
                }
                Proposal { strategy: "sharding", workload, gpus, changes, cost: "more GPUs, more traffic" }
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

fn sorted_by_memory<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<&'a Candidate> {
    let mut sorted: Vec<&Candidate> = candidates.collect();
    sorted.sort_by_key(|candidate| candidate.class.device.visible);
    sorted
}

/// `n / 2`, `n / 4`, ... down to 1.
fn halves(n: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(n / 2), |n| Some(n / 2)).take_while(|n| *n >= 1)
}

fn change(path: &str, from: &str, to: &str) -> Change {
    Change { path: path.to_owned(), from: from.to_owned(), to: to.to_owned() }
}
