//! The live cluster: watches of nodes, namespaces, GPU pods and model profiles, and the snapshot that decisions are made from.
//!
//! Decisions read the snapshot without locks and without waiting; watches rebuild it when something that matters has
//! changed. Nothing on the admission path talks to the API server.

/// How the API server knows the objects that a type with `metadata` holds.
macro_rules! watched_as {
    ($name:ident, $scope:ty, $group:expr, $version:expr, $plural:expr, $kind:expr) => {
        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

mod cache;
pub mod client;
pub mod devices;
mod objects;
pub mod profiles;
mod snapshot;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use crate::decide::Inventory;
use crate::facts::profile::{CLUSTER_PLURAL, PLURAL, Profiles};
use crate::spec::files::{ConfigMaps, Keys};
use crate::spec::nodes::NodeView;
use cache::Cache;
use devices::Devices;
use profiles::{ClusterProfile, NamespacedProfile, SeenProfile};
use watch::Kind;

pub use objects::GpuPod;
pub use snapshot::Snapshot;

/// Changes are gathered this long before the snapshot is rebuilt, so that a rollout of nodes costs few rebuilds.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A cache that has been out of step for longer than this is not ready.
const STALE: Duration = Duration::from_mins(1);

/// Bytes of all ConfigMaps that are held: what is beyond is not known.
const CONFIG_MAPS_BUDGET: usize = 64 << 20;

/// A snapshot that lags behind its caches for longer than this is not ready.
const LAGGING: Duration = Duration::from_secs(10);

/// Is told what happens to the watches; counts and logs it. `Sync`, since every watch has its own task.
pub trait Observer: Sync {
    /// An object could not be decoded and is left out.
    fn bad_object(&self, cache: &'static str, object: &str, problem: &str);
    /// A watch broke and starts again after a pause.
    fn broken(&self, cache: &'static str, problem: &str, pause: Duration);
    /// A complete list was received.
    fn synced(&self, cache: &'static str, objects: usize);
    /// The cluster does not have the kind, or does not let us read it: there are no such objects for now.
    fn absent(&self, cache: &'static str, problem: &str);
    /// The status of a profile could not be written.
    fn status_not_written(&self, profile: &str, problem: &str);
}

/// What is known about the cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Cache<NodeView>,
    namespaces: Cache<Option<String>>,
    pods: Cache<GpuPod>,
    profiles: Cache<SeenProfile>,
    wide_profiles: Cache<SeenProfile>,
    /// Only where reading them was allowed.
    config_maps: Option<Cache<Keys>>,
    files: ArcSwapOption<ConfigMaps>,
    devices: Devices,
    snapshot: ArcSwap<Snapshot>,
    changed: Notify,
    /// Pods or capacity changed: figures of workloads are out of date.
    workloads_changed: Notify,
    /// A profile changed: its status may be out of date.
    profiles_changed: Notify,
    /// Since when the snapshot lags behind the caches.
    dirty_since: Mutex<Option<Instant>>,
}

/// State of one cache, for readiness and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// The kind in lower case and plural, or `snapshots`.
    pub name: &'static str,
    /// Objects held.
    pub objects: usize,
    /// Since the cache was last in step; `None` before the first complete list.
    pub age: Option<Duration>,
}

impl CacheStatus {
    /// Why decisions should not rely on this cache; `None` when they can.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        // Without it a file is not known, which decisions say.
        if self.name == "configmaps" {
            return None;
        }
        let limit = if self.name == "snapshots" { LAGGING } else { STALE };
        match self.age {
            None => Some(format!("{}: not listed yet", self.name)),
            Some(age) if age > limit => {
                Some(format!("{}: out of step with the API server for {} s", self.name, age.as_secs()))
            }
            Some(_) => None,
        }
    }
}

impl Default for Cluster {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            nodes: Cache::new("nodes"),
            namespaces: Cache::new("namespaces"),
            pods: Cache::new("pods"),
            profiles: Cache::new(PLURAL),
            wide_profiles: Cache::new(CLUSTER_PLURAL),
            config_maps: None,
            files: ArcSwapOption::empty(),
            devices: Devices::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::empty()),
            changed: Notify::new(),
            workloads_changed: Notify::new(),
            profiles_changed: Notify::new(),
            dirty_since: Mutex::new(None),
        }
    }
}

impl Cluster {
    /// Nothing is known yet; ConfigMaps will be watched too.
    #[must_use]
    pub fn with_config_maps() -> Self {
        let cache = Cache::bounded("configmaps", objects::weight, CONFIG_MAPS_BUDGET);
        Self { config_maps: Some(cache), ..Self::default() }
    }

    /// ConfigMaps that pods may have mounted as files; `None` unless they are watched and have been listed.
    #[must_use]
    pub fn config_maps(&self) -> Option<Arc<ConfigMaps>> {
        self.files.load_full()
    }

    /// A cluster that never changes, for tests and benchmarks: an inventory, and the `vramguard.io/mode` label of each
    /// namespace that has one.
    #[must_use]
    pub fn fixed(inventory: Inventory, namespace_modes: BTreeMap<String, String>) -> Self {
        let cluster = Self::default();
        cluster.nodes.mark_synced(inventory.nodes);
        cluster.namespaces.mark_synced(namespace_modes.len());
        cluster.pods.mark_synced(0);
        cluster.devices.mark_synced();
        cluster.profiles.mark_synced(0);
        cluster.wide_profiles.mark_synced(0);
        cluster.snapshot.store(Arc::new(Snapshot::of(inventory, namespace_modes, Profiles::default(), 1)));
        cluster
    }

    /// The latest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// State of every cache and of the snapshot.
    #[must_use]
    pub fn status(&self) -> Vec<CacheStatus> {
        let dirty = *self.dirty_since.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = dirty.map_or(Duration::ZERO, |since| since.elapsed());
        let age = (self.snapshot.load().generation > 0).then_some(lag);
        let snapshot = CacheStatus { name: "snapshots", objects: self.snapshot.load().inventory.classes.len(), age };
        let mut all = vec![self.nodes.status(), self.namespaces.status(), self.pods.status(), snapshot];
        all.extend(self.config_maps.as_ref().map(Cache::status));
        all.extend(self.devices.status());
        all.extend([self.profiles.status(), self.wide_profiles.status()]);
        all
    }

    /// Watches the cluster for ever.
    pub async fn follow(&self, client: kube::Client, observer: &dyn Observer) {
        let touch = || self.touch();
        let pods_changed = || self.workloads_changed.notify_one();
        let profiles_changed = || {
            self.touch();
            self.profiles_changed.notify_one();
        };
        let (nodes, namespaces) = (Kind::all(&self.nodes), Kind::all(&self.namespaces));
        // Finished pods hold no GPU; their end looks like a deletion to this watch.
        let pods = Kind::all(&self.pods).fields("status.phase!=Succeeded,status.phase!=Failed");
        let (profiles, wide_profiles) = (Kind::all(&self.profiles), Kind::all(&self.wide_profiles));
        let read = |profile: NamespacedProfile| Some(profile.into());
        let read_cluster = |profile: ClusterProfile| Some(profile.into());
        tokio::join!(
            nodes.follow(&client, |node| Some(objects::node_view(node)), touch, observer),
            namespaces.follow(&client, |object| Some(objects::namespace_mode(object)), touch, observer),
            pods.follow(&client, objects::gpu_pod, pods_changed, observer),
            self.devices.follow(&client, touch, observer),
            profiles.optional().follow(&client, read, profiles_changed, observer),
            wide_profiles.optional().follow(&client, read_cluster, profiles_changed, observer),
            self.follow_config_maps(&client, observer),
            self.rebuild_on_change(),
            profiles::keep_status(self, &client, observer),
        );
    }

    /// Most namespaces hold the authority's certificate and nothing else.
    async fn follow_config_maps(&self, client: &kube::Client, observer: &dyn Observer) {
        let Some(cache) = &self.config_maps else { return };
        let settings = Kind::all(cache).fields("metadata.name!=kube-root-ca.crt");
        let publish = || {
            let mut maps = ConfigMaps::default();
            for (key, keys) in cache.entries() {
                if let Some((namespace, name)) = key.split_once('/') {
                    maps.add(namespace, name, keys);
                }
            }
            self.files.store(cache.is_synced().then(|| Arc::new(maps)));
        };
        settings.follow(client, objects::settings, publish, observer).await;
    }

    /// GPU pods by `namespace/name`, in that order.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<GpuPod>> {
        self.pods.values()
    }

    /// Waits until pods or capacity have changed.
    pub async fn workloads_changed(&self) {
        self.workloads_changed.notified().await;
    }

    /// Profiles of both kinds.
    fn seen_profiles(&self) -> Vec<Arc<SeenProfile>> {
        let mut all = self.profiles.values();
        all.extend(self.wide_profiles.values());
        all
    }

    fn touch(&self) {
        self.dirty_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    async fn rebuild_on_change(&self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(DEBOUNCE).await;
            self.rebuild();
        }
    }

    /// Nothing is published before all lists are complete: half a list of nodes would deny what fits on the rest.
    fn rebuild(&self) {
        let listed = [&self.nodes.is_synced(), &self.namespaces.is_synced(), &self.devices.is_synced()];
        let profiles_known = self.profiles.is_synced() && self.wide_profiles.is_synced();
        if !listed.into_iter().all(|listed| *listed) || !profiles_known {
            return;
        }
        *self.dirty_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let inventory = self.devices.inventory(self.nodes.values());
        let modes = self.namespaces.entries().into_iter().filter_map(|(name, mode)| Some((name, (*mode).clone()?)));
        let generation = self.snapshot.load().generation + 1;
        let profiles = Profiles::new(self.seen_profiles().iter().map(|seen| Arc::clone(&seen.profile)));
        self.snapshot.store(Arc::new(Snapshot::of(inventory, modes.collect(), profiles, generation)));
        self.workloads_changed.notify_one();
    }
}
