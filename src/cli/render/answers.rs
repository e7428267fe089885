//! Answers to `--solve` for people: the value, what it needs of what there is, and what to type.

use std::fmt::Write as _;

use super::WIDTH;
use super::grid::{Cell, Column, Grid};
use super::style::{Span, Tone, clean, wrap};
use crate::decide::report::{Alternative, Change, Evaluated, Outcome, Solution};
use crate::decide::solve::Question;
use crate::estimate::units::GIB;

/// Width of the labels.
const LABEL: usize = 19;

/// All answers as text with colours; nothing where nothing was asked.
#[must_use]
pub fn solutions(solutions: &[Solution]) -> String {
    let mut text = String::new();
    for solution in solutions {
        text.push('\n');
        answer(&mut text, solution);
    }
    text
}

fn answer(text: &mut String, solution: &Solution) {
    let label = solution.question.name();
    let (head, tone) = headline(solution);
    let typed: Vec<String> = solution.changes.iter().map(typed).collect();
    let head = if typed.is_empty() { head } else { format!("{head}: {}", typed.join(" ")) };
    said(text, label, &head, tone);
    if let Some(figures) = figures(solution) {
        said(text, "", &figures, Tone::Plain);
    }
    if let Some(range) = range(solution) {
        said(text, "", &range, Tone::Plain);
    }
    if !solution.note.is_empty() && solution.outcome != Outcome::NotApplicable {
        said(text, "", &solution.note, Tone::Dim);
    }
    alternatives(text, &solution.alternatives);
}

/// The answer in a few words.
fn headline(solution: &Solution) -> (String, Tone) {
    let value = solution.value.as_deref().unwrap_or_default();
    let unit = unit(solution.question, value);
    match solution.outcome {
        Outcome::Proven if solution.changes.is_empty() => (format!("{value}{unit}, as it is"), Tone::Good),
        Outcome::Proven => (format!("{value}{unit}"), Tone::Good),
        Outcome::Likely => (format!("{value}{unit}, likely but not surely"), Tone::Caution),
        Outcome::Nothing => ("nothing fits".to_owned(), Tone::Bad),
        Outcome::NotApplicable => (format!("does not apply: {}", solution.note), Tone::Dim),
    }
}

fn unit(question: Question, value: &str) -> &'static str {
    match question {
        Question::Context | Question::SequenceLength => " tokens",
        Question::Concurrency if value == "1" => " sequence",
        Question::Concurrency => " sequences",
        _ => "",
    }
}

/// A change as it is typed.
fn typed(change: &Change) -> String {
    let Change { path, to, .. } = change;
    if path.starts_with("--") {
        let flags: Vec<String> = path.split(" and ").map(|flag| format!("{flag} {to}")).collect();
        return flags.join(" ");
    }
    if path.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        return format!("{path}={to}");
    }
    format!("{path}: {to}")
}

fn figures(solution: &Solution) -> Option<String> {
    let beyond = solution.beyond.as_ref();
    let Some(proof) = &solution.proof else {
        return beyond.map(|floor| format!("even {} {}", floor.value, shortage(floor)));
    };
    let need = proof.need;
    let of = format!("{:.2} GiB usable on {}", proof.usable_bytes.gib(), proof.gpu_class);
    let needs = if need.width().0 == 0 {
        format!("needs {:.2} GiB of {of}", need.likely.gib())
    } else {
        format!("needs {:.2} GiB ({:.2}–{:.2}) of {of}", need.likely.gib(), need.low.gib(), need.high.gib())
    };
    Some(match beyond {
        Some(next) => format!("{needs}; {} {}", next.value, shortage(next)),
        None => needs,
    })
}

/// Why something does not fit.
fn shortage(tried: &Evaluated) -> String {
    if !tried.refusal.is_empty() && tried.need.low <= tried.usable_bytes {
        return format!("is refused: {}", tried.refusal);
    }
    let usable = tried.usable_bytes.gib();
    if tried.need.low > tried.usable_bytes {
        format!("needs at least {:.2} GiB of {usable:.2}", tried.need.low.gib())
    } else {
        format!("may need {:.2} GiB of {usable:.2}", tried.need.high.gib())
    }
}

/// How far the less sure estimates reach, where they reach further.
fn range(solution: &Solution) -> Option<String> {
    let value: u64 = solution.value.as_deref()?.parse().ok()?;
    let mut parts = Vec::new();
    if let Some(likely) = solution.likely.filter(|likely| *likely > value) {
        parts.push(format!("likely up to {likely}"));
    }
    if let Some(most) = solution.at_most.filter(|most| *most > value && Some(*most) != solution.likely) {
        parts.push(format!("surely not beyond {most}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn alternatives(text: &mut String, tried: &[Alternative]) {
    if tried.len() < 2 {
        return;
    }
    let some = |of: fn(&Alternative) -> bool| tried.iter().any(of);
    let gpus = some(|one| one.gpus > 1);
    let freed = some(|one| one.frees_bytes != 0);
    let context = some(|one| one.max_context.is_some());
    let batch = some(|one| one.max_batch.is_some());
    let mut columns = vec![Column::flexible("VALUE", 12), Column::number("NEEDS GiB"), Column::number("OF GiB")];
    let optional = [(freed, "FREES GiB"), (gpus, "GPUs"), (context, "MAX CONTEXT"), (batch, "MAX BATCH")];
    columns.extend(optional.iter().filter(|(shown, _)| *shown).map(|(_, title)| Column::number(title)));
    columns.push(Column::fixed("VERDICT"));
    let mut grid = Grid::new(columns);
    for one in tried {
        let cell = |text: String| -> Cell { vec![Span::new(clean(&text), Tone::Plain)] };
        let figure = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let mut cells = vec![
            cell(one.evaluated.value.clone()),
            cell(format!("{:.2}", one.evaluated.need.likely.gib())),
            cell(format!("{:.2}", one.evaluated.usable_bytes.gib())),
        ];
        let values = [
            (freed, signed(one.frees_bytes)),
            (gpus, one.gpus.to_string()),
            (context, figure(one.max_context)),
            (batch, figure(one.max_batch)),
        ];
        cells.extend(values.into_iter().filter(|(shown, _)| *shown).map(|(_, text)| cell(text)));
        cells.push(vec![Span::new(one.evaluated.verdict.code(), Tone::of_verdict(one.evaluated.verdict))]);
        grid.row(cells);
    }
    for line in grid.lines(WIDTH - LABEL) {
        let _ = writeln!(text, "{:LABEL$}{line}", "");
    }
}

fn signed(bytes: i64) -> String {
    if bytes == 0 { "–".to_owned() } else { format!("{:.2}", bytes as f64 / GIB as f64) }
}

fn said(text: &mut String, label: &str, value: &str, tone: Tone) {
    for (position, line) in wrap(&clean(value), WIDTH - LABEL).into_iter().enumerate() {
        let label = if position == 0 { label } else { "" };
        let _ = writeln!(text, "{label:LABEL$}{}", Span::new(line, tone).painted());
    }
}
