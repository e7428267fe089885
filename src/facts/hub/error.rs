//! Why the Hub has no model for us.

use std::time::Duration;

use crate::estimate::model::hf_config::ConfigError;

/// One sentence each; no text of the token, and nothing of a response's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// A setting cannot be.
    #[error("{0}")]
    Settings(String),
    /// 404.
    #[error("the Hub has no such model, or no config.json in it")]
    NotFound,
    /// 401 and 403.
    #[error("the Hub asks for a token that may read this model ({0}); the model may also not exist")]
    Forbidden(u16),
    /// 429.
    #[error("the Hub asks to wait {} s", .0.as_secs())]
    Busy(Duration),
    /// Any other status.
    #[error("the Hub answers with status {0}")]
    Status(u16),
    /// More bytes than such a file has.
    #[error("the Hub sends more than {} MiB", limit >> 20)]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// Nothing, or not everything, in time.
    #[error("the Hub does not answer within {} s", .0.as_secs_f64())]
    Slow(Duration),
    /// A redirect that is not followed.
    #[error("the Hub redirects {0}")]
    Redirect(&'static str),
    /// No connection, or one that breaks.
    #[error("the Hub cannot be reached: {0}")]
    Network(String),
    /// Not the file that it should be.
    #[error("the Hub's config.json is not JSON: {0}")]
    NotJson(String),
    /// A config that we do not understand.
    #[error("its config.json is not understood: {0}")]
    Config(#[from] ConfigError),
}

impl HubError {
    /// Whether another try may go better.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Status(500..) | Self::Slow(_) | Self::Network(_))
    }

    /// A stable word, for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::NotFound => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::Busy(_) => "busy",
            Self::Status(_) => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Slow(_) => "slow",
            Self::Redirect(_) => "redirect",
            Self::Network(_) => "network",
            Self::NotJson(_) => "not_json",
            Self::Config(_) => "config",
        }
    }
}
