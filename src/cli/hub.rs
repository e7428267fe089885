//! The flags of the look-up on a Hub.

use clap::Args;

/// Whether and where models are looked up that neither a profile nor the catalogue knows.
#[cfg(feature = "hub")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hub")]
pub struct HubArgs {
    /// Look models up on the Hub that are not known here
    #[arg(long, env = "VRAMGUARD_HUB")]
    pub hub: bool,
    /// Where the Hub is
    #[arg(long, value_name = "URL", default_value = crate::facts::hub::ENDPOINT, env = "HF_ENDPOINT")]
    pub hub_endpoint: String,
    /// File with a token, for models that are not public
    #[arg(long, value_name = "FILE", env = "HF_TOKEN_PATH")]
    pub hub_token_file: Option<std::path::PathBuf>,
    /// Branch, tag or commit
    #[arg(long, value_name = "REVISION", default_value = "main", env = "VRAMGUARD_HUB_REVISION")]
    pub hub_revision: String,
    /// Folder for what was found [default: vramguard/hub in the user's cache directory; none for `serve`]
    #[arg(long, value_name = "DIR", env = "VRAMGUARD_HUB_CACHE")]
    pub hub_cache: Option<std::path::PathBuf>,
}

/// Built without the look-up.
#[cfg(not(feature = "hub"))]
#[derive(Debug, Clone, Args)]
pub struct HubArgs {}

#[cfg(feature = "hub")]
mod with {
    use std::path::PathBuf;

    use super::super::error::{Failure, code};
    use super::super::manifests;
    use super::HubArgs;
    use crate::facts::hub::{Hub, HubError, Settings, Token, Waiting};
    use crate::facts::lookup::ModelSource;

    /// A token is one line.
    const MOST_TOKEN: u64 = 64 << 10;

    impl HubArgs {
        /// Something to ask while the user waits; `None` where the look-up is off.
        pub(in crate::cli) fn source(&self) -> Result<Option<Box<dyn ModelSource>>, Failure> {
            let Some(mut settings) = self.settings()? else { return Ok(None) };
            settings.cache = settings.cache.or_else(user_cache);
            let hub = Hub::new(settings).map_err(|error| refused(&error))?;
            let waiting =
                Waiting::new(hub).map_err(|error| Failure::new(code::FAILED, format!("cannot start: {error}")))?;
            Ok(Some(Box::new(waiting)))
        }

        /// The flags as settings; `None` where the look-up is off.
        pub(in crate::cli) fn settings(&self) -> Result<Option<Settings>, Failure> {
            if !self.hub {
                return Ok(None);
            }
            let read = |path: &PathBuf| {
                let text = manifests::read_bounded(path, MOST_TOKEN)?;
                Token::new(&text).map_err(|error| refused(&error))
            };
            Ok(Some(Settings {
                endpoint: self.hub_endpoint.clone(),
                revision: self.hub_revision.clone(),
                token: self.hub_token_file.as_ref().map(read).transpose()?,
                cache: self.hub_cache.clone(),
                ..Settings::default()
            }))
        }
    }

    fn refused(error: &HubError) -> Failure {
        Failure::new(code::USAGE, error.to_string())
    }

    fn user_cache() -> Option<PathBuf> {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("vramguard").join("hub"))
    }
}

#[cfg(not(feature = "hub"))]
impl HubArgs {
    /// Nothing to ask.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the look-up")]
    pub(super) fn source(&self) -> Result<Option<Box<dyn crate::facts::lookup::ModelSource>>, super::error::Failure> {
        Ok(None)
    }
}
