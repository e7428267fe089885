//! Devices that are claimed one by one, and node pools: watched where the cluster knows the kinds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cache::Cache;
use super::watch::Kind;
use super::{CacheStatus, Observer};
use crate::decide::Inventory;
use crate::decide::inventory::dynamic::{DeviceClass, DeviceRequest, Dynamic};
use crate::spec::dra::objects::{self, ResourceSlice};
use crate::spec::dra::{Published, place};
use crate::spec::nodepools::{self, NodePool};
use crate::spec::nodes::{NodeView, with_devices};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $scope:ty, $group:literal, $plural:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        pub(super) struct $name {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
        }

        watched_as!($name, $scope, $group, "v1", $plural, $kind);

        impl From<$name> for Value {
            fn from(object: $name) -> Self {
                let $name { metadata, spec } = object;
                json!({
                    "kind": $kind,
                    "metadata": {"name": metadata.name, "namespace": metadata.namespace},
                    "spec": spec,
                })
            }
        }
    )*};
}

kinds! {
    /// Devices of one driver.
    Slice, ClusterResourceScope, "resource.k8s.io", "resourceslices", "ResourceSlice";
    /// Devices that are asked for alike.
    Class, ClusterResourceScope, "resource.k8s.io", "deviceclasses", "DeviceClass";
    /// A claim on devices.
    Claim, NamespaceResourceScope, "resource.k8s.io", "resourceclaims", "ResourceClaim";
    /// What claims are made from.
    Template, NamespaceResourceScope, "resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate";
    /// Nodes that Karpenter may add.
    Pool, ClusterResourceScope, "karpenter.sh", "nodepools", "NodePool";
}

/// What is known of devices and pools.
#[derive(Debug)]
pub(super) struct Devices {
    slices: Cache<ResourceSlice>,
    classes: Cache<DeviceClass>,
    claims: Cache<Vec<DeviceRequest>>,
    templates: Cache<Vec<DeviceRequest>>,
    pools: Cache<NodePool>,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            slices: Cache::new("resourceslices"),
            classes: Cache::new("deviceclasses"),
            claims: Cache::new("resourceclaims"),
            templates: Cache::new("resourceclaimtemplates"),
            pools: Cache::new("nodepools"),
        }
    }
}

impl Devices {
    /// State of every cache.
    pub(super) fn status(&self) -> [CacheStatus; 5] {
        [
            self.slices.status(),
            self.classes.status(),
            self.claims.status(),
            self.templates.status(),
            self.pools.status(),
        ]
    }

    /// There are none, and there is no watch.
    pub(super) fn mark_synced(&self) {
        self.slices.mark_synced(0);
        self.classes.mark_synced(0);
        self.claims.mark_synced(0);
        self.templates.mark_synced(0);
        self.pools.mark_synced(0);
    }

    pub(super) fn is_synced(&self) -> bool {
        self.status().iter().all(|status| status.age.is_some())
    }

    /// Watches all kinds for ever.
    pub(super) async fn follow(&self, client: &kube::Client, touch: impl Fn() + Copy, observer: &dyn Observer) {
        tokio::join!(
            Kind::all(&self.slices).optional().follow(client, slice, touch, observer),
            Kind::all(&self.classes).optional().follow(client, class, touch, observer),
            Kind::all(&self.claims).optional().follow(client, claim, touch, observer),
            Kind::all(&self.templates).optional().follow(client, template, touch, observer),
            Kind::all(&self.pools).optional().follow(client, pool, touch, observer),
        );
    }

    /// The inventory of the nodes with their devices.
    pub(super) fn inventory(&self, nodes: Vec<std::sync::Arc<NodeView>>) -> Inventory {
        fn owned<V: Clone>(entries: Vec<(String, std::sync::Arc<V>)>) -> BTreeMap<String, V> {
            entries.into_iter().map(|(key, value)| (key, V::clone(&value))).collect()
        }
        let dynamic = Dynamic {
            classes: owned(self.classes.entries()),
            claims: owned(self.claims.entries()),
            templates: owned(self.templates.entries()),
            unplaced: Vec::new(),
        };
        let mut inventory = with_devices(nodes, place(self.slices.values()), dynamic);
        let pools: Vec<NodePool> = self.pools.values().into_iter().map(|pool| NodePool::clone(&pool)).collect();
        inventory.possible = nodepools::possible(&pools);
        inventory
    }
}

// Objects that cannot be read are left out, as of every kind: a claim that is not known makes capacity unknown.

fn slice(object: Slice) -> Option<ResourceSlice> {
    Some(ResourceSlice { spec: serde_json::from_value(object.spec).ok()? })
}

fn class(object: Class) -> Option<DeviceClass> {
    let Class { spec, .. } = object;
    objects::device_class(&spec).ok()
}

fn claim(object: Claim) -> Option<Vec<DeviceRequest>> {
    let Claim { spec, .. } = object;
    objects::device_requests(&spec).ok()
}

fn template(object: Template) -> Option<Vec<DeviceRequest>> {
    let Template { spec, .. } = object;
    objects::device_requests(spec.get("spec")?).ok()
}

fn pool(object: Pool) -> Option<NodePool> {
    serde_json::from_value(object.into()).ok()
}

/// Everything of these kinds, listed once, and what could not be listed.
pub async fn list(client: &kube::Client) -> (Published, Vec<NodePool>, Vec<String>) {
    let (mut published, mut pools, mut notes) = (Published::default(), Vec::new(), Vec::new());
    let mut add = |object: Value| {
        // What cannot be read is left out, as the watches do.
        let _known = published.add(&object);
    };
    each::<Slice>(client, &mut notes).await.into_iter().for_each(&mut add);
    each::<Class>(client, &mut notes).await.into_iter().for_each(&mut add);
    each::<Claim>(client, &mut notes).await.into_iter().for_each(&mut add);
    each::<Template>(client, &mut notes).await.into_iter().for_each(&mut add);
    let found = each::<Pool>(client, &mut notes).await;
    pools.extend(found.into_iter().filter_map(|pool| serde_json::from_value(pool).ok()));
    (published, pools, notes)
}

/// Objects of a kind; none where the cluster does not have it.
async fn each<K>(client: &kube::Client, notes: &mut Vec<String>) -> Vec<Value>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Into<Value>,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list.items.into_iter().map(Into::into).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => {
            notes.push(format!("{} cannot be listed, none is known: {error}", K::plural(&())));
            Vec::new()
        }
    }
}
