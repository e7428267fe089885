//! The objects that are watched, with only the fields that are read: the rest is skipped while decoding.

use std::borrow::Cow;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::spec::nodes::{NodeMetadata, NodeSpec, NodeStatus, NodeView};

/// The label that sets a namespace's mode.
const MODE_LABEL: &str = "vramguard.io/mode";

macro_rules! slim_resource {
    ($slim:ident as $full:ty) => {
        impl Resource for $slim {
            type DynamicType = ();
            type Scope = <$full as Resource>::Scope;

            fn kind((): &()) -> Cow<'_, str> {
                <$full as Resource>::kind(&())
            }
            fn group((): &()) -> Cow<'_, str> {
                <$full as Resource>::group(&())
            }
            fn version((): &()) -> Cow<'_, str> {
                <$full as Resource>::version(&())
            }
            fn plural((): &()) -> Cow<'_, str> {
                <$full as Resource>::plural(&())
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

/// A node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

slim_resource!(Node as core::Node);

/// What capacity is read from.
pub(super) fn node_view(node: Node) -> Option<NodeView> {
    let metadata =
        NodeMetadata { name: node.metadata.name.unwrap_or_default(), labels: node.metadata.labels.unwrap_or_default() };
    Some(NodeView { metadata, spec: node.spec, status: node.status })
}

/// A namespace.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Namespace {
    metadata: ObjectMeta,
}

slim_resource!(Namespace as core::Namespace);

/// The mode label, where there is one. Namespaces without are kept too, so that their number can be shown.
pub(super) fn namespace_mode(namespace: Namespace) -> Option<Option<String>> {
    Some(namespace.metadata.labels.and_then(|mut labels| labels.remove(MODE_LABEL)))
}
