//! `vramguard serve`: the admission server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::hub::HubArgs;
use crate::config::{CertificateSource, Config};
use crate::telemetry::logs::{self, LogFormat};
use crate::webhook::server;

/// Run the admission server
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address of the webhook: /validate, /mutate, /livez, /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443", env = "VRAMGUARD_BIND")]
    pub bind: SocketAddr,

    /// Address of /metrics, /livez and /readyz without TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9090", env = "VRAMGUARD_METRICS_BIND")]
    pub metrics_bind: SocketAddr,

    /// Certificate chain, PEM, leaf first; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "VRAMGUARD_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "VRAMGUARD_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Make a certificate for localhost, 127.0.0.1 and ::1 at the start
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"], env = "VRAMGUARD_SELF_SIGNED")]
    pub self_signed: bool,

    /// Write the certificate of the self-signed authority to this file
    #[arg(long, value_name = "FILE", requires = "self_signed", env = "VRAMGUARD_CA_OUT")]
    pub ca_out: Option<PathBuf>,

    /// Write the bound addresses to this file as JSON once both ports are open
    #[arg(long, value_name = "FILE", env = "VRAMGUARD_PORTS_OUT")]
    pub ports_out: Option<PathBuf>,

    /// Policy file, YAML; read again when it changes
    #[arg(long, value_name = "FILE", env = "VRAMGUARD_CONFIG")]
    pub config: Option<PathBuf>,

    /// Kubeconfig of the cluster [default: KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE", env = "VRAMGUARD_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Watch ConfigMaps, so that settings in mounted files are known; needs the right to list and watch them
    #[arg(long, env = "VRAMGUARD_READ_CONFIG_MAPS")]
    pub read_config_maps: bool,

    /// How long requests are still served after SIGTERM, while readiness fails
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, env = "VRAMGUARD_DRAIN_SECONDS")]
    pub drain_seconds: f64,

    /// How log lines look: json or text
    #[arg(long, value_name = "FORMAT", default_value = "json", env = "VRAMGUARD_LOG_FORMAT")]
    pub log_format: String,

    /// Log filter, e.g. `info` or `info,vramguard=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "VRAMGUARD_LOG_LEVEL")]
    pub log_level: String,

    /// Where models are looked up that are not known
    #[command(flatten)]
    pub hub: HubArgs,
}

impl ServeArgs {
    /// Resolves the flags once.
    ///
    /// # Errors
    /// When flags contradict each other or a value makes no sense.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        let certificate = if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            CertificateSource::Files { certificate: certificate.clone(), key: key.clone() }
        } else {
            ensure!(self.self_signed, "no certificate: give --tls-cert and --tls-key, or --self-signed for local use");
            CertificateSource::SelfSigned { ca_out: self.ca_out.clone() }
        };
        let drain = Duration::try_from_secs_f64(self.drain_seconds)
            .ok()
            .filter(|drain| *drain <= Duration::from_hours(1))
            .with_context(|| format!("--drain-seconds {}: expected 0 to 3600", self.drain_seconds))?;
        let log_format = LogFormat::from_name(&self.log_format).with_context(|| {
            format!("--log-format {}: expected one of {}", self.log_format, LogFormat::NAMES.join(", "))
        })?;
        Ok(Config {
            bind: self.bind,
            metrics_bind: self.metrics_bind,
            certificate,
            ports_out: self.ports_out.clone(),
            policy: self.config.clone(),
            kubeconfig: self.kubeconfig.clone(),
            read_config_maps: self.read_config_maps,
            drain,
            log_format,
            log_level: self.log_level.clone(),
            #[cfg(feature = "hub")]
            hub: self.hub.settings().map_err(|failure| anyhow::anyhow!("{failure}"))?,
        })
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the settings cannot be used or the server cannot start.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = args.resolve()?;
    logs::init(config.log_format, &config.log_level)?;
    // The cluster client uses the process default. It fails only when one is already set, which is as good.
    let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("async runtime")?;
    runtime.block_on(server::run(&config))?;
    Ok(ExitCode::SUCCESS)
}
