//! Settings of the server: flags and environment resolved once into [`Config`], and the policy file, which is read
//! again when it changes.

mod policy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use policy::{PolicyError, PolicyFile};

use crate::telemetry::logs::LogFormat;

/// Everything that the server needs to know at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the webhook.
    pub bind: SocketAddr,
    /// Address of the metrics.
    pub metrics_bind: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificate: CertificateSource,
    /// File to write the bound addresses to.
    pub ports_out: Option<PathBuf>,
    /// Policy file; defaults apply without.
    pub policy: Option<PathBuf>,
    /// Kubeconfig file; the usual places and the service account without.
    pub kubeconfig: Option<PathBuf>,
    /// Watch ConfigMaps, for settings that trainers and engines read from mounted files.
    pub read_config_maps: bool,
    /// How long requests are still accepted after a signal to stop.
    pub drain: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Log filter.
    pub log_level: String,
    /// Where models are looked up that are not known; nowhere without.
    #[cfg(feature = "hub")]
    pub hub: Option<crate::facts::hub::Settings>,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files, polled for changes.
    Files {
        /// Certificate chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// A certificate authority and a certificate for this host, made at the start and kept in memory.
    SelfSigned {
        /// File to write the authority's certificate to.
        ca_out: Option<PathBuf>,
    },
}
