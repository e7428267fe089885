//! Errors as the user sees them: one message with its chain printed once, a code, and a hint where there is one.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::exit::Exit;
use super::output::{self, Format};

/// Stable codes of errors, besides the verdict codes.
pub(super) mod code {
    /// A flag is unknown, missing or has an impossible value.
    pub(in crate::cli) const USAGE: &str = "USAGE";
    /// A file could not be read or written.
    pub(in crate::cli) const IO: &str = "IO";
    /// A file was read but not understood.
    pub(in crate::cli) const BAD_INPUT: &str = "BAD_INPUT";
    /// A GPU product is not in the catalogue.
    pub(in crate::cli) const UNKNOWN_GPU: &str = "UNKNOWN_GPU";
    /// The cluster could not be asked.
    pub(in crate::cli) const CLUSTER: &str = "CLUSTER";
    /// Anything else.
    pub(in crate::cli) const FAILED: &str = "FAILED";
}

/// Why a command could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The reader of standard output is gone: not an error.
    Closed,
    /// Something to tell the user.
    Told(Told),
}

/// A message with its code and hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// An error without a hint.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Told(Told { code, message: message.into(), hint: None })
    }

    /// Adds what the user may do.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Told(told) => Self::Told(Told { hint: Some(hint.into()), ..told }),
            Self::Closed => Self::Closed,
        }
    }

    /// A file that could not be read or written.
    pub(super) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(code::IO, format!("cannot {what} {}: {}", path.display(), plain(error)))
    }

    /// A chain of errors, printed once.
    pub(super) fn from_chain(error: &anyhow::Error) -> Self {
        Self::new(code::FAILED, format!("{error:#}"))
    }

    /// A usage error of the argument parser; its first line is the message, its tips are the hint.
    pub(super) fn from_usage(problem: &clap::Error) -> Self {
        let text = problem.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        let tips: Vec<&str> = lines.filter_map(|line| line.strip_prefix("tip: ")).collect();
        let failure = Self::new(code::USAGE, message);
        if tips.is_empty() { failure.hint("see `vramguard --help`") } else { failure.hint(tips.join("; ")) }
    }

    /// Prints the error and gives the exit code.
    pub(super) fn report(&self, format: Format) -> ExitCode {
        if *self == Self::Closed {
            return Exit::Success.into();
        }
        self.print(format);
        Exit::BadInput.into()
    }

    /// Prints the error: text on standard error, or a document on standard output where the caller reads documents.
    pub(super) fn print(&self, format: Format) {
        let Self::Told(told) = self else { return };
        match format {
            Format::Table => output::complain(&told.text()),
            Format::Json | Format::Yaml => {
                // Nobody is left to tell if this fails too.
                let _ = output::document(&told.envelope(), format);
            }
        }
    }
}

impl fmt::Display for Failure {
    /// The message alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Ok(()),
            Self::Told(told) => f.write_str(&told.message),
        }
    }
}

impl Told {
    /// `error: ...` and `hint: ...` lines.
    pub(super) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for line in self.hint.iter().flat_map(|hint| hint.lines()) {
            let _ = writeln!(text, "hint: {line}");
        }
        text
    }

    fn envelope(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope<'a> {
            api_version: &'static str,
            kind: &'static str,
            error: &'a Told,
        }
        Envelope { api_version: "vramguard.io/v1", kind: "Error", error: self }
    }
}

/// The operating system's words without its error number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_lowercase(),
        None => text,
    }
}

impl From<io::Error> for Failure {
    /// From writing to standard output; files use [`Failure::io`].
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::new(code::IO, format!("cannot write to standard output: {}", plain(&error)))
    }
}
