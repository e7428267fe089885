//! Pieces of coloured text. Colour never carries meaning alone: every tone goes with a word or a glyph.

use owo_colors::{OwoColorize as _, Style};

use crate::decide::{Decision, Verdict};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// As the terminal has it.
    #[default]
    Plain,
    /// Column titles and names.
    Strong,
    /// What matters less.
    Dim,
    /// Fits.
    Good,
    /// Warned of.
    Caution,
    /// Denied.
    Bad,
    /// Weights in bars.
    Blue,
    /// Caches in bars.
    Cyan,
    /// Training states in bars.
    Magenta,
    /// Activations in bars.
    Yellow,
}

impl Tone {
    fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Strong => style.bold(),
            Self::Dim => style.dimmed(),
            Self::Good => style.green(),
            Self::Caution => style.yellow().bold(),
            Self::Bad => style.red().bold(),
            Self::Blue => style.blue(),
            Self::Cyan => style.cyan(),
            Self::Magenta => style.magenta(),
            Self::Yellow => style.yellow(),
        }
    }

    /// The tone of a decision.
    pub(crate) const fn of(decision: Decision) -> Self {
        match decision {
            Decision::Allow => Self::Good,
            Decision::Warn => Self::Caution,
            Decision::Deny => Self::Bad,
        }
    }

    /// The tone of a verdict, where no policy is asked.
    pub(crate) const fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fits => Self::Good,
            Verdict::NotApplicable => Self::Dim,
            Verdict::Tight
            | Verdict::FitsAfterScaleUp
            | Verdict::UnknownCapacity
            | Verdict::UnknownModel
            | Verdict::UnknownWorkload => Self::Caution,
            Verdict::TooBig
            | Verdict::EngineRefuses
            | Verdict::NoEligibleGpu
            | Verdict::InvalidSpec
            | Verdict::SpecConflict
            | Verdict::ParallelismMismatch => Self::Bad,
        }
    }
}

/// A piece of text with its tone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// The text, one line.
    pub text: String,
    /// How it looks.
    pub tone: Tone,
}

impl Span {
    /// A toned piece.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// Width in characters.
    pub(crate) fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// The text with its escape codes, none for plain text.
    pub(crate) fn painted(&self) -> String {
        if self.tone == Tone::Plain || self.text.is_empty() {
            return self.text.clone();
        }
        self.text.style(self.tone.style()).to_string()
    }
}

/// Control characters of foreign text as `?`: a manifest must not drive the terminal, nor turn its lines around.
pub(crate) fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
}

/// At most `width` characters, the last one `…` if something was cut.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(std::iter::once('…')).take(width).collect()
}

/// Breaks text at blanks into lines of at most `width` characters; a longer word stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_characters_not_bytes() {
        assert_eq!(shorten("größer", 6), "größer");
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn wrapping_keeps_every_word() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-very-long-word b", 4), ["a-very-long-word", "b"]);
        assert!(wrap("", 4).is_empty());
    }

    #[test]
    fn foreign_text_cannot_send_escape_codes() {
        assert_eq!(clean("a\u{1b}[31mb"), "a?[31mb");
    }
}
