//! `explain` for people: the tree of addends, the moments of a training step, the capacity line.

use std::fmt::Write as _;

use super::WIDTH;
use super::bar::{Family, provenance_name};
use super::breakdown;
use super::style::{Span, Tone, clean, wrap};
use crate::decide::Report;
use crate::decide::report::CapacityView;
use crate::estimate::explain::{Explanation, Moment, Node};
use crate::estimate::{Bytes, Interval, Provenance, TermName};

/// Widths of the columns: name with branches, GiB, bounds, provenance.
const NAME: usize = 27;
const NUMBER: usize = 8;
const RANGE: usize = 15;
const KNOWN: usize = 11;

/// An explanation as text with colours.
#[must_use]
pub fn explanation(report: &Report, explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some(workload) = &report.workload {
        breakdown::header(&mut text, workload);
    }
    let titles = format!("{:NAME$}{:>NUMBER$}{:>RANGE$}  {:KNOWN$}FORMULA", "", "GiB", "LOW–HIGH", "KNOWN");
    let _ = writeln!(text, "{}", Span::new(titles, Tone::Strong).painted());
    let tone = Tone::Strong;
    line(&mut text, &Branch { before: String::new(), below: String::new() }, &explanation.required, tone, true);
    children(&mut text, &explanation.required.children, "", true);
    moments(&mut text, &explanation.moments);
    if let (Some(capacity), Some(estimate)) = (&report.capacity, &report.estimate) {
        text.push('\n');
        capacity_line(&mut text, capacity, estimate.per_gpu.required);
    }
    for note in &report.notes {
        breakdown::labelled(&mut text, "note", note, Tone::Dim);
    }
    text
}

/// The strokes left of a name and of the lines that follow it.
struct Branch {
    before: String,
    below: String,
}

fn children(text: &mut String, nodes: &[Node], stem: &str, terms: bool) {
    for (position, node) in nodes.iter().enumerate() {
        let last = position + 1 == nodes.len();
        let (elbow, pipe) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let below = format!("{stem}{pipe}");
        let under = if node.children.is_empty() { "   " } else { "│  " };
        let branch = Branch { before: format!("{stem}{elbow}"), below: format!("{below}{under}") };
        let tone = if terms { tone(&node.name) } else { Tone::Plain };
        line(text, &branch, node, tone, terms);
        children(text, &node.children, &below, false);
    }
}

fn tone(name: &str) -> Tone {
    TermName::ALL.into_iter().find(|term| term.name() == name).map_or(Tone::Plain, |term| Family::of(term).look().1)
}

/// One node: name, figures, and its formula, which goes on below where it is long.
fn line(text: &mut String, branch: &Branch, node: &Node, tone: Tone, known: bool) {
    let known = if known { provenance_name(node.provenance) } else { "" };
    figures(text, branch, node, tone, &format!("{known:KNOWN$}"));
}

/// The figures of a node, what is known of them, and the formula on as many lines as it takes.
fn figures(text: &mut String, branch: &Branch, node: &Node, tone: Tone, known: &str) {
    let name = clean(&node.name);
    let room = NAME.saturating_sub(branch.before.chars().count());
    let left = NAME + NUMBER + RANGE + 2 + known.chars().count();
    let mut formula = wrap(&clean(&node.formula), WIDTH - left).into_iter();
    let figures = format!("{:>NUMBER$.2}{:>RANGE$}  {known}", node.bytes.likely.gib(), range(node.bytes));
    let first = formula.next().unwrap_or_default();
    let strokes = Span::new(branch.before.clone(), Tone::Dim).painted();
    let painted = Span::new(name.clone(), tone).painted();
    let blank = room.saturating_sub(name.chars().count());
    let whole = format!("{strokes}{painted}{:blank$}{figures}{}", "", Span::new(first, Tone::Dim).painted());
    let _ = writeln!(text, "{}", whole.trim_end());
    for more in formula {
        let below = Span::new(branch.below.clone(), Tone::Dim).painted();
        let blank = left.saturating_sub(branch.below.chars().count());
        let _ = writeln!(text, "{below}{:blank$}{}", "", Span::new(more, Tone::Dim).painted());
    }
}

/// Bounds, where they differ as printed.
fn range(bytes: Interval) -> String {
    let [low, likely, high] = [bytes.low, bytes.likely, bytes.high].map(|bound| format!("{:.2}", bound.gib()));
    if low == likely && likely == high { String::new() } else { breakdown::range(bytes) }
}

/// The moments of a training step: the largest is the peak.
fn moments(text: &mut String, moments: &[Moment]) {
    if moments.is_empty() {
        return;
    }
    let several = moments.iter().any(|moment| moment.stage > 0);
    let peak = moments.iter().map(|moment| moment.bytes.likely).max();
    let titles = format!(
        "{:NAME$}{:>NUMBER$}{:>RANGE$}  TERMS, without what is outside the allocator",
        "STEP", "GiB", "LOW–HIGH"
    );
    let _ = writeln!(text, "\n{}", Span::new(titles, Tone::Strong).painted());
    for moment in moments {
        let stage = if several { format!(" of stage {}", moment.stage + 1) } else { String::new() };
        let terms: Vec<String> =
            moment.terms.iter().map(|term| format!("{} {:.1}", term.name, term.bytes.likely.gib())).collect();
        let is_peak = Some(moment.bytes.likely) == peak;
        let formula = format!("{}{}", if is_peak { "the peak: " } else { "" }, terms.join(" + "));
        let node = Node {
            name: format!("{}{stage}", moment.phase),
            bytes: moment.bytes,
            formula,
            provenance: Provenance::Derived,
            children: Vec::new(),
        };
        let branch = Branch { before: String::new(), below: String::new() };
        figures(text, &branch, &node, if is_peak { Tone::Strong } else { Tone::Plain }, "");
    }
}

/// What is left, or what is missing, of what the engine may plan with.
fn capacity_line(text: &mut String, capacity: &CapacityView, need: Interval) {
    let usable = capacity.usable_bytes;
    let left = |need: Bytes| {
        if need <= usable {
            format!("{:.2} GiB left", (usable - need).gib())
        } else {
            format!("{:.2} GiB too much", (need - usable).gib())
        }
    };
    let bounds = if need.width() == Bytes::ZERO {
        String::new()
    } else {
        format!(" (low: {}, high: {})", left(need.low), left(need.high))
    };
    let facts = format!(
        "{}: {:.2} GiB visible, {:.2} GiB usable: {}{bounds}",
        capacity.gpu_class,
        capacity.visible_bytes.gib(),
        usable.gib(),
        left(need.likely)
    );
    breakdown::labelled(text, "capacity", &facts, Tone::Plain);
}
