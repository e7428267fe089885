//! `check` for people: two lines a workload, and below it what is wrong and what would help.

use super::WIDTH;
use super::bar::{self};
use super::grid::{Cell, Column, Grid};
use super::style::{Span, Tone, clean, wrap};
use crate::decide::report::{CapacityView, EstimateView, Fix, WorkloadView};
use crate::decide::{CheckResult, Decision, Report, Verdict};
use crate::estimate::Bytes;

/// Cells of a bar: the least width of its column.
const BAR: usize = 22;
/// Where a message begins to list fixes.
const FIXES: &str = "; fits with ";
/// Indentation of what stands below a row.
const INDENT: &str = "    ";

/// The whole result as text with colours.
#[must_use]
pub fn check(result: &CheckResult) -> String {
    let shown: Vec<&Report> = result.results.iter().filter(|r| r.verdict != Verdict::NotApplicable).collect();
    let mut text = String::new();
    if !shown.is_empty() {
        let mut lines = rows(&shown).lines(WIDTH).into_iter();
        push(&mut text, &lines.next().unwrap_or_default());
        for report in &shown {
            lines.by_ref().take(2).for_each(|line| push(&mut text, &line));
            for line in details(report) {
                push(&mut text, &line);
            }
        }
        let mut terms = shown.iter().filter_map(|r| r.estimate.as_ref()).flat_map(|e| &e.terms).peekable();
        text.push('\n');
        if terms.peek().is_some() {
            push(&mut text, &paint(&bar::legend(terms)));
        }
    }
    push(&mut text, &summary(&result.results));
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn paint(spans: &[Span]) -> String {
    spans.iter().map(Span::painted).collect()
}

fn rows(reports: &[&Report]) -> Grid {
    let mut grid = Grid::new(vec![
        Column::flexible("WORKLOAD", 16),
        Column::flexible("MODEL", BAR),
        Column::number("NEEDS GiB"),
        Column::number("OF GiB"),
        Column::flexible("GPU", 8),
        Column::fixed("VERDICT"),
    ]);
    for report in reports {
        let [first, second] = row(report);
        grid.row(first);
        grid.row(second);
    }
    grid
}

fn row(report: &Report) -> [Vec<Cell>; 2] {
    let tone = Tone::of(report.decision);
    let cell = |text: String, tone: Tone| vec![Span::new(clean(&text), tone)];
    let source = &report.source;
    let (need, range) = needs(report.estimate.as_ref());
    let (usable, gpu, where_to) = room(report.capacity.as_ref(), report.estimate.as_ref());
    let capacity = report.capacity.as_ref().map(|capacity| capacity.usable_bytes);
    let bar = report.estimate.as_ref().map_or_else(Vec::new, |e| bar::stacked(&e.terms, capacity, BAR));
    let workload = report.workload.as_ref();
    [
        vec![
            cell(format!("{}/{}", short_kind(&source.kind), source.name), Tone::Strong),
            cell(workload.map_or_else(|| "–".to_owned(), |w| short_model(&w.model).to_owned()), Tone::Plain),
            cell(need, Tone::Plain),
            cell(usable, Tone::Plain),
            cell(gpu, Tone::Plain),
            cell(report.verdict.code().to_owned(), tone),
        ],
        vec![
            cell(format!("  {}{}", source.container, workload.map_or_else(String::new, engine)), Tone::Dim),
            bar,
            cell(range, Tone::Dim),
            Cell::new(),
            cell(where_to, Tone::Dim),
            cell(report.decision.name().to_owned(), tone),
        ],
    ]
}

/// Kinds as kubectl abbreviates them.
fn short_kind(kind: &str) -> String {
    const SHORT: [(&str, &str); 5] = [
        ("Deployment", "deploy"),
        ("StatefulSet", "sts"),
        ("DaemonSet", "ds"),
        ("ReplicaSet", "rs"),
        ("CronJob", "cj"),
    ];
    let known = SHORT.iter().find(|(long, _)| *long == kind);
    known.map_or_else(|| kind.to_lowercase(), |(_, short)| (*short).to_owned())
}

/// The last component of a model id.
fn short_model(model: &str) -> &str {
    model.trim_end_matches('/').rsplit('/').next().unwrap_or(model)
}

/// ` · vllm 0.19.0`.
fn engine(workload: &WorkloadView) -> String {
    let version = workload.engine.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    format!(" · {}{version}", workload.engine.name)
}

fn needs(estimate: Option<&EstimateView>) -> (String, String) {
    let Some(estimate) = estimate else { return ("–".to_owned(), String::new()) };
    let required = estimate.per_gpu.required;
    (format!("{:.1}", required.likely.gib()), format!("{:.1}–{:.1}", required.low.gib(), required.high.gib()))
}

/// Usable GiB, the product, and how many GPUs on how many nodes.
fn room(capacity: Option<&CapacityView>, estimate: Option<&EstimateView>) -> (String, String, String) {
    let gpus = match estimate.map_or(1, |estimate| estimate.gpus) {
        1 => String::new(),
        gpus => format!("{gpus} GPUs"),
    };
    let Some(capacity) = capacity else { return ("–".to_owned(), "–".to_owned(), gpus) };
    let nodes = if capacity.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", capacity.nodes) };
    let comma = if gpus.is_empty() { "" } else { ", " };
    let product = product(&capacity.gpu_class).to_owned();
    (format!("{:.1}", capacity.usable_bytes.gib()), product, format!("{gpus}{comma}{nodes}"))
}

/// Class names without the vendor: `A100-SXM4-80GB-80GiB`.
fn short_class(class: &str) -> &str {
    class.strip_prefix("NVIDIA-").unwrap_or(class)
}

/// The product of a class: its name without vendor and size.
fn product(class: &str) -> &str {
    let short = short_class(class);
    match short.rsplit_once('-') {
        Some((product, size)) if size.ends_with("GiB") => product,
        _ => short,
    }
}

/// Message, binding term and fixes of what does not simply fit; notes of all.
fn details(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if report.verdict != Verdict::Fits || report.decision != Decision::Allow {
        lines.extend(troubles(report));
    }
    for note in &report.notes {
        lines.extend(indented(&format!("note: {}", clean(note)), Tone::Dim));
    }
    lines
}

fn troubles(report: &Report) -> Vec<String> {
    let tone = Tone::of(report.decision);
    let mut lines = indented(&clean(without_fixes(&report.message)), tone);
    if let Some(binding) = report.estimate.as_ref().and_then(binding) {
        lines.extend(indented(&binding, Tone::Plain));
    }
    for (number, fix) in report.fixes.iter().enumerate() {
        lines.extend(indented(&format!("fix {}: {}", number + 1, self::fix(fix)), Tone::Plain));
    }
    lines
}

fn indented(text: &str, tone: Tone) -> Vec<String> {
    let hanging = if text.starts_with("fix ") { "       " } else { "" };
    let room = WIDTH - INDENT.len() - hanging.len();
    let line = |(position, line): (usize, String)| {
        let extra = if position > 0 { hanging } else { "" };
        format!("{INDENT}{extra}{}", Span::new(line, tone).painted())
    };
    wrap(text, room).into_iter().enumerate().map(line).collect()
}

/// The largest term with its share.
fn binding(estimate: &EstimateView) -> Option<String> {
    let total = estimate.per_gpu.required.likely;
    let largest = estimate.terms.iter().max_by_key(|term| term.bytes.likely)?;
    let share = largest.bytes.likely.as_f64() / total.as_f64().max(1.0) * 100.0;
    let (name, size) = (largest.name.name(), largest.bytes.likely);
    Some(format!("largest term: {name} {size} ({share:.0} %) = {}", clean(&largest.formula)))
}

/// A message without its list of fixes: they follow line by line.
pub(crate) fn without_fixes(message: &str) -> &str {
    message.split(FIXES).next().unwrap_or_default()
}

/// What to change, what is then needed where, and what it costs.
pub(crate) fn fix(fix: &Fix) -> String {
    let change = |change: &crate::decide::report::Change| {
        let from = if change.from.is_empty() { String::new() } else { format!("{} ", change.from) };
        format!("{} {from}→ {}", change.path, change.to)
    };
    let changes: Vec<String> = fix.changes.iter().map(change).collect();
    let cost = if fix.cost.is_empty() { String::new() } else { format!(" ({})", fix.cost) };
    let (need, gpu) = (fix.required.likely, short_class(&fix.gpu_class));
    clean(&format!("{}: then {need} on {gpu}{cost}", changes.join(", ")))
}

/// One line: how many of each decision, and of what was left out.
fn summary(reports: &[Report]) -> String {
    let count = |decision: Decision| {
        reports.iter().filter(|r| r.verdict != Verdict::NotApplicable && r.decision == decision).count()
    };
    let skipped = reports.iter().filter(|r| r.verdict == Verdict::NotApplicable).count();
    let total = reports.len() - skipped;
    let plural = if total == 1 { "" } else { "s" };
    let mut spans = vec![Span::new(format!("{total} workload{plural}: "), Tone::Strong)];
    let words = [(Decision::Allow, "fit"), (Decision::Warn, "with a warning"), (Decision::Deny, "denied")];
    for (position, (decision, word)) in words.into_iter().enumerate() {
        let number = count(decision);
        let tone = if number == 0 { Tone::Plain } else { Tone::of(decision) };
        let comma = if position == 0 { "" } else { ", " };
        spans.push(Span::new(comma, Tone::Plain));
        spans.push(Span::new(format!("{number} {word}"), tone));
    }
    if skipped > 0 {
        spans.push(Span::new(format!("; {skipped} without GPU skipped"), Tone::Dim));
    }
    paint(&spans)
}

/// `12.6 GiB`, or a dash for nothing.
#[must_use]
pub(crate) fn gib(bytes: Bytes) -> String {
    if bytes == Bytes::ZERO { "–".to_owned() } else { format!("{:.2}", bytes.gib()) }
}

#[cfg(test)]
mod tests;
