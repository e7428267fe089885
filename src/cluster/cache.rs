//! Trimmed objects of one kind, as one watch last saw them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::CacheStatus;

/// Objects by `namespace/name`, or by name where they have no namespace.
#[derive(Debug)]
pub(super) struct Cache<V> {
    pub(super) name: &'static str,
    /// Size of an object, and of all that are held together.
    weigh: fn(&V) -> usize,
    budget: usize,
    state: Mutex<State<V>>,
}

#[derive(Debug)]
struct State<V> {
    objects: BTreeMap<String, Arc<V>>,
    /// The list being received, until it is complete.
    incoming: Option<BTreeMap<String, Arc<V>>>,
    /// A complete list has been received.
    synced: bool,
    /// The watch has been broken since.
    broken_since: Option<Instant>,
    /// Shown instead of the number of objects, for a cache without a watch.
    fixed_count: Option<usize>,
}

/// What a watch can say, with the object already trimmed; `None` is an object that does not matter or is unreadable.
#[derive(Debug)]
pub(super) enum Change<V> {
    ListBegins,
    Listed(String, Option<V>),
    ListComplete,
    Applied(String, Option<V>),
    Deleted(String),
}

impl<V: PartialEq> Cache<V> {
    pub(super) fn new(name: &'static str) -> Self {
        Self::bounded(name, |_| 0, usize::MAX)
    }

    /// A cache that leaves out what would make it larger than `budget`.
    pub(super) fn bounded(name: &'static str, weigh: fn(&V) -> usize, budget: usize) -> Self {
        let state =
            State { objects: BTreeMap::new(), incoming: None, synced: false, broken_since: None, fixed_count: None };
        Self { name, weigh, budget, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for one more among others.
    fn fits(&self, object: &V, others: &BTreeMap<String, Arc<V>>, key: &str) -> bool {
        if self.budget == usize::MAX {
            return true;
        }
        let held = others.iter().filter(|(other, _)| *other != key).map(|(_, object)| (self.weigh)(object));
        held.fold((self.weigh)(object), usize::saturating_add) <= self.budget
    }

    /// Takes a change in; tells whether anything that matters is different now.
    pub(super) fn apply(&self, change: Change<V>) -> bool {
        let mut state = self.lock();
        match change {
            Change::ListBegins => {
                state.incoming = Some(BTreeMap::new());
                false
            }
            Change::Listed(key, object) => {
                if let (Some(incoming), Some(object)) = (&mut state.incoming, object)
                    && self.fits(&object, incoming, &key)
                {
                    incoming.insert(key, Arc::new(object));
                }
                false
            }
            Change::ListComplete => {
                let first = !std::mem::replace(&mut state.synced, true);
                state.broken_since = None;
                let incoming = state.incoming.take().unwrap_or_default();
                let different = incoming != state.objects;
                state.objects = incoming;
                first || different
            }
            Change::Applied(key, Some(object)) if self.fits(&object, &state.objects, &key) => {
                let same = state.objects.get(&key).is_some_and(|old| **old == object);
                if !same {
                    state.objects.insert(key, Arc::new(object));
                }
                !same
            }
            // An object that became unreadable or too large is left out: what it was before is no longer true.
            Change::Applied(key, _) | Change::Deleted(key) => state.objects.remove(&key).is_some(),
        }
    }

    /// The watch broke; the objects stay until a new list is complete.
    pub(super) fn mark_broken(&self) {
        self.lock().broken_since.get_or_insert_with(Instant::now);
    }

    /// There are no objects of this kind, and that is all there is to know; tells whether it was otherwise before.
    pub(super) fn mark_absent(&self) -> bool {
        let mut state = self.lock();
        let news = !std::mem::replace(&mut state.synced, true) || !state.objects.is_empty();
        state.objects.clear();
        state.incoming = None;
        state.broken_since = None;
        news
    }

    /// A cache that is complete without a watch.
    pub(super) fn mark_synced(&self, objects: usize) {
        let mut state = self.lock();
        state.synced = true;
        state.fixed_count = Some(objects);
    }

    pub(super) fn is_synced(&self) -> bool {
        self.lock().synced
    }

    pub(super) fn values(&self) -> Vec<Arc<V>> {
        self.lock().objects.values().cloned().collect()
    }

    pub(super) fn entries(&self) -> Vec<(String, Arc<V>)> {
        self.lock().objects.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
    }

    pub(super) fn status(&self) -> CacheStatus {
        let state = self.lock();
        let age = state.broken_since.map(|since| since.elapsed()).unwrap_or_default();
        let objects = state.fixed_count.unwrap_or(state.objects.len());
        CacheStatus { name: self.name, objects, age: state.synced.then_some(age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(cache: &Cache<u8>, objects: &[(&str, u8)]) -> bool {
        cache.apply(Change::ListBegins);
        for (key, value) in objects {
            assert!(!cache.apply(Change::Listed((*key).to_owned(), Some(*value))));
        }
        cache.apply(Change::ListComplete)
    }

    #[test]
    fn a_list_replaces_everything_at_once_and_only_when_complete() {
        let cache = Cache::new("nodes");
        assert_eq!(cache.status().age, None);
        assert!(listed(&cache, &[("a", 1), ("b", 2)]));
        cache.apply(Change::ListBegins);
        cache.apply(Change::Listed("c".into(), Some(3)));
        assert_eq!(cache.status().objects, 2, "a list under way is not visible");
        assert!(cache.apply(Change::ListComplete));
        assert_eq!(cache.entries().into_iter().map(|(k, v)| (k, *v)).collect::<Vec<_>>(), [("c".to_owned(), 3)]);
    }

    #[test]
    fn a_bounded_cache_leaves_out_what_is_too_much() {
        let cache = Cache::bounded("configmaps", |weight: &u8| usize::from(*weight), 10);
        listed(&cache, &[("a", 6), ("b", 5), ("c", 4)]);
        let held = || cache.entries().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(held(), ["a", "c"]);
        assert!(cache.apply(Change::Applied("a".into(), Some(7))), "what no longer fits is left out");
        assert_eq!(held(), ["c"]);
        assert!(cache.apply(Change::Applied("b".into(), Some(5))));
        assert_eq!(held(), ["b", "c"]);
    }

    #[test]
    fn only_what_matters_is_a_change() {
        let cache = Cache::new("nodes");
        assert!(listed(&cache, &[]), "the first list is news even when it is empty");
        assert!(!listed(&cache, &[]));
        assert!(cache.apply(Change::Applied("a".into(), Some(1))));
        assert!(!cache.apply(Change::Applied("a".into(), Some(1))));
        assert!(cache.apply(Change::Applied("a".into(), None)), "an unreadable object is left out");
        assert!(!cache.apply(Change::Deleted("a".into())));
    }

    #[test]
    fn a_broken_watch_keeps_its_objects_and_ages_until_the_next_list() {
        let cache = Cache::new("nodes");
        listed(&cache, &[("a", 1)]);
        cache.mark_broken();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let status = cache.status();
        assert!(status.age > Some(std::time::Duration::ZERO) && status.objects == 1);
        listed(&cache, &[("a", 1)]);
        assert_eq!(cache.status().age, Some(std::time::Duration::ZERO));
    }
}
