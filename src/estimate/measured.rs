//! A measured footprint in place of the estimate, as far as a measurement goes.
//!
//! Memory grows with the context and with the number of sequences. So a run that asks for no more than the measured one
//! did needs no more than was measured, a run that asks for the same needs the same, and of a run that asks for more the
//! measurement only says that the likely need is no less. Runs of another kind (other GPUs, formats, training) are left
//! to the estimate.

use super::interval::{Interval, Provenance};
use super::model::Model;
use super::units::Bytes;
use super::workload::{Task, Workload};
use super::{Estimate, Term, TermName};

/// What a model was seen to need, and under which conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Bytes on the fullest GPU.
    pub required: Bytes,
    /// GPUs that the replica was spread over.
    pub gpus: u64,
    /// Longest context, tokens.
    pub context_length: u64,
    /// Sequences at once.
    pub batch_size: u64,
}

/// Two runs of one configuration differ by about this share: graph capture, fragmentation, driver versions.
const REPEATABLE: f64 = 0.03;

/// How a workload relates to the measured run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    Less,
    More,
}

/// Puts what was measured into the estimate; without a measurement that says something, nothing changes.
pub(super) fn apply(workload: &Workload, model: &Model, estimate: &mut Estimate) {
    let Some(measured) = model.measured else { return };
    let run = format!(
        "{:.1} per GPU on {} GPUs at a context of {} and {} sequences",
        measured.required, measured.gpus, measured.context_length, measured.batch_size
    );
    let relation =
        comparable(workload, model, estimate.gpus, measured).and_then(|()| relation(workload, model, measured));
    let relation = match relation {
        Ok(relation) => relation,
        Err(why) => {
            estimate.notes.push(format!("the measured footprint ({run}) says nothing here: {why}"));
            return;
        }
    };
    let seen = Interval::spread(measured.required, REPEATABLE, REPEATABLE);
    let before = estimate.per_gpu.required;
    let need = bounded(before, seen, relation);
    if need == before {
        return;
    }
    estimate.notes.push(format!("{run} were measured; the estimate alone is {:.1}", before.likely));
    if !workload.engine.name.queues() {
        estimate.per_gpu.reserved = bounded(estimate.per_gpu.reserved, seen, relation);
    }
    estimate.per_gpu.wanted = bounded(estimate.per_gpu.wanted, seen, relation).max(need);
    estimate.per_gpu.required = need;
    let formula = format!("measured: {run}");
    estimate.terms = vec![Term { name: TermName::Measured, bytes: need, formula, provenance: Provenance::Calibrated }];
    // It ran in less than there is here, whatever the arithmetic says.
    if relation != Relation::More && seen.high <= estimate.usable {
        estimate.refusals.clear();
    }
}

fn bounded(estimate: Interval, seen: Interval, relation: Relation) -> Interval {
    match relation {
        Relation::Same => seen,
        Relation::Less => Interval {
            low: estimate.low.min(seen.low),
            likely: estimate.likely.min(seen.likely),
            high: estimate.high.min(seen.high),
        },
        // `low` stays: settings that nobody wrote down may have made the measured run larger than it had to be.
        Relation::More => Interval::new(estimate.low, estimate.likely.max(seen.likely), estimate.high.max(seen.high)),
    }
}

/// Whether the workload runs as the measured one did, or why not.
fn comparable(workload: &Workload, model: &Model, gpus: u64, measured: Measured) -> Result<(), String> {
    if workload.task != Task::Inference {
        return Err("it is of serving, this is training".to_owned());
    }
    if gpus != measured.gpus {
        return Err(format!("this runs on {gpus} GPUs"));
    }
    let other_weights = workload.quantization.is_some() && workload.quantization != model.quantization;
    if other_weights || workload.dtype.is_some_and(|dtype| dtype != model.dtype) {
        return Err("this runs in another format".to_owned());
    }
    if workload.kv_cache_dtype.is_some_and(|dtype| dtype != model.dtype) {
        return Err("this keeps the cache in another format".to_owned());
    }
    if workload.engine.cpu_offload > Bytes::ZERO {
        return Err("this keeps weights on the host".to_owned());
    }
    Ok(())
}

/// Context and sequences of the workload beside those of the measured run.
fn relation(workload: &Workload, model: &Model, measured: Measured) -> Result<Relation, String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let context = workload.context_length.or(model.max_position_embeddings).unwrap_or(measured.context_length);
    let batch = workload.batch_size.unwrap_or(measured.batch_size);
    match (context.cmp(&measured.context_length), batch.cmp(&measured.batch_size)) {
        (Equal, Equal) => Ok(Relation::Same),
        (Equal | Less, Equal | Less) => Ok(Relation::Less),
        (Equal | Greater, Equal | Greater) => Ok(Relation::More),
        _ => Err(format!("this has a context of {context} and {batch} sequences")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::estimate::model::hf_config;
    use crate::estimate::workload::{Engine, Method, ModelFacts, Parallelism, Training};
    use crate::estimate::{Device, estimate};

    const GIB: u64 = 1 << 30;

    fn needs(change: impl FnOnce(&mut Workload)) -> (Interval, Vec<Term>) {
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "intermediate_size": 11008, "vocab_size": 32000, "torch_dtype": "float16",
        });
        let mut model = hf_config::read("m", &config).unwrap();
        model.measured = Some(Measured { required: Bytes(20 * GIB), gpus: 1, context_length: 4096, batch_size: 4 });
        let mut workload = Workload {
            task: Task::Inference,
            model: ModelFacts::Known(Arc::new(model)),
            parallelism: Parallelism::default(),
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            context_length: Some(4096),
            batch_size: Some(4),
            engine: Engine::default(),
            training: Training::default(),
            method: Method::Auto,
        };
        change(&mut workload);
        let device = Device { product: String::new(), visible: Bytes(80 * GIB), compute_capability: None };
        let found = estimate(&workload, &device).unwrap();
        (found.per_gpu.required, found.terms)
    }

    fn forget(workload: &mut Workload) {
        let ModelFacts::Known(model) = &mut workload.model else { panic!("a known model") };
        Arc::make_mut(model).measured = None;
    }

    #[test]
    fn the_same_run_needs_what_was_measured() {
        let (need, terms) = needs(|_| {});
        assert_eq!(need.likely, Bytes(20 * GIB));
        assert!(need.low > Bytes(19 * GIB) && need.high < Bytes(21 * GIB), "{need:?}");
        assert_eq!(terms.iter().map(|term| term.name).collect::<Vec<_>>(), [TermName::Measured]);
    }

    #[test]
    fn a_smaller_run_needs_no_more_than_was_measured() {
        let (estimated, _) = needs(|workload| {
            forget(workload);
            workload.context_length = Some(2048);
        });
        let (need, _) = needs(|workload| workload.context_length = Some(2048));
        assert!(need.high.0 <= 21 * GIB && need.low <= estimated.low && need.likely <= estimated.likely, "{need:?}");
    }

    #[test]
    fn of_a_larger_run_only_the_likely_need_rises() {
        let tiny = |workload: &mut Workload| workload.context_length = Some(4097);
        let (estimated, _) = needs(|workload| {
            forget(workload);
            tiny(workload);
        });
        let (need, _) = needs(tiny);
        assert_eq!(need.low, estimated.low, "a denial never rests on it");
        assert!(need.likely >= Bytes(20 * GIB), "{need:?}");
    }

    #[test]
    fn other_kinds_of_runs_are_left_to_the_estimate() {
        use crate::estimate::dtype::DType;
        use crate::estimate::model::Quantization;
        let changes: [fn(&mut Workload); 4] = [
            |workload| workload.parallelism.tensor = 2,
            |workload| workload.quantization = Quantization::from_name("nf4"),
            |workload| workload.kv_cache_dtype = Some(DType::Fp8),
            |workload| (workload.context_length, workload.batch_size) = (Some(8192), Some(2)),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (with, _) = needs(change);
            let (without, _) = needs(|workload| {
                forget(workload);
                change(workload);
            });
            assert_eq!(with, without, "change {number}");
        }
    }
}
