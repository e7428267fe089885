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
use crate::spec::review::ReviewError;
use crate::telemetry::Metrics;

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
        Self { metrics, policy, cluster, certificate, workloads: Workloads::default(), health, slots }
    }

    /// Watches the cluster, the policy file and the certificate files, and keeps figures of what runs, for ever.
    pub async fn follow(self: &Arc<Self>, client: kube::Client) {
        tokio::join!(
            self.cluster.follow(client, &self.metrics),
            self.policy.follow(&self.metrics),
            self.certificate.follow(),
            workloads::follow(self),
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
