//! Exit codes: part of the machine interface.

use std::process::ExitCode;

use crate::decide::Decision;

/// How a command ended without an error to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything fits (or only warnings, without `--strict`).
    Success = 0,
    /// At least one workload is denied.
    Denied = 1,
    /// An input or a flag could not be understood; beats the others.
    BadInput = 2,
    /// Under `--strict`: nothing denied, but something warned of.
    Warned = 3,
}

impl Exit {
    /// The code for a set of decisions; `strict` makes warnings count.
    #[must_use]
    pub fn of(decisions: impl IntoIterator<Item = Decision>, strict: bool) -> Self {
        match decisions.into_iter().max() {
            Some(Decision::Deny) => Self::Denied,
            Some(Decision::Warn) if strict => Self::Warned,
            _ => Self::Success,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decision_wins_and_warnings_count_only_when_strict() {
        use Decision::{Allow, Deny, Warn};
        assert_eq!(Exit::of([], true), Exit::Success);
        assert_eq!(Exit::of([Allow, Warn], false), Exit::Success);
        assert_eq!(Exit::of([Allow, Warn], true), Exit::Warned);
        assert_eq!(Exit::of([Warn, Deny, Allow], true), Exit::Denied);
    }
}
