//! What every request can see.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::handler::{self, Endpoint};
use super::health::Health;
use super::limits::MAX_REQUESTS;
use super::tls::Certificate;
use super::workloads::{self, Workloads};
use crate::cluster::Cluster;
use crate::config::PolicyFile;
#[cfg(feature = "hub")]
use crate::facts::hub::{Hub, Looked, Queue};
use crate::facts::lookup::ModelSource;
use crate::spec::review::ReviewError;
use crate::telemetry::Metrics;
#[cfg(feature = "hub")]
use crate::telemetry::events::ModelLookedUp;

/// Shared by all connections.
#[derive(Debug)]
pub struct App {
    /// Counters and the page of `/metrics`.
    pub metrics: Metrics,
    /// The policy in force.
    pub policy: PolicyFile,
    /// Nodes, namespaces and GPU pods.
    pub cluster: Cluster,
    /// The serving certificate.
    pub certificate: Certificate,
    /// Looks up models that are not known.
    #[cfg(feature = "hub")]
    pub(super) hub: Option<Queue>,
    /// Estimates of what runs.
    pub(super) workloads: Workloads,
    /// Whether the server wants requests.
    pub(super) health: Health,
    /// One permit a request that is being read or answered.
    pub(super) slots: Semaphore,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(metrics: Metrics, policy: PolicyFile, cluster: Cluster, certificate: Certificate) -> Self {
        let (health, slots) = (Health::default(), Semaphore::new(MAX_REQUESTS));
        Self {
            metrics,
            policy,
            cluster,
            certificate,
            #[cfg(feature = "hub")]
            hub: None,
            workloads: Workloads::default(),
            health,
            slots,
        }
    }

    /// Looks models up on a Hub that are not known.
    #[cfg(feature = "hub")]
    #[must_use]
    pub fn with_hub(self, hub: Option<Hub>) -> Self {
        Self { hub: hub.map(Queue::new), ..self }
    }

    /// What is asked about models that neither a profile nor the catalogue knows.
    pub(super) fn model_source(&self) -> Option<&dyn ModelSource> {
        #[cfg(feature = "hub")]
        return self.hub.as_ref().map(|queue| queue as &dyn ModelSource);
        #[cfg(not(feature = "hub"))]
        None
    }

    #[cfg(feature = "hub")]
    async fn look_models_up(&self) {
        let Some(queue) = &self.hub else { return };
        let looked: Looked<'_> = &|model, elapsed, result| {
            let result = result.map_err(|error| (error.code(), error.to_string()));
            ModelLookedUp { model: &model.to_string(), elapsed, result }.emit(&self.metrics);
        };
        queue.follow(looked).await;
    }

    #[cfg(not(feature = "hub"))]
    async fn look_models_up(&self) {}

    /// Watches the cluster, the policy file and the certificate files, and keeps figures of what runs, for ever.
    pub async fn follow(self: &Arc<Self>, client: kube::Client) {
        tokio::join!(
            // A dozen watches in one future are more than a stack should hold.
            Box::pin(self.cluster.follow(client, &self.metrics)),
            self.policy.follow(&self.metrics),
            self.certificate.follow(),
            workloads::follow(self),
            self.look_models_up(),
        );
    }

    /// Answers a validating review as the endpoint does, counted and logged, without the network.
    ///
    /// # Errors
    /// When the body is no review.
    pub fn validate(&self, body: &[u8]) -> Result<Vec<u8>, ReviewError> {
        handler::judge(Endpoint::Validate, self, body, Instant::now())
    }
}
