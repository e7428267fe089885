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
const TEXT: &str = include_str!("../../data/models.tsv");

impl Catalog {
    /// The catalogue that the program carries.
    #[must_use]
    pub fn embedded() -> &'static Self {
        &CATALOG
    }

    /// All ids.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        TEXT.lines().filter_map(|line| line.split('"').nth(3))
    }

    /// Looks a model up.
    ///
    /// # Errors
    /// When it is not known.
    pub fn find(&self, reference: &str) -> Result<Arc<Model>, LookupError> {
        let lower = reference.to_lowercase();
        let row = TEXT.lines().find_map(|line| line.split_once('\t').filter(|(key, _)| *key == lower));
        let (_, row) = row.ok_or_else(|| LookupError(reference.to_owned()))?;
        let value: serde_json::Value = serde_json::from_str(row).map_err(|e| LookupError(e.to_string()))?;
        let config = value.get("config").unwrap_or(&serde_json::Value::Null);
        hf_config::read(reference, config).map(Arc::new).map_err(|e| LookupError(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let mut bad = 0;
        for line in include_str!("../../tests/data/parameters.jsonl").lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = row["id"].as_str().unwrap();
            match CATALOG.find(id) {
                Err(error) => {
                    bad += 1;
                    println!("{id}: {error}");
                }
                Ok(model) => {
                    let total = row["total"].as_u64().unwrap_or(0);
                    let got = model.parameters();
                    let mtp: u64 = model.mtp.iter().map(|g| g.count * g.layer_parameters()).sum();
                    let want_mtp = row["mtp"].as_u64().unwrap_or(0);
                    if got != total {
                        bad += 1;
                        println!(
                            "{id} [{}]: {got} instead of {total}: {}  {}",
                            model.model_type,
                            got as i128 - total as i128,
                            row["breakdown"]
                        );
                    } else if mtp != want_mtp && mtp != 0 {
                        println!("{id} mtp {mtp} {want_mtp} {}", mtp as i128 - want_mtp as i128);
                    }
                }
            }
        }
        println!("bad {bad}");
    }
}
