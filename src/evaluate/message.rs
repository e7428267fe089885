//! The one-line message: code's cause, container, need against capacity, binding term, fixes.

use crate::decide::fit::{Assessment, Fit, Strictness};
use crate::decide::inventory::Sharing;
use crate::decide::report::Fix;
use crate::decide::{Candidates, Verdict};
use crate::estimate::workload::{EngineName, Task};
use crate::estimate::{Estimate, Term, TermName, Workload};
use crate::spec::declaration::Declaration;

/// Terms named in a message.
const NAMED_TERMS: usize = 3;

/// The message for an assessment.
pub(super) fn verdict(
    assessment: &Assessment,
    candidates: &Candidates,
    declaration: &Declaration,
    fixes: &[Fix],
    strictness: Strictness,
) -> String {
    let container = &declaration.container;
    let Some(best) = &assessment.best else { return without_class(assessment.verdict, candidates, declaration) };
    let class = best.candidate.class.name();
    let need = strictness.need(&best.estimate);
    let usable = best.estimate.usable;
    let text = match assessment.verdict {
        Verdict::Fits => {
            let text =
                format!("container \"{container}\" needs {:.1} per GPU, {class} offers {usable:.1}", need.likely);
            let doubts = (!declaration.unknown_fields.is_empty()).then(|| declaration.unread.join("; "));
            let elsewhere = (!assessment.misfits.is_empty()).then(|| misfits(&assessment.misfits));
            std::iter::once(text).chain(doubts).chain(elsewhere).collect::<Vec<_>>().join("; ")
        }
        Verdict::Tight => format!(
            "container \"{container}\" needs {:.1} to {:.1} GiB per GPU ({}), {class} offers {usable:.1}{}: it may run out of memory",
            need.low.gib(),
            need.high.gib(),
            breakdown(&best.estimate),
            share(best)
        ),
        Verdict::FitsAfterScaleUp => format!(
            "container \"{container}\" needs {:.1} per GPU; no node has room for that, one with {class} ({usable:.1}) could be added by an autoscaler",
            need.likely
        ),
        Verdict::UnknownCapacity => format!(
            "container \"{container}\" needs {:.1} per GPU, more than {class} offers ({usable:.1}); {}",
            need.likely,
            unknown(candidates)
        ),
        Verdict::EngineRefuses => {
            let reasons: Vec<&str> = best.estimate.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
            format!("container \"{container}\" would not start on {class}: {}", reasons.join("; "))
        }
        _ => format!(
            "container \"{container}\" needs at least {:.1} per GPU, likely {:.1} ({}), the best eligible GPU {class} offers {usable:.1}",
            need.low,
            need.likely,
            breakdown(&best.estimate)
        ),
    };
    with_fixes(text, fixes)
}

/// What of the offer can be counted on, where that is less than all.
fn share(best: &Fit) -> String {
    let class = &best.candidate.class;
    let assured = class.assured;
    let reserved = best.estimate.per_gpu.reserved.likely;
    let beyond = if reserved > assured.max(best.estimate.per_gpu.required.high) {
        format!("; the engine takes {reserved:.1}")
    } else {
        String::new()
    };
    match class.sharing {
        _ if assured >= class.device.visible => String::new(),
        Sharing::TimeSlicing => format!(", which {} pods may share ({assured:.1} each{beyond})", class.clients),
        Sharing::Fraction => format!(", of which the pod asks for {assured:.1}{beyond}; nothing enforces it"),
        _ => format!(", of which {assured:.1} are sure"),
    }
}

/// Why the memory of devices that the pod could have is not known.
fn unknown(candidates: &Candidates) -> String {
    let reasons: Vec<&str> =
        candidates.unknown.iter().chain(&candidates.possible_unknown).map(String::as_str).collect();
    reasons.join("; ")
}

fn without_class(verdict: Verdict, candidates: &Candidates, declaration: &Declaration) -> String {
    let (count, resource) =
        declaration.gpus.as_ref().map_or((1, "nvidia.com/gpu"), |request| (request.count, request.resource.as_str()));
    if verdict == Verdict::UnknownCapacity {
        let reasons = unknown(candidates);
        return format!("the GPU memory of the nodes that this pod can land on is not known: {reasons}");
    }
    let excluded: Vec<String> = candidates
        .excluded
        .iter()
        .take(3)
        .map(|(candidate, why)| format!("{}: {why}", candidate.class.name()))
        .collect();
    let detail = if excluded.is_empty() { "no node has that resource".to_owned() } else { excluded.join("; ") };
    format!("no node that this pod can land on has {count} {resource} ({detail})")
}

/// The message where there is no capacity to hold the estimate against.
pub(super) fn without_capacity(declaration: &Declaration, estimate: &Estimate) -> String {
    let need = estimate.per_gpu.required;
    let why = if declaration.gpus.is_none() && declaration.claims.is_empty() {
        "it requests no GPU"
    } else {
        "no nodes are known"
    };
    format!(
        "container \"{}\" needs {:.1} per GPU ({}); {why}, so it is held against nothing",
        declaration.container,
        need.likely,
        breakdown(estimate)
    )
}

/// The message where the checkpoint's format decides and only a path is known.
pub(super) fn stored_unknown(declaration: &Declaration) -> String {
    format!(
        "container \"{}\" does not fit unless the checkpoint at its path is quantized, which is not said: add `--quantization` \
         or `vramguard.io/quantization` (`none` if it is not)",
        declaration.container
    )
}

/// The message where what could not be read decides.
pub(super) fn unread(declaration: &Declaration) -> String {
    let reasons =
        if declaration.unread.is_empty() { "its arguments".to_owned() } else { declaration.unread.join("; ") };
    format!(
        "container \"{}\" cannot be judged: {reasons}; say it in annotations (vramguard.io/spec)",
        declaration.container
    )
}

/// `weights 12.6 + kv_cache 8.0 + ...`, largest first.
fn breakdown(estimate: &Estimate) -> String {
    let named: Vec<String> = estimate.terms.iter().take(NAMED_TERMS).map(term).collect();
    named.join(", ")
}

fn term(term: &Term) -> String {
    format!("{} {:.1}", term_label(term.name), term.bytes.likely.gib())
}

/// The term's name for people.
pub(crate) const fn term_label(name: TermName) -> &'static str {
    match name {
        TermName::Weights => "weights",
        TermName::KvCache => "KV cache",
        TermName::State => "states",
        TermName::Activations => "activations",
        TermName::Logits => "logits",
        TermName::Gradients => "gradients",
        TermName::Optimizer => "optimizer",
        TermName::Transient => "transient",
        TermName::Adapters => "adapters",
        TermName::Comm => "communication",
        TermName::Runtime => "runtime",
        TermName::CudaGraphs => "CUDA graphs",
        TermName::Fragmentation => "fragmentation",
        TermName::Measured => "measured",
    }
}

fn with_fixes(text: String, fixes: &[Fix]) -> String {
    if fixes.is_empty() {
        return text;
    }
    let said: Vec<String> = fixes.iter().map(fix).collect();
    format!("{text}; fits with {}", said.join(", or "))
}

/// `--max-model-len 131072 -> 32768 (15.2 GiB on NVIDIA-L4-22GiB)`.
fn fix(fix: &Fix) -> String {
    let changes: Vec<String> = fix
        .changes
        .iter()
        .map(|change| {
            if change.from.is_empty() {
                format!("{} {}", change.path, change.to)
            } else {
                format!("{} {} -> {}", change.path, change.from, change.to)
            }
        })
        .collect();
    format!("{} ({:.1} on {})", changes.join(" and "), fix.required.likely, fix.gpu_class)
}

/// What to do about classes on which the pod may land although it does not fit there.
fn misfits(misfits: &[Fit]) -> String {
    let names: Vec<String> = misfits.iter().map(|fit| fit.candidate.class.name()).collect();
    format!(
        "the pod may also be scheduled on {}, where it does not fit: restrict it with a nodeSelector on nvidia.com/gpu.product",
        names.join(", ")
    )
}

/// The note that a queueing engine will not run the declared concurrency at once.
pub(super) fn queues(workload: &Workload, best: &Fit) -> Option<String> {
    let wanted = best.estimate.per_gpu.wanted;
    let more = wanted.likely > best.estimate.usable && best.estimate.per_gpu.required.likely <= best.estimate.usable;
    (workload.task == Task::Inference && more && workload.engine.name.queues()).then(|| {
        format!(
            "{} sequences at once want {:.1}, {:.1} is usable: {} will queue some of them",
            workload.batch_size.unwrap_or(1),
            wanted.likely,
            best.estimate.usable,
            workload.engine.name.name()
        )
    })
}

/// The note that other pods' memory on a shared device counts against a server's share of the whole.
pub(super) fn shared(workload: &Workload, best: &Fit) -> Option<String> {
    let shared = matches!(best.candidate.class.sharing, Sharing::TimeSlicing | Sharing::Mps);
    let plans = workload.engine.name == EngineName::Vllm && workload.engine.kv_cache_memory.is_none();
    (workload.task == Task::Inference && shared && plans).then(|| {
        format!(
            "vLLM starts only if {:.1} of the shared GPU are free: divide --gpu-memory-utilization by the pods on it",
            best.estimate.usable
        )
    })
}
