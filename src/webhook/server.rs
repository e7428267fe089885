//! Opens the ports, serves, drains and stops.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::app::App;
use super::router;
use super::tls::{Certificate, TlsError};
use crate::cluster::{Cluster, client};
use crate::config::{Config, PolicyError, PolicyFile};
#[cfg(feature = "hub")]
use crate::facts::hub::Hub;
use crate::telemetry::Metrics;
use crate::telemetry::events::{ConnectionFailed, Lifecycle};
use crate::telemetry::metrics::MetricsError;

/// A handshake, a request's headers and the first request of a connection must each be complete in this time.
const HEADERS: Duration = Duration::from_secs(15);

/// How long open requests may still take once no new ones are accepted.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file for the addresses cannot be written.
    #[error("cannot write {path}")]
    PortsOut {
        /// File.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("signal handler")]
    Signal(#[source] io::Error),
    /// No certificate.
    #[error("certificate")]
    Tls(#[from] TlsError),
    /// No policy.
    #[error("policy")]
    Policy(#[from] PolicyError),
    /// No cluster.
    #[error("cluster")]
    Client(#[from] client::ClientError),
    /// The look-up on the Hub cannot be set up.
    #[cfg(feature = "hub")]
    #[error("hub")]
    Hub(#[from] crate::facts::hub::HubError),
    /// Metrics cannot be registered.
    #[error("telemetry")]
    Metrics(#[from] MetricsError),
}

/// A running server: two open ports.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    /// Bound address of the webhook.
    pub webhook: SocketAddr,
    /// Bound address of the metrics.
    pub metrics: SocketAddr,
    webhook_handle: Handle<SocketAddr>,
    metrics_handle: Handle<SocketAddr>,
    tasks: JoinSet<io::Result<()>>,
}

impl Server {
    /// Opens both ports and serves until [`Server::stop`]. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub fn start(app: Arc<App>, webhook: SocketAddr, metrics: SocketAddr) -> Result<Self, ServeError> {
        let (webhook, webhook_address) = listen(webhook)?;
        let (metrics, metrics_address) = listen(metrics)?;
        let (webhook_handle, metrics_handle) = (Handle::new(), Handle::new());
        let fail = |address| move |source| ServeError::Listen { address, source };

        let mut tls = axum_server::from_tcp_rustls(webhook, app.certificate.rustls())
            .map_err(fail(webhook_address))?
            .map(|acceptor| acceptor.handshake_timeout(HEADERS).acceptor(NoDelayAcceptor::new()))
            .handle(webhook_handle.clone())
            .first_request_timeout(HEADERS)
            .accept_error_handler(|_, error| ConnectionFailed { problem: &error.to_string() }.emit());
        tls.http_builder().http1().header_read_timeout(HEADERS);
        tls.http_builder().http2().max_concurrent_streams(250).keep_alive_interval(Duration::from_secs(30));
        let mut plain = axum_server::from_tcp(metrics)
            .map_err(fail(metrics_address))?
            .acceptor(NoDelayAcceptor::new())
            .handle(metrics_handle.clone())
            .first_request_timeout(HEADERS);
        plain.http_builder().http1().header_read_timeout(HEADERS);

        let mut tasks = JoinSet::new();
        tasks.spawn(tls.serve(router::webhook(Arc::clone(&app)).into_make_service()));
        tasks.spawn(plain.serve(router::metrics(Arc::clone(&app)).into_make_service()));
        let server =
            Self { app, webhook: webhook_address, metrics: metrics_address, webhook_handle, metrics_handle, tasks };
        Lifecycle::Listening { webhook: &server.webhook.to_string(), metrics: &server.metrics.to_string() }.emit();
        Ok(server)
    }

    /// Waits for the end of a port, which only a failure of the system brings about.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }

    /// Fails readiness, keeps serving for `drain` so that everybody learns of it, lets open requests end, and stops.
    pub async fn stop(mut self, drain: Duration) {
        self.app.health.start_draining();
        Lifecycle::Draining { seconds: drain.as_secs_f64() }.emit();
        tokio::time::sleep(drain).await;
        self.webhook_handle.graceful_shutdown(Some(LAST_REQUESTS));
        // The metrics port stays until the last review is answered.
        self.tasks.join_next().await;
        self.metrics_handle.graceful_shutdown(Some(Duration::from_secs(1)));
        while self.tasks.join_next().await.is_some() {}
        Lifecycle::Stopped.emit();
    }
}

/// Runs the server of the command line until SIGTERM or SIGINT; a second signal stops it at once.
///
/// # Errors
/// When anything that the server needs cannot be had at its start.
pub async fn run(config: &Config) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let policy = PolicyFile::load(config.policy.as_deref())?;
    let certificate = Certificate::load(&config.certificate)?;
    let client = client::connect(config.kubeconfig.as_deref()).await?;
    let cluster = if config.read_config_maps { Cluster::with_config_maps() } else { Cluster::default() };
    let app = App::new(Metrics::new()?, policy, cluster, certificate);
    #[cfg(feature = "hub")]
    let app = app.with_hub(config.hub.clone().map(Hub::new).transpose()?);
    let app = Arc::new(app);
    let mut server = Server::start(Arc::clone(&app), config.bind, config.metrics_bind)?;
    if let Some(path) = &config.ports_out {
        write_ports(path, &server).map_err(|source| ServeError::PortsOut { path: path.clone(), source })?;
    }

    let stopping = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {}, () = server.ended() => {} }
        tokio::select! {
            () = server.stop(config.drain) => {},
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
    };
    tokio::select! { () = app.follow(client) => {}, () = stopping => {} }
    Ok(())
}

/// Opens a port. Where the system has no IPv6, `[::]` means all of IPv4.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let fail = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address)
        .or_else(|error| match error.kind() {
            io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable if address.ip().is_unspecified() => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
            }
            _ => Err(error),
        })
        .map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

/// Writes the addresses beside the file first: whoever waits for the file finds it complete.
fn write_ports(path: &Path, server: &Server) -> io::Result<()> {
    let ports = serde_json::json!({
        "webhook": server.webhook.to_string(), "metrics": server.metrics.to_string()
    });
    let partial = path.with_extension("partial");
    std::fs::write(&partial, format!("{ports}\n"))?;
    std::fs::rename(&partial, path)
}
