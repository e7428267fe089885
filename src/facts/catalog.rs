//! The embedded model catalogue.

use std::sync::Arc;

use crate::estimate::model::{Model, hf_config};

/// Known models.
#[derive(Debug)]
pub struct Catalog;

/// The reference names no known model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model `{0}` is not known")]
pub struct LookupError(pub String);

static CATALOG: Catalog = Catalog;

impl Catalog {
    /// The catalogue that the program carries.
    #[must_use]
    pub fn embedded() -> &'static Self {
        &CATALOG
    }

    /// All ids.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        include_str!("../../data/models-minimal.jsonl").lines().filter_map(|line| line.split('"').nth(3))
    }

    /// Looks a model up.
    ///
    /// # Errors
    /// When it is not known.
    pub fn find(&self, reference: &str) -> Result<Arc<Model>, LookupError> {
        let text = include_str!("../../data/models-minimal.jsonl");
        let row = text.lines().find(|line| line.contains(&format!("\"{reference}\""))).ok_or_else(|| LookupError(reference.to_owned()))?;
        let value: serde_json::Value = serde_json::from_str(row).map_err(|e| LookupError(e.to_string()))?;
        hf_config::read(reference, &value["config"]).map(Arc::new).map_err(|e| LookupError(e.to_string()))
    }
}
