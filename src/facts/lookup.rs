//! A model reference to facts: profiles of the namespace, those of the cluster, the catalogue, then whatever else knows
//! models.

use std::sync::Arc;

use super::catalog::Catalog;
use super::profile::{Profile, ProfileFacts, Profiles};
use crate::estimate::model::{Model, Quantization};
use crate::estimate::workload::ModelFacts;

/// Knows models that neither a profile nor the catalogue describes.
pub trait ModelSource: Sync {
    /// The model of that name, `None` where the source has no say, or why there is none.
    ///
    /// # Errors
    /// One sentence: why the model is not known, or not yet.
    fn find(&self, reference: &str) -> Option<Result<Arc<Model>, String>>;
}

/// Everything that knows models, as seen from one namespace.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// What the program carries.
    pub catalog: &'a Catalog,
    /// What users added.
    pub profiles: &'a Profiles,
    /// Asked last.
    pub source: Option<&'a dyn ModelSource>,
    /// Whose profiles come first.
    pub namespace: &'a str,
}

/// Facts that were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The model.
    pub model: ModelFacts,
    /// Quantization of a model of which only a shape is known.
    pub quantization: Option<Quantization>,
    /// The profile that they come from, as users name it.
    pub profile: Option<String>,
    /// The config is that of the very checkpoint that is named, not of one that its name resembles.
    pub exact: bool,
}

impl Models<'_> {
    /// The model that pods call so.
    ///
    /// # Errors
    /// Why it is not known, in one sentence that says what to add.
    pub fn by_name(&self, reference: &str) -> Result<Found, String> {
        if let Some(profile) = self.profiles.of_model(self.namespace, reference) {
            return of_profile(profile);
        }
        let plain = |model, exact| Found { model: ModelFacts::Known(model), quantization: None, profile: None, exact };
        let problem = match self.catalog.find(reference) {
            Ok(model) => {
                let exact = model.name.eq_ignore_ascii_case(reference)
                    && self.catalog.entry(reference).is_some_and(|entry| !entry.recalled);
                return Ok(plain(model, exact));
            }
            Err(problem) => problem.to_string(),
        };
        match self.source.and_then(|source| source.find(reference)) {
            Some(Ok(model)) => Ok(plain(model, true)),
            Some(Err(why)) => Err(format!("{problem} ({why})")),
            None => Err(problem),
        }
    }

    /// The model of a profile.
    ///
    /// # Errors
    /// When there is no such profile, or it cannot be used.
    pub fn by_profile(&self, name: &str) -> Result<Found, String> {
        let Some(profile) = self.profiles.named(self.namespace, name) else {
            let place = if self.namespace.is_empty() { "default" } else { self.namespace };
            return Err(format!(
                "there is no ModelProfile `{name}` in namespace {place} and no ClusterModelProfile of that name"
            ));
        };
        of_profile(profile)
    }
}

fn of_profile(profile: &Profile) -> Result<Found, String> {
    match &profile.facts {
        Ok(ProfileFacts { model, quantization }) => Ok(Found {
            model: model.clone(),
            quantization: quantization.clone(),
            profile: Some(profile.title()),
            exact: true,
        }),
        Err(problem) => Err(format!("{} cannot be used: {problem}", profile.title())),
    }
}
