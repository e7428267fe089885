//! Estimates from the reference formula: exactly it when asked for, with intervals for what it leaves out otherwise.

use super::interval::{Interval, Provenance};
use super::memory::reference;
use super::units::Bytes;
use super::workload::{Checkpointing, Method, Task, Workload};
use super::{Device, Estimate, EstimateError, PerGpu, Term, TermName, TrainingDetail};

/// Estimates with the reference formula.
///
/// # Errors
/// As [`reference::evaluate`].
pub(super) fn estimate(workload: &Workload, device: &Device) -> Result<Estimate, EstimateError> {
    let addends = reference::evaluate(workload)?;
    let exact = workload.method == Method::Reference;
    let queues = workload.task == Task::Inference && workload.engine.name.queues();
    let batch = if queues && !exact { 1 } else { addends.batch };
    let mut terms = addends.terms(batch);
    let mut wanted_terms = addends.terms(addends.batch);
    if !exact {
        for list in [&mut terms, &mut wanted_terms] {
            for term in list.iter_mut() {
                term.bytes = widened(term, workload, addends.guessed);
            }
            list.push(runtime());
        }
    }
    let required: Interval = terms.iter().map(|term| term.bytes).sum();
    let wanted: Interval = wanted_terms.iter().map(|term| term.bytes).sum();
    let fraction = if queues { workload.engine.memory_fraction.unwrap_or(0.9) } else { 1.0 };
    let usable = if exact { device.visible } else { device.visible.scale(fraction) };
    let training = (workload.task == Task::Training).then(|| detail(&addends, required));
    let split = &workload.parallelism;
    Ok(Estimate {
        per_gpu: PerGpu { required, wanted, reserved: if queues { Interval::exact(usable) } else { wanted } },
        usable,
        terms,
        serving: None,
        training,
        worst_rank: String::new(),
        refusals: Vec::new(),
        notes: notes(exact, addends.guessed),
        gpus: [split.tensor, split.pipeline, split.data, split.context].iter().fold(1, |n, d| n.saturating_mul(*d)),
    })
}

fn notes(exact: bool, guessed: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !exact {
        notes.push(
            "estimated from size and shape alone; name the model or give its config for a narrower answer".to_owned(),
        );
    }
    if guessed {
        notes
            .push("layers and hidden size were not given: those usual for this parameter count are assumed".to_owned());
    }
    notes
}

/// What the formula cannot know, as bounds: activations between full checkpointing and none, the cache between eight
/// times fewer key/value heads and what the formula says.
fn widened(term: &Term, workload: &Workload, guessed: bool) -> Interval {
    let likely = term.bytes.likely;
    let (below, above) = match term.name {
        TermName::Activations => match workload.training.checkpointing {
            Some(Checkpointing::Full) => return Interval::new(likely.scale(0.1), likely.scale(0.3), likely.scale(0.6)),
            Some(Checkpointing::Selective) => (0.5, 1.0),
            Some(Checkpointing::None) => (0.3, 5.0),
            None => (0.85, 4.0),
        },
        TermName::KvCache if guessed => (0.9, 1.0),
        TermName::KvCache => (0.0, 0.0),
        _ => (0.03, 0.05),
    };
    Interval::spread(likely, below, above)
}

fn runtime() -> Term {
    Term {
        name: TermName::Runtime,
        bytes: Interval::new(Bytes::from_gib(0.3), Bytes::from_gib(1.0), Bytes::from_gib(3.0)),
        formula: "CUDA context, libraries and working memory".to_owned(),
        provenance: Provenance::Assumed,
    }
}

fn detail(addends: &reference::Addends, required: Interval) -> TrainingDetail {
    TrainingDetail {
        parameters_bytes: Bytes::from_f64(addends.weights),
        gradients_bytes: Bytes::from_f64(addends.gradients),
        optimizer_bytes: Bytes::from_f64(addends.optimizer),
        activations_bytes: Bytes::from_f64(addends.activations),
        peak_allocated_bytes: required.likely,
        peak_phase: "backward",
    }
}

#[cfg(test)]
mod tests {
    use super::super::workload::{Engine, EngineName, ModelFacts, Parallelism, Shape, Sharding, Training};
    use super::super::{dtype::DType, estimate};
    use super::*;

    fn llama_2_7b(task: Task) -> Workload {
        let shape = Shape {
            parameters: 6.74e9,
            layers: Some(32),
            hidden_size: Some(4096),
            heads: Some(32),
            head_dim: Some(128),
        };
        Workload {
            task,
            model: ModelFacts::Shape(shape),
            parallelism: Parallelism::default(),
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            context_length: Some(4096),
            batch_size: Some(4),
            engine: Engine::default(),
            training: Training::default(),
            method: Method::Reference,
        }
    }

    fn gib(workload: &Workload) -> String {
        let device = Device { product: String::new(), visible: Bytes::from_gib(80.0), compute_capability: None };
        format!("{:.1}", estimate(workload, &device).unwrap().per_gpu.required.likely)
    }

    fn term(workload: &Workload, name: TermName) -> Bytes {
        reference::evaluate(workload)
            .unwrap()
            .terms(workload.batch_size.unwrap())
            .iter()
            .filter(|term| term.name == name)
            .map(|term| term.bytes.likely)
            .sum()
    }

    #[test]
    fn reference_figures_to_the_printed_digit() {
        let training = llama_2_7b(Task::Training);
        assert_eq!(gib(&training), "128.4 GiB");
        let states = [TermName::Weights, TermName::Gradients, TermName::Optimizer];
        assert_eq!(states.map(|name| term(&training, name)).into_iter().sum::<Bytes>().to_string(), "100.4 GiB");
        assert_eq!(term(&training, TermName::Activations).to_string(), "28.0 GiB");
        let inference = llama_2_7b(Task::Inference);
        assert_eq!(gib(&inference), "20.6 GiB");
        assert_eq!(term(&inference, TermName::Weights).to_string(), "12.6 GiB");
        assert_eq!(term(&inference, TermName::KvCache).to_string(), "8.0 GiB");
    }

    #[test]
    fn the_cache_is_a_straight_line_in_context() {
        let line: Vec<String> = [512, 1024, 2048, 4096, 8192, 16384]
            .map(|tokens| {
                let workload = Workload { context_length: Some(tokens), ..llama_2_7b(Task::Inference) };
                term(&workload, TermName::KvCache).to_string()
            })
            .to_vec();
        assert_eq!(line, ["1.0 GiB", "2.0 GiB", "4.0 GiB", "8.0 GiB", "16.0 GiB", "32.0 GiB"]);
    }

    #[test]
    fn rules_of_thumb_hold() {
        let base = llama_2_7b(Task::Inference);
        let int8 = Workload { dtype: Some(DType::Int8), ..base.clone() };
        assert_eq!(term(&int8, TermName::Weights).0 * 2, term(&base, TermName::Weights).0);
        let int4 = Workload { dtype: Some(DType::Int4), ..base.clone() };
        assert_eq!(term(&int4, TermName::Weights).0 * 4, term(&base, TermName::Weights).0);
        let ModelFacts::Shape(shape) = base.model else { unreachable!() };
        let gqa = Workload { model: ModelFacts::Shape(Shape { heads: Some(8), ..shape }), ..base.clone() };
        assert_eq!(term(&gqa, TermName::KvCache).0 * 4, term(&base, TermName::KvCache).0);
        let mut sharded = llama_2_7b(Task::Training);
        sharded.training.sharding = Some(Sharding::Zero3);
        sharded.parallelism.data = 4;
        assert_eq!(gib(&sharded), "32.1 GiB");
    }

    #[test]
    fn the_fallback_adds_overheads_and_knows_queues() {
        let base = Workload { method: Method::Auto, ..llama_2_7b(Task::Inference) };
        let device = Device { product: String::new(), visible: Bytes::from_gib(24.0), compute_capability: None };
        let upfront = estimate(&base, &device).unwrap().per_gpu;
        assert!(upfront.required.low.gib() > 20.0 && upfront.required.high.gib() < 26.0, "{upfront:?}");
        let engine = Engine { name: EngineName::Vllm, ..Engine::default() };
        let queued = estimate(&Workload { engine, ..base }, &device).unwrap().per_gpu;
        assert_eq!(queued.wanted, upfront.wanted);
        assert!(queued.required.likely < upfront.required.likely);
    }

    #[test]
    fn zero_and_missing_are_errors_that_name_the_field() {
        let device = Device { product: String::new(), visible: Bytes::from_gib(24.0), compute_capability: None };
        let zero = Workload { batch_size: Some(0), ..llama_2_7b(Task::Inference) };
        assert_eq!(estimate(&zero, &device).unwrap_err().to_string(), "batchSize: must be at least 1, not 0");
        let missing = Workload { context_length: None, ..llama_2_7b(Task::Inference) };
        assert!(estimate(&missing, &device).unwrap_err().to_string().starts_with("contextLength is not known"));
    }
}
