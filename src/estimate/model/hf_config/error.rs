//! Why a config could not be read.

/// The config does not say enough, or says what the reader does not understand. Never answered with a guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a JSON object.
    #[error("the model config must be a JSON object, as config.json is, not {found}")]
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// A key without which the size would be a guess.
    #[error("{key} is missing: {hint}")]
    Missing {
        /// The canonical key.
        key: String,
        /// Why it is needed or what to add.
        hint: String,
    },
    /// A value that no model has.
    #[error("{key} is {found}: {allowed}")]
    Invalid {
        /// The key.
        key: String,
        /// The value, cut.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key that changes the size in a way that the reader does not know.
    #[error("{key} is not understood for model type `{model_type}`: the size of the model may depend on it")]
    UnknownKey {
        /// The key.
        key: String,
        /// The model type.
        model_type: String,
    },
}
