//! Profiles by name and by what pods call their models.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::Profile;

/// Profiles that are kept at most; of more, those that come last by name are left out.
const MOST: usize = 10_000;

/// Where objects without a namespace land.
const DEFAULT_NAMESPACE: &str = "default";

/// Every profile: those of a namespace come before those of the cluster.
#[derive(Debug, Default, PartialEq)]
pub struct Profiles {
    cluster: Scope,
    namespaces: BTreeMap<String, Scope>,
}

#[derive(Debug, Default, PartialEq)]
struct Scope {
    by_name: BTreeMap<String, Arc<Profile>>,
    by_alias: BTreeMap<String, Arc<Profile>>,
}

impl Profiles {
    /// No profile.
    #[must_use]
    pub fn none() -> &'static Self {
        static NONE: OnceLock<Profiles> = OnceLock::new();
        NONE.get_or_init(Self::default)
    }

    /// Puts profiles in order. Of two in one scope with the same alias the one that comes first by name has it, so that
    /// every replica and every run decides alike.
    #[must_use]
    pub fn new(profiles: impl IntoIterator<Item = Arc<Profile>>) -> Self {
        let mut all: Vec<Arc<Profile>> = profiles.into_iter().collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut found = Self::default();
        for profile in all.into_iter().take(MOST) {
            let scope = match &profile.namespace {
                None => &mut found.cluster,
                Some(namespace) => found.namespaces.entry(landing(namespace).to_owned()).or_default(),
            };
            for alias in &profile.aliases {
                scope.by_alias.entry(key(alias)).or_insert_with(|| Arc::clone(&profile));
            }
            scope.by_name.insert(profile.name.clone(), profile);
        }
        found
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cluster.by_name.len() + self.namespaces.values().map(|scope| scope.by_name.len()).sum::<usize>()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cluster.by_name.is_empty() && self.namespaces.is_empty()
    }

    /// The profile of a name, for a pod of a namespace.
    #[must_use]
    pub fn named(&self, namespace: &str, name: &str) -> Option<&Arc<Profile>> {
        self.scopes(namespace).find_map(|scope| scope.by_name.get(name))
    }

    /// The profile of the model that a pod of a namespace calls so.
    #[must_use]
    pub fn of_model(&self, namespace: &str, reference: &str) -> Option<&Arc<Profile>> {
        if self.is_empty() {
            return None;
        }
        let key = key(reference);
        self.scopes(namespace).find_map(|scope| scope.by_alias.get(&key))
    }

    fn scopes(&self, namespace: &str) -> impl Iterator<Item = &Scope> {
        self.namespaces.get(landing(namespace)).into_iter().chain(std::iter::once(&self.cluster))
    }
}

fn landing(namespace: &str) -> &str {
    if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace }
}

/// What two ways of writing one reference have in common. Paths and addresses tell upper and lower case apart, names on
/// the Hub do not.
fn key(reference: &str) -> String {
    let trimmed = reference.trim();
    let trimmed = trimmed.strip_prefix("hf://").unwrap_or(trimmed);
    let shown = trimmed.trim_end_matches('/');
    let exact = shown.starts_with(['/', '.', '~']) || shown.contains("://");
    if exact { shown.to_owned() } else { shown.to_ascii_lowercase() }
}
