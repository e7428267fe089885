//! `estimate` for people: the terms, the three questions, the capacity, the verdict.

use std::fmt::Write as _;

use super::WIDTH;
use super::bar::{self};
use super::grid::{Column, Grid};
use super::style::{Span, Tone, clean, wrap};
use super::table::{self, gib};
use crate::decide::report::{CapacityView, EstimateView, WorkloadView};
use crate::decide::{Report, Verdict};
use crate::estimate::workload::{Parallelism, Task};
use crate::estimate::{Bytes, Interval};

/// Cells of a full bar.
const BAR: usize = 28;

/// One report as text with colours; `explain` adds each term's formula.
#[must_use]
pub fn estimate(report: &Report, explain: bool) -> String {
    let mut text = String::new();
    if let Some(workload) = &report.workload {
        header(&mut text, workload);
    }
    if let Some(estimate) = &report.estimate {
        terms(&mut text, estimate, explain);
        questions(&mut text, estimate, report.workload.as_ref());
    }
    capacity(&mut text, report.capacity.as_ref(), report.estimate.as_ref());
    verdict(&mut text, report);
    for note in &report.notes {
        labelled(&mut text, "note", note, Tone::Dim);
    }
    text
}

/// Name and facts of a workload.
pub(crate) fn header(text: &mut String, workload: &WorkloadView) {
    let engine = match &workload.engine.version {
        Some(version) => format!("{} {version}", workload.engine.name),
        None => workload.engine.name.clone(),
    };
    let mut facts = vec![task_name(workload.task).to_owned(), engine];
    facts.extend(workload.parameters.map(|count| format!("{:.2} B parameters", count as f64 / 1e9)));
    facts.extend(workload.dtype.clone());
    facts.extend(workload.quantization.clone());
    facts.extend(workload.context_length.map(|tokens| format!("context {tokens}")));
    facts.extend(workload.batch_size.map(|batch| format!("batch {batch}")));
    facts.extend(degrees(workload.parallelism));
    let _ = writeln!(text, "{}", Span::new(clean(&workload.model), Tone::Strong).painted());
    for line in wrap(&clean(&facts.join(" · ")), WIDTH) {
        let _ = writeln!(text, "{}", Span::new(line, Tone::Dim).painted());
    }
    text.push('\n');
}

const fn task_name(task: Task) -> &'static str {
    match task {
        Task::Inference => "inference",
        Task::Training => "training",
    }
}

/// Degrees of parallelism above 1, in short.
pub(crate) fn degrees(parallelism: Parallelism) -> Vec<String> {
    let Parallelism { tensor, pipeline, data, expert, context } = parallelism;
    let all = [("TP", tensor), ("PP", pipeline), ("DP", data), ("EP", expert), ("CP", context)];
    all.into_iter().filter(|(_, degree)| *degree > 1).map(|(name, degree)| format!("{name} {degree}")).collect()
}

fn terms(text: &mut String, estimate: &EstimateView, explain: bool) {
    let total = estimate.per_gpu.required.likely.as_f64().max(1.0);
    let mut grid = Grid::new(vec![
        Column::fixed("TERM"),
        Column::number("GiB"),
        Column::number("LOW–HIGH"),
        Column::number("SHARE"),
        Column::fixed(""),
        Column::fixed("KNOWN"),
    ]);
    for term in &estimate.terms {
        let share = term.bytes.likely.as_f64() / total;
        let cell = |text: String| vec![Span::new(text, Tone::Plain)];
        grid.row(vec![
            cell(term.name.name().to_owned()),
            cell(gib(term.bytes.likely)),
            vec![Span::new(range(term.bytes), Tone::Dim)],
            cell(format!("{:.0} %", share * 100.0)),
            vec![bar::single(term.name, share, BAR)],
            cell(bar::provenance_name(term.provenance).to_owned()),
        ]);
    }
    let mut lines = grid.lines(WIDTH).into_iter();
    let _ = writeln!(text, "{}", lines.next().unwrap_or_default());
    for (line, term) in lines.zip(&estimate.terms) {
        let _ = writeln!(text, "{line}");
        if explain {
            for line in wrap(&clean(&term.formula), WIDTH - 4) {
                let _ = writeln!(text, "    {}", Span::new(line, Tone::Dim).painted());
            }
        }
    }
    text.push('\n');
}

/// `20.55–24.10`, or nothing where the value is exact.
pub(crate) fn range(interval: Interval) -> String {
    if interval.width() == Bytes::ZERO {
        return String::new();
    }
    format!("{:.2}–{:.2}", interval.low.gib(), interval.high.gib())
}

fn questions(text: &mut String, estimate: &EstimateView, workload: Option<&WorkloadView>) {
    let training = workload.is_some_and(|workload| workload.task == Task::Training);
    let per_gpu = estimate.per_gpu;
    let required = if training { "to run a step" } else { "to start and serve" };
    let rank = if estimate.worst_rank.is_empty() { String::new() } else { format!(", {}", estimate.worst_rank) };
    let of = if estimate.gpus > 1 { format!(" on each of {} GPUs{rank}", estimate.gpus) } else { String::new() };
    let rows = [
        ("required", per_gpu.required, format!("{required}{of}")),
        ("wanted", per_gpu.wanted, "at the declared concurrency".to_owned()),
        ("reserved", per_gpu.reserved, "what nvidia-smi will show".to_owned()),
    ];
    for (name, interval, meaning) in rows {
        if name != "required" && (training || interval == per_gpu.required) {
            continue;
        }
        let range = match range(interval) {
            range if range.is_empty() => range,
            range => format!(" ({range})"),
        };
        let value = format!("{:.2} GiB{range}", interval.likely.gib());
        labelled(text, name, &format!("{value}  {meaning}"), Tone::Plain);
    }
    // Engines without a pool of their own allocate what a batch needs.
    if let Some(serving) = &estimate.serving
        && serving.kv_tokens > 0
        && per_gpu.reserved != per_gpu.required
    {
        let facts = format!(
            "{:.2} GiB for {} tokens; longest context of one request {}",
            serving.kv_pool_bytes.gib(),
            serving.kv_tokens,
            serving.max_context
        );
        labelled(text, "KV pool", &facts, Tone::Plain);
    }
}

fn capacity(text: &mut String, capacity: Option<&CapacityView>, estimate: Option<&EstimateView>) {
    let Some(capacity) = capacity else { return };
    let facts = format!(
        "{}: {:.2} GiB visible, {:.2} GiB usable",
        clean(&capacity.gpu_class),
        capacity.visible_bytes.gib(),
        capacity.usable_bytes.gib()
    );
    labelled(text, "capacity", &facts, Tone::Plain);
    if let Some(estimate) = estimate {
        let bar = bar::stacked(&estimate.terms, Some(capacity.usable_bytes), WIDTH - LABEL - 8);
        let painted: String = bar.iter().map(Span::painted).collect();
        let _ = writeln!(text, "{:LABEL$}{painted}", "");
    }
}

fn verdict(text: &mut String, report: &Report) {
    if report.capacity.is_none() && report.verdict == Verdict::UnknownCapacity {
        labelled(text, "verdict", "none: no capacity given (add --gpu, see `vramguard gpus`)", Tone::Dim);
        return;
    }
    let tone = Tone::of_verdict(report.verdict);
    let code = report.verdict.code();
    // There is no container here, and the fixes follow line by line.
    let said = table::without_fixes(&report.message).replace("container \"\" ", "it ");
    let message = if said.is_empty() { code.to_owned() } else { format!("{code}: {}", clean(&said)) };
    labelled(text, "verdict", &message, tone);
    for (number, fix) in report.fixes.iter().enumerate() {
        labelled(text, &format!("fix {}", number + 1), &table::fix(fix), Tone::Plain);
    }
}

/// Width of the labels.
const LABEL: usize = 10;

/// A value behind its label, on as many lines as it takes.
pub(crate) fn labelled(text: &mut String, label: &str, value: &str, tone: Tone) {
    for (position, line) in wrap(&clean(value), WIDTH - LABEL).into_iter().enumerate() {
        let label = if position == 0 { label } else { "" };
        let _ = writeln!(text, "{label:LABEL$}{}", Span::new(line, tone).painted());
    }
}
