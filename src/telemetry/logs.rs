//! Log output: JSON for machines, text for people, always to standard error.

use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

impl LogFormat {
    /// The names that users may write.
    pub const NAMES: &'static [&'static str] = &["json", "text"];

    /// Reads a format name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The log settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error(
        "log level `{level}`: expected `error`, `warn`, `info`, `debug`, `trace` or a filter such as `info,kube=debug`"
    )]
    Level {
        /// What was given.
        level: String,
        /// Why it does not parse.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// The cluster client logs each failure that the watches also report; a filter may name it to bring that back.
const QUIET: &str = "kube_client=off";

/// Sends events to standard error. A second call in one process changes nothing: the first subscriber stays.
///
/// # Errors
/// When `level` is no filter.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|source| LogError::Level { level: level.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that a subscriber is already set, as in tests that start several servers.
    let _already_set = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_level_is_named() {
        let error = init(LogFormat::Json, "info=not=a=level").unwrap_err();
        assert!(error.to_string().contains("info=not=a=level"));
    }

    #[test]
    fn every_documented_format_is_read() {
        assert!(LogFormat::NAMES.iter().all(|name| LogFormat::from_name(name).is_some()));
        assert_eq!(LogFormat::from_name("yaml"), None);
    }
}
