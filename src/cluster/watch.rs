//! One watch: list, follow, and start again from a list whenever it breaks.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Observer;
use super::cache::{Cache, Change};

/// A kind that the cluster does not have may be installed later: it is asked again after this long.
const ABSENT_PAUSE: Duration = Duration::from_secs(15);

/// Objects of one kind, and the cache that follows them.
pub(super) struct Kind<'a, V> {
    cache: &'a Cache<V>,
    config: watcher::Config,
    optional: bool,
}

impl<'a, V: PartialEq> Kind<'a, V> {
    /// All objects, as the API server last saw them.
    pub(super) fn all(cache: &'a Cache<V>) -> Self {
        Self { cache, config: watcher::Config::default().any_semantic(), optional: false }
    }

    /// Only objects with these fields.
    pub(super) fn fields(self, selector: &str) -> Self {
        Self { config: self.config.fields(selector), ..self }
    }

    /// The cluster may lack the kind: then there are no objects.
    pub(super) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Keeps the cache in step with the API server for ever. `read` trims an object, `touched` is called after every
    /// change that matters.
    ///
    /// After an error the watch starts over with a new list: that is the only way to know that nothing was missed, and
    /// it makes the age of the cache plain, which is the time since the watch broke.
    pub(super) async fn follow<K>(
        self,
        client: &kube::Client,
        read: fn(K) -> Option<V>,
        touched: impl Fn(),
        observer: &dyn Observer,
    ) where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + 'static,
    {
        let cache = self.cache;
        let mut pauses = DefaultBackoff::default();
        let mut absent = false;
        loop {
            let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
            let mut events = watcher::watcher(api, self.config.clone()).boxed();
            let error = loop {
                match events.try_next().await {
                    Ok(Some(event)) => {
                        let complete = matches!(event, Event::InitDone);
                        if cache.apply(change_of(event, cache.name, read, observer)) {
                            touched();
                        }
                        if complete {
                            absent = false;
                            observer.synced(cache.name, cache.status().objects);
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let problem = error.as_ref().map_or_else(|| "the stream ended".to_owned(), |error| chain(error));
            if self.optional && error.as_ref().is_some_and(is_absent) {
                if cache.mark_absent() {
                    touched();
                }
                if !std::mem::replace(&mut absent, true) {
                    observer.absent(cache.name, &problem);
                }
                tokio::time::sleep(ABSENT_PAUSE).await;
                continue;
            }
            cache.mark_broken();
            let pause = pauses.next().unwrap_or_default();
            observer.broken(cache.name, &problem, pause);
            tokio::time::sleep(pause).await;
        }
    }
}

/// The API server answered, and the answer is that there is nothing to see.
fn is_absent(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        watcher::Error::WatchError(status) => matches!(status.code, 403 | 404),
        _ => false,
    }
}

fn change_of<K, V>(
    event: Event<DeserializeGuard<K>>,
    cache: &'static str,
    read: fn(K) -> Option<V>,
    observer: &dyn Observer,
) -> Change<V>
where
    K: Resource<DynamicType = ()>,
{
    let trim = |object: DeserializeGuard<K>| {
        let key = key_of(&object);
        match object.0 {
            Ok(object) => (key, read(object)),
            Err(invalid) => {
                observer.bad_object(cache, &key, &invalid.error);
                (key, None)
            }
        }
    };
    match event {
        Event::Init => Change::ListBegins,
        Event::InitDone => Change::ListComplete,
        Event::Delete(object) => Change::Deleted(key_of(&object)),
        Event::InitApply(object) => {
            let (key, view) = trim(object);
            Change::Listed(key, view)
        }
        Event::Apply(object) => {
            let (key, view) = trim(object);
            Change::Applied(key, view)
        }
    }
}

fn key_of<K: Resource<DynamicType = ()>>(object: &DeserializeGuard<K>) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// An error and its sources in one line. The client's errors repeat their source in their own text, so a source that
/// was already said is left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for source in std::iter::successors(error.source(), |e| e.source()) {
        let source = source.to_string();
        if !text.contains(&source) {
            text.push_str(": ");
            text.push_str(&source);
        }
    }
    text
}
