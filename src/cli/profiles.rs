//! The model profiles among the manifests: they count for every workload beside them, whatever the order of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::documents::{self, Problem};
use super::error::Failure;
use super::manifests;
use crate::facts::profile::{KIND, Profile, Profiles};

/// What a first look at the manifests finds.
#[derive(Default)]
pub(super) struct Given {
    /// By title, so that one of a file takes the place of the cluster's.
    profiles: BTreeMap<String, Arc<Profile>>,
    /// Profiles that cannot be used.
    pub problems: Vec<Problem>,
    /// Texts that can be read only once: standard input and pipes.
    texts: BTreeMap<PathBuf, String>,
}

impl Given {
    /// Looks through all files. What cannot be read is left to the second look, which says so.
    pub(super) fn look(files: &[PathBuf]) -> Self {
        let mut given = Self::default();
        for path in files {
            let Ok(text) = manifests::read_bounded(path, manifests::MANIFEST_LIMIT) else { continue };
            // Both kinds end in the name of the first.
            if text.contains(KIND) {
                let file = path.display().to_string();
                for document in documents::read(&file, &text).0 {
                    given.object(&file, document.line, &document.value);
                }
            }
            if !path.is_file() {
                given.texts.insert(path.clone(), text);
            }
        }
        given
    }

    /// The text of a file, which may be gone since the first look.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, Failure> {
        match self.texts.remove(path) {
            Some(text) => Ok(text),
            None => manifests::read_bounded(path, manifests::MANIFEST_LIMIT),
        }
    }

    /// With the cluster's, for look-ups.
    pub(super) fn profiles(&self, of_cluster: &[Arc<Profile>]) -> Profiles {
        let mut all: BTreeMap<String, Arc<Profile>> =
            of_cluster.iter().map(|profile| (profile.title(), Arc::clone(profile))).collect();
        all.extend(self.profiles.iter().map(|(title, profile)| (title.clone(), Arc::clone(profile))));
        Profiles::new(all.into_values())
    }

    fn object(&mut self, file: &str, line: u64, object: &Value) {
        if let Some(items) = object.get("items").and_then(Value::as_array) {
            return items.iter().filter(|item| Profile::is_one(item)).for_each(|item| self.object(file, line, item));
        }
        if !Profile::is_one(object) {
            return;
        }
        let profile = Profile::read(object);
        let title = profile.title();
        if let Err(problem) = &profile.facts {
            let message = format!("{title}: {problem}");
            self.problems.push(Problem { file: file.to_owned(), line, message });
        }
        self.profiles.insert(title, Arc::new(profile));
    }
}
