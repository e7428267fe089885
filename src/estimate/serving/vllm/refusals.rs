//! Start-up checks that depend on bytes.

use super::{Plan, Rank};
use crate::estimate::Refusal;
use crate::estimate::dtype::DType;
use crate::estimate::interval::Interval;

impl Plan<'_> {
    /// Start-up checks whose outcome is certain.
    pub(super) fn refusals(&self, worst: &Rank<'_>, one: Interval) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.element == DType::Bf16
            && self.workload.dtype == Some(DType::Bf16)
            && self.device.compute_capability.is_some_and(|capability| capability < (8, 0))
        {
            refusals.push(Refusal {
                code: "DTYPE_UNSUPPORTED",
                message: format!(
                    "bfloat16 needs compute capability 8.0, {} has less: use --dtype float16",
                    self.device.product
                ),
            });
        }
        let pool = self.usable - worst.fixed().low;
        let given = self.workload.engine.kv_cache_memory;
        if let Some(given) = given
            && given < one.low
        {
            refusals.push(Refusal {
                code: "KV_BELOW_ONE_REQUEST",
                message: format!(
                    "one request of {} tokens needs {:.2} of cache, {given:.2} is given",
                    self.context, one.low
                ),
            });
        } else if given.is_none() && worst.fixed().low <= self.usable && pool < one.low {
            refusals.push(Refusal {
                code: "KV_BELOW_ONE_REQUEST",
                message: format!(
                    "one request of {} tokens needs {:.2} of cache, at most {pool:.2} is left",
                    self.context, one.low
                ),
            });
        }
        refusals.extend(self.states_too_few(worst));
        refusals
    }

    /// Every sequence of a captured graph needs a block for its state.
    fn states_too_few(&self, worst: &Rank<'_>) -> Option<Refusal> {
        let engine = &self.workload.engine;
        let checked = self.rules.states_for_all && engine.version.is_some() && !engine.enforce_eager;
        if !checked || !worst.pool.is_hybrid() || worst.fixed().low > self.usable {
            return None;
        }
        let most = engine.kv_cache_memory.unwrap_or(self.usable - worst.fixed().low);
        let blocks = worst.pool.blocks(most.as_f64());
        (self.step.sequences > blocks).then(|| Refusal {
            code: "SEQUENCES_EXCEED_STATES",
            message: format!(
                "{} sequences exceed the {blocks} blocks for recurrent states that the pool has at most: lower --max-num-seqs",
                self.step.sequences
            ),
        })
    }
}
