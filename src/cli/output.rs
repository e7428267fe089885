//! The only writer: documents and tables to standard output, complaints to standard error.

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Format {
    /// The format asked for in arguments that could not be parsed as a whole.
    pub(super) fn asked_in(args: impl Iterator<Item = OsString>) -> Self {
        let mut asked = Self::Table;
        let mut value_follows = false;
        for arg in args.skip(1) {
            let Some(text) = arg.to_str() else { continue };
            let value = if value_follows {
                Some(text)
            } else {
                text.strip_prefix("--output=").or_else(|| text.strip_prefix("-o").filter(|rest| !rest.is_empty()))
            };
            value_follows = matches!(text, "-o" | "--output");
            let value = value.map(|value| value.trim_start_matches('='));
            asked = value.and_then(|value| Self::from_str(value, true).ok()).unwrap_or(asked);
        }
        asked
    }
}

/// Prints text that may hold colours; they are dropped unless a terminal wants them.
pub(super) fn text(text: &str) -> io::Result<()> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    out.write_all(for_locale(text).as_bytes())?;
    out.flush()
}

/// Prints bytes as they are.
pub(super) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a document as JSON or YAML.
pub(super) fn document(value: &impl Serialize, format: Format) -> io::Result<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(io::Error::other)?,
        Format::Json | Format::Table => serde_json::to_string_pretty(value).map_err(io::Error::other)?,
    };
    bytes(text.trim_end().as_bytes())?;
    bytes(b"\n")
}

/// Prints to standard error. If that fails there is nobody to tell.
pub(super) fn complain(text: &str) {
    let mut out = anstream::AutoStream::auto(io::stderr().lock());
    let _ = out.write_all(for_locale(text).as_bytes());
}

/// The text itself, or plain ASCII of the same width where the locale has no UTF-8.
fn for_locale(text: &str) -> std::borrow::Cow<'_, str> {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().to_ascii_lowercase());
    match locale {
        Some(name) if !name.contains("utf-8") && !name.contains("utf8") => text.chars().map(ascii).collect(),
        _ => text.into(),
    }
}

/// What stands for a character in ASCII.
const fn ascii(c: char) -> char {
    match c {
        '█' => '#',
        '▓' => '=',
        '▒' => '%',
        '░' => ':',
        '▂' | '├' => '+',
        '·' => '.',
        '│' => '|',
        '└' => '`',
        '–' | '—' | '─' => '-',
        '…' => '~',
        '×' => 'x',
        '≤' => '<',
        '≥' | '→' => '>',
        c if c.is_ascii() => c,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Format {
        Format::asked_in(args.iter().map(OsString::from))
    }

    #[test]
    fn the_asked_format_is_found_in_every_spelling() {
        assert_eq!(asked(&["v", "check", "-o", "json", "--bogus"]), Format::Json);
        assert_eq!(asked(&["v", "--output=yaml"]), Format::Yaml);
        assert_eq!(asked(&["v", "-ojson"]), Format::Json);
        assert_eq!(asked(&["v", "-o=json"]), Format::Json);
        assert_eq!(asked(&["v", "check", "json"]), Format::Table);
    }

    #[test]
    fn ascii_keeps_the_width() {
        let text = "█▓▒░▂·│–…×é";
        let plain: String = text.chars().map(ascii).collect();
        assert_eq!(plain, "#=%:+.|-~x?");
    }
}
