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
    /// An architecture that no reader knows and that does not describe itself as a Llama.
    #[error(
        "the model type `{model_type}` is not known, and the config does not describe a Llama-like model (a *ForCausalLM \
         architecture, hidden_act silu, rms_norm_eps): its size would be a guess"
    )]
    UnknownType {
        /// The model type.
        model_type: String,
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
