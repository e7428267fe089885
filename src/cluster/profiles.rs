//! `ModelProfile` objects: watched where the cluster knows the kinds, read once, their status kept right.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Cluster, DEBOUNCE, Observer};
use crate::facts::profile::{CLUSTER_KIND, CLUSTER_PLURAL, GROUP, KIND, ModelProfileStatus, PLURAL, Profile, VERSION};

/// Whose the fields of the status are.
const FIELD_MANAGER: &str = "vramguard";

/// A status that could not be written is tried again after this long.
const RETRY: Duration = Duration::from_mins(1);

macro_rules! profile_resource {
    ($(#[$doc:meta])* $name:ident, $scope:ty, $kind:expr, $plural:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        pub(super) struct $name {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Option<ModelProfileStatus>,
        }

        watched_as!($name, $scope, GROUP, VERSION, $plural, $kind);

        impl From<$name> for SeenProfile {
            fn from(object: $name) -> Self {
                Self::new(object.metadata, &object.spec, object.status.as_ref())
            }
        }
    };
}

profile_resource!(
    /// A profile of one namespace.
    NamespacedProfile, NamespaceResourceScope, KIND, PLURAL
);
profile_resource!(
    /// A profile of the whole cluster.
    ClusterProfile, ClusterResourceScope, CLUSTER_KIND, CLUSTER_PLURAL
);

/// What decisions and the status need of an object; the JSON of its config is not kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenProfile {
    pub(super) profile: Arc<Profile>,
    /// The status that the object should have, where it has another.
    due: Option<ModelProfileStatus>,
}

impl SeenProfile {
    fn new(metadata: ObjectMeta, spec: &Value, status: Option<&ModelProfileStatus>) -> Self {
        let profile = Profile::of(metadata.namespace, metadata.name.unwrap_or_default(), spec);
        let wanted = profile.status(metadata.generation);
        let due = (status != Some(&wanted)).then_some(wanted);
        Self { profile: Arc::new(profile), due }
    }
}

/// Writes every status that is due, for ever.
///
/// All replicas do so, since all write the same. Each writes one status at most once, so that replicas of two versions,
/// which may differ, do not take turns.
pub(super) async fn keep_status(cluster: &Cluster, client: &kube::Client, observer: &dyn Observer) {
    let mut written = BTreeMap::new();
    let mut failed = false;
    loop {
        let pause = if failed { RETRY } else { Duration::MAX };
        let _changed_or_time_to_retry = tokio::time::timeout(pause, cluster.profiles_changed.notified()).await;
        tokio::time::sleep(DEBOUNCE).await;
        failed = write_due(&cluster.seen_profiles(), &mut written, client, observer).await;
    }
}

/// Tells whether any could not be written and is worth another try.
async fn write_due(
    seen: &[Arc<SeenProfile>],
    written: &mut BTreeMap<String, ModelProfileStatus>,
    client: &kube::Client,
    observer: &dyn Observer,
) -> bool {
    let mut kept = std::mem::take(written);
    let mut failed = false;
    for seen in seen {
        let title = seen.profile.title();
        let last = kept.remove(&title);
        let Some(due) = seen.due.as_ref().filter(|due| last.as_ref() != Some(due)) else {
            written.extend(last.map(|last| (title, last)));
            continue;
        };
        match write(&seen.profile, due, client).await {
            Ok(()) => {
                written.insert(title, due.clone());
            }
            // Deleted since.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
                observer.status_not_written(&title, &super::watch::chain(&error));
                if forbidden {
                    written.insert(title, due.clone());
                }
                failed |= !forbidden;
            }
        }
    }
    failed
}

async fn write(profile: &Profile, status: &ModelProfileStatus, client: &kube::Client) -> Result<(), kube::Error> {
    let kind = if profile.namespace.is_some() { KIND } else { CLUSTER_KIND };
    let patch = Patch::Apply(json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": kind, "status": status}));
    let how = PatchParams::apply(FIELD_MANAGER).force();
    let name = profile.name.as_str();
    match &profile.namespace {
        Some(namespace) => {
            Api::<NamespacedProfile>::namespaced(client.clone(), namespace).patch_status(name, &how, &patch).await?;
        }
        None => {
            Api::<ClusterProfile>::all(client.clone()).patch_status(name, &how, &patch).await?;
        }
    }
    Ok(())
}

/// Every profile of the cluster; none where the kinds are not installed.
///
/// # Errors
/// When they cannot be listed.
pub async fn list(client: &kube::Client) -> Result<Vec<Arc<Profile>>, kube::Error> {
    let mut all = list_kind::<NamespacedProfile>(client).await?;
    all.extend(list_kind::<ClusterProfile>(client).await?);
    Ok(all)
}

async fn list_kind<K>(client: &kube::Client) -> Result<Vec<Arc<Profile>>, kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Into<SeenProfile>,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items.into_iter().map(|object| object.into().profile).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
