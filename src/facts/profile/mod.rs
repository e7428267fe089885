//! `ModelProfile` and `ClusterModelProfile` objects: model facts that users add to the catalogue.
//!
//! An object is read once, when it is seen; [`Profiles`] is the plain map that decisions look things up in.

pub mod crd;
mod lookup;
mod read;
mod schema;
mod spec;

pub use lookup::Profiles;
pub use spec::{Amount, MeasuredSpec, ModelProfileSpec, ModelProfileStatus};

use crate::estimate::model::Quantization;
use crate::estimate::workload::ModelFacts;

/// API group of both kinds.
pub const GROUP: &str = "vramguard.io";
/// Version of both kinds.
pub const VERSION: &str = "v1";
/// The namespaced kind.
pub const KIND: &str = "ModelProfile";
/// Its name in paths.
pub const PLURAL: &str = "modelprofiles";
/// The cluster-wide kind.
pub const CLUSTER_KIND: &str = "ClusterModelProfile";
/// Its name in paths.
pub const CLUSTER_PLURAL: &str = "clustermodelprofiles";

/// A profile that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Namespace; `None` for a cluster-wide profile.
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
    /// What pods call the model.
    pub aliases: Vec<String>,
    /// What is known of the model, or why the profile cannot be used.
    pub facts: Result<ProfileFacts, String>,
}

/// What a profile says about its model.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileFacts {
    /// The architecture, or a size and a shape.
    pub model: ModelFacts,
    /// Quantization of a model of which only a size and a shape are known; the others carry their own.
    pub quantization: Option<Quantization>,
}

impl Profile {
    /// As users name it: `ModelProfile team/llm` or `ClusterModelProfile llm`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{KIND} {namespace}/{}", self.name),
            None => format!("{CLUSTER_KIND} {}", self.name),
        }
    }

    /// What the object's status should say.
    #[must_use]
    pub fn status(&self, generation: Option<i64>) -> ModelProfileStatus {
        let empty = ModelProfileStatus { observed_generation: generation, ..ModelProfileStatus::default() };
        match &self.facts {
            Err(problem) => ModelProfileStatus { problem: Some(problem.clone()), ..empty },
            Ok(ProfileFacts { model: ModelFacts::Known(model), .. }) => ModelProfileStatus {
                parameters: Some(model.parameters()),
                architecture: Some(model.model_type.clone()),
                ..empty
            },
            Ok(ProfileFacts { model: ModelFacts::Shape(shape), .. }) => {
                ModelProfileStatus { parameters: Some(shape.parameters as u64), ..empty }
            }
        }
    }
}

#[cfg(test)]
mod tests;
