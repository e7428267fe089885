//! Bars of terms: one glyph a family of terms, so that they can be read without colour.

use super::style::{Span, Tone};
use crate::estimate::{Bytes, Provenance, Term, TermName};

/// Terms that share a glyph and a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Model parameters.
    Weights,
    /// KV cache and recurrent states.
    Cache,
    /// What training keeps per parameter.
    States,
    /// What a pass keeps per token.
    Activations,
    /// Runtime, communication, graphs, fragmentation.
    Overhead,
}

impl Family {
    /// All families, in the order of the legend.
    pub(crate) const ALL: [Self; 5] = [Self::Weights, Self::Cache, Self::States, Self::Activations, Self::Overhead];

    /// The family of a term.
    pub(crate) const fn of(name: TermName) -> Self {
        match name {
            TermName::Weights => Self::Weights,
            TermName::KvCache | TermName::State => Self::Cache,
            TermName::Gradients | TermName::Optimizer | TermName::Transient | TermName::Adapters => Self::States,
            TermName::Activations | TermName::Logits => Self::Activations,
            TermName::Comm
            | TermName::Runtime
            | TermName::CudaGraphs
            | TermName::Fragmentation
            | TermName::Measured => Self::Overhead,
        }
    }

    /// Glyph, colour and the name in the legend.
    pub(crate) const fn look(self) -> (char, Tone, &'static str) {
        match self {
            Self::Weights => ('█', Tone::Blue, "weights"),
            Self::Cache => ('▓', Tone::Cyan, "cache"),
            Self::States => ('▒', Tone::Magenta, "gradients and optimizer"),
            Self::Activations => ('░', Tone::Yellow, "activations"),
            Self::Overhead => ('▂', Tone::Dim, "overhead"),
        }
    }
}

/// What a term is called in output, as in JSON.
pub(crate) const fn term_name(name: TermName) -> &'static str {
    match name {
        TermName::Weights => "weights",
        TermName::KvCache => "kv_cache",
        TermName::State => "state",
        TermName::Activations => "activations",
        TermName::Logits => "logits",
        TermName::Gradients => "gradients",
        TermName::Optimizer => "optimizer",
        TermName::Transient => "transient",
        TermName::Adapters => "adapters",
        TermName::Comm => "comm",
        TermName::Runtime => "runtime",
        TermName::CudaGraphs => "cuda_graphs",
        TermName::Fragmentation => "fragmentation",
        TermName::Measured => "measured",
    }
}

/// How a term is known, in one word.
pub(crate) const fn provenance_name(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Exact => "exact",
        Provenance::Derived => "derived",
        Provenance::Calibrated => "calibrated",
        Provenance::Assumed => "assumed",
    }
}

/// A bar of `width` cells for the likely bytes of each family. The scale is the capacity, or the need where that is
/// larger: then `│` marks where the capacity ends.
pub(crate) fn stacked(terms: &[Term], capacity: Option<Bytes>, width: usize) -> Vec<Span> {
    let need: Bytes = terms.iter().map(|term| term.bytes.likely).sum();
    let scale = capacity.unwrap_or(need).max(need).as_f64().max(1.0);
    let cell = |bytes: Bytes| (((bytes.as_f64() / scale) * width as f64).round() as usize).min(width);
    let mut cells: Vec<(char, Tone)> = Vec::with_capacity(width);
    let mut sum = Bytes::ZERO;
    for family in Family::ALL {
        let of_family = terms.iter().filter(|term| Family::of(term.name) == family);
        sum += of_family.map(|term| term.bytes.likely).sum();
        let (glyph, tone, _) = family.look();
        cells.resize(cell(sum).max(cells.len()), (glyph, tone));
    }
    cells.resize(width, ('·', Tone::Dim));
    let end = capacity.filter(|&capacity| capacity < need).map(cell);
    if let Some(mark) = end.and_then(|end| cells.get_mut(end.min(width.saturating_sub(1)))) {
        *mark = ('│', Tone::Bad);
    }
    joined(&cells)
}

/// A bar of one term.
pub(crate) fn single(name: TermName, share: f64, width: usize) -> Span {
    let (glyph, tone, _) = Family::of(name).look();
    let cells = ((share * width as f64).round() as usize).min(width);
    Span::new(glyph.to_string().repeat(cells), tone)
}

/// The families that occur, as a legend line.
pub(crate) fn legend<'a>(terms: impl Iterator<Item = &'a Term>) -> Vec<Span> {
    let present: Vec<Family> = terms.map(|term| Family::of(term.name)).collect();
    let mut spans = Vec::new();
    for family in Family::ALL.into_iter().filter(|family| present.contains(family)) {
        let (glyph, tone, name) = family.look();
        spans.push(Span::new(glyph.to_string(), tone));
        spans.push(Span::new(format!(" {name}   "), Tone::Dim));
    }
    spans.push(Span::new("· free   │ capacity", Tone::Dim));
    spans
}

fn joined(cells: &[(char, Tone)]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for &(glyph, tone) in cells {
        match spans.last_mut() {
            Some(last) if last.tone == tone => last.text.push(glyph),
            _ => spans.push(Span::new(glyph.to_string(), tone)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Interval;

    fn term(name: TermName, gib: f64) -> Term {
        let bytes = Interval::exact(Bytes::from_gib(gib));
        Term { name, bytes, formula: String::new(), provenance: Provenance::Exact }
    }

    fn text(terms: &[Term], capacity: Option<f64>) -> String {
        stacked(terms, capacity.map(Bytes::from_gib), 10).into_iter().map(|span| span.text).collect()
    }

    #[test]
    fn a_bar_shows_each_family_in_proportion() {
        let terms = [term(TermName::Weights, 4.0), term(TermName::KvCache, 2.0), term(TermName::Runtime, 1.0)];
        assert_eq!(text(&terms, Some(10.0)), "████▓▓▂···");
    }

    #[test]
    fn capacity_is_marked_where_it_is_exceeded() {
        let terms = [term(TermName::Weights, 10.0), term(TermName::Optimizer, 10.0)];
        assert_eq!(text(&terms, Some(8.0)), "████│▒▒▒▒▒");
        assert_eq!(text(&terms, Some(0.0)), "│████▒▒▒▒▒");
    }

    #[test]
    fn nothing_and_absurdly_much_still_fill_the_width() {
        assert_eq!(text(&[], None), "··········");
        let absurd = term(TermName::Weights, f64::MAX);
        assert_eq!(text(&[absurd.clone(), absurd], Some(1.0)).chars().count(), 10);
    }
}
