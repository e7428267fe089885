//! Models that nobody described, looked up on a Hugging Face Hub: `config.json`, and the size in the index of a sharded
//! checkpoint.
//!
//! Off unless it is switched on. Everything that comes back is bounded in size and time and believed only as far as the
//! readers believe a file; the token goes to the endpoint alone and appears in no text. [`Waiting`] fetches while its
//! caller waits (command line); [`Queue`] never makes anybody wait (admission).

mod cache;
mod client;
mod error;
mod name;
mod queue;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::estimate::model::checkpoint::{CheckpointBytes, attach};
use crate::estimate::model::{Model, hf_config, safetensors};
use cache::{Cached, DiskCache};
use client::Client;
pub use client::Token;
pub use error::HubError;
use name::RepoName;
pub use queue::{Looked, Queue};
pub use waiting::Waiting;

/// Where models are looked up unless told otherwise.
pub const ENDPOINT: &str = "https://huggingface.co";

/// A `config.json` is a few kilobytes, with long lists of unquantized modules a few hundred.
const MOST_CONFIG: usize = 4 << 20;
/// The index of the largest mixtures of experts is 15 MB.
const MOST_INDEX: usize = 32 << 20;

/// How models are looked up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://HOST[/PATH]`.
    pub endpoint: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// For models that are not public.
    pub token: Option<Token>,
    /// Folder for what was found; nothing is kept without.
    pub cache: Option<PathBuf>,
    /// How long one file may take, redirects included.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            revision: "main".to_owned(),
            token: None,
            cache: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A Hub.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    revision: String,
    cache: Option<DiskCache>,
}

impl Hub {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When endpoint or revision cannot be such.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        if !name::is_revision(&settings.revision) {
            return Err(HubError::Settings(format!("`{}` is no revision", settings.revision.escape_debug())));
        }
        let client = Client::new(&settings.endpoint, settings.token, settings.timeout)?;
        let cache = settings.cache.as_deref().map(|folder| DiskCache::new(folder, &client.endpoint()));
        Ok(Self { client, revision: settings.revision, cache })
    }

    /// The repository that a reference names; `None` for paths, addresses and everything else.
    #[must_use]
    pub fn repository(reference: &str) -> Option<RepoName> {
        RepoName::parse(reference)
    }

    /// Looks a model up: in the cache, on the Hub, then in a cache that is out of date.
    ///
    /// # Errors
    /// Why there is no model.
    pub async fn find(&self, name: &RepoName) -> Result<Arc<Model>, HubError> {
        let kept = self.cache.as_ref().and_then(|cache| cache.read(name, &self.revision));
        let old = match kept {
            Some((kept, true)) => return read(name, &kept),
            Some((kept, false)) => Some(kept),
            None => None,
        };
        match (self.fetch(name).await, old) {
            (Ok(found), _) => {
                if let Some(cache) = &self.cache {
                    cache.write(name, &self.revision, &found);
                }
                read(name, &found)
            }
            (Err(error), Some(old)) if error.is_passing() => read(name, &old),
            (Err(error), _) => Err(error),
        }
    }

    async fn fetch(&self, name: &RepoName) -> Result<Cached, HubError> {
        let path = |file: &str| format!("/{name}/resolve/{}/{file}", self.revision);
        let text = self.client.get(&path("config.json"), MOST_CONFIG).await?;
        let config: Value = serde_json::from_slice(&text).map_err(|error| HubError::NotJson(error.to_string()))?;
        let mut found = Cached { config, checkpoint_bytes: None };
        let mut model = found.model(name)?;
        // A checkpoint in one file has no index, and the size is a refinement: without it the config stands alone.
        if let Ok(index) = self.client.get(&path("model.safetensors.index.json"), MOST_INDEX).await
            && let Ok(facts) = safetensors::read_index(&index)
            && attach(&mut model, &facts).is_ok()
        {
            found.checkpoint_bytes = model.checkpoint_bytes.map(|known| known.total);
        }
        Ok(found)
    }
}

impl Cached {
    fn model(&self, name: &RepoName) -> Result<Model, HubError> {
        let model = hf_config::read(&name.to_string(), &self.config)?;
        let checkpoint_bytes = self.checkpoint_bytes.map(|total| CheckpointBytes { total, classes: None });
        Ok(Model { checkpoint_bytes, ..model })
    }
}

fn read(name: &RepoName, found: &Cached) -> Result<Arc<Model>, HubError> {
    found.model(name).map(Arc::new)
}

#[cfg(test)]
mod tests;
