//! One watch: list, follow, and start again from a list whenever it breaks.

use futures::{StreamExt, TryStreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Observer;
use super::cache::{Cache, Change};

/// Keeps `cache` in step with the API server for ever. `read` trims an object, `touched` is called after every change
/// that matters.
///
/// After an error the watch starts over with a new list: that is the only way to know that nothing was missed, and it
/// makes the age of the cache plain, which is the time since the watch broke.
pub(super) async fn follow<K, V>(
    client: &kube::Client,
    cache: &Cache<V>,
    config: &watcher::Config,
    read: fn(K) -> Option<V>,
    touched: impl Fn(),
    observer: &dyn Observer,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + 'static,
    V: PartialEq,
{
    let mut pauses = DefaultBackoff::default();
    loop {
        let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
        let mut events = watcher::watcher(api, config.clone()).boxed();
        let problem = loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    let complete = matches!(event, Event::InitDone);
                    if cache.apply(change_of(event, cache.name, read, observer)) {
                        touched();
                    }
                    if complete {
                        observer.synced(cache.name, cache.status().objects);
                    }
                }
                Ok(None) => break "the stream ended".to_owned(),
                Err(error) => break chain(&error),
            }
        };
        cache.mark_broken();
        let pause = pauses.next().unwrap_or_default();
        observer.broken(cache.name, &problem, pause);
        tokio::time::sleep(pause).await;
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
fn chain(error: &dyn std::error::Error) -> String {
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
