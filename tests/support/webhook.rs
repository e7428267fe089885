//! Our webhook as a process, registered with a test's control plane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Process, until};
use crate::namespace::Namespace;
use crate::{exposition, http, registration};

/// How long it may take to listen and to know the cluster.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Set to test another build of the program than Cargo's, such as an optimized one whose latency is of interest.
const PROGRAM: &str = "VRAMGUARD_E2E_PROGRAM";

/// How to start a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    program: PathBuf,
    config: String,
    kubeconfig: Option<PathBuf>,
    arguments: Vec<String>,
    configurations: Vec<Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            program: std::env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_vramguard").into(), PathBuf::from),
            config: String::new(),
            kubeconfig: None,
            arguments: Vec::new(),
            configurations: registration::usual(),
        }
    }
}

impl Settings {
    /// The content of the configuration file.
    pub(crate) fn config(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.config);
        self
    }

    /// Reads the cluster with these credentials instead of the administrator's.
    pub(crate) fn kubeconfig(mut self, path: &Path) -> Self {
        self.kubeconfig = Some(path.to_owned());
        self
    }

    /// Adds a flag of `vramguard serve`.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Registers these configurations, such as the chart's, instead of [`registration::usual`].
    pub(crate) fn registered_as(mut self, configurations: Vec<Value>) -> Self {
        self.configurations = configurations;
        self
    }

    /// Runs another program with the flags of `vramguard serve`.
    pub(crate) fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// Starts the webhook, waits until it is ready, registers it, and waits until the API server asks it.
    pub(crate) fn start(self, plane: &ControlPlane) -> Result<Webhook<'_>> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let id = format!("webhook-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let file = |name: &str| plane.directory().join(format!("{id}.{name}"));
        let (config, authority, ports) = (config_file(plane, &id), file("ca.pem"), file("ports.json"));
        std::fs::write(&config, &self.config)?;
        let kubeconfig = self.kubeconfig.as_deref().unwrap_or(plane.admin().kubeconfig());
        let mut arguments: Vec<String> =
            ["serve", "--self-signed", "--bind=127.0.0.1:0", "--metrics-bind=127.0.0.1:0"].map(str::to_owned).into();
        for (flag, path) in
            [("ca-out", authority.as_path()), ("ports-out", &ports), ("config", &config), ("kubeconfig", kubeconfig)]
        {
            arguments.push(format!("--{flag}={}", path.display()));
        }
        arguments.extend(self.arguments);
        let process = Process::start(&id, &self.program, &arguments, plane.directory())?;
        let ports = wait_for_ports(&process, &ports)?;
        let mut webhook = Webhook {
            plane,
            process,
            id,
            review: address(&ports, "webhook")?,
            metrics: address(&ports, "metrics")?,
            authority: std::fs::read_to_string(&authority).context("reading the webhook's authority")?,
            registered: Vec::new(),
        };
        webhook.wait_until_ready()?;
        webhook.registered =
            registration::register(plane, &self.configurations, &webhook.id, webhook.review, &webhook.authority)?;
        Ok(webhook)
    }
}

/// A webhook that the API server asks about objects in its own namespaces. Dropping it unregisters and kills it.
pub(crate) struct Webhook<'a> {
    plane: &'a ControlPlane,
    process: Process,
    id: String,
    review: SocketAddr,
    metrics: SocketAddr,
    authority: String,
    registered: Vec<String>,
}

impl<'a> Webhook<'a> {
    /// Starts it with this configuration file and nothing else out of the ordinary.
    pub(crate) fn start(plane: &'a ControlPlane, config: &str) -> Result<Self> {
        Settings::default().config(config).start(plane)
    }

    /// A namespace whose objects this webhook judges.
    pub(crate) fn namespace(&self, prefix: &str) -> Result<Namespace<'a>> {
        self.namespace_with(prefix, &json!({}))
    }

    /// The same with more labels, such as the one that sets the mode.
    pub(crate) fn namespace_with(&self, prefix: &str, labels: &Value) -> Result<Namespace<'a>> {
        let mut labels = labels.clone();
        labels[registration::LABEL] = self.id.as_str().into();
        self.plane.namespace_with(prefix, &labels)
    }

    /// The Prometheus exposition.
    pub(crate) fn metrics(&self) -> Result<String> {
        let (status, body) = http::get(self.metrics, "/metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        Ok(body)
    }

    /// The sum of the series with this name and at least these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(exposition::sum(&self.metrics()?, name, labels))
    }

    /// Reviews that came so far, readable or not.
    pub(crate) fn requests(&self) -> Result<f64> {
        let page = self.metrics()?;
        let families = ["vramguard_admission_decisions_total", "vramguard_admission_errors_total"];
        Ok(families.iter().map(|name| exposition::sum(&page, name, &[])).sum())
    }

    /// Replaces the content of the configuration file, which is read again within seconds.
    pub(crate) fn reconfigure(&self, yaml: &str) -> Result<()> {
        Ok(std::fs::write(config_file(self.plane, &self.id), yaml)?)
    }

    /// Where it answers reviews, with TLS.
    pub(crate) fn review_address(&self) -> SocketAddr {
        self.review
    }

    /// Where it serves metrics and health, without TLS.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// The authority of its certificate, in PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The process, for its log and its end.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    fn wait_until_ready(&self) -> Result<()> {
        until("the webhook to be ready", START_LIMIT, || {
            self.process.must_be_alive()?;
            Ok(http::get(self.metrics, "/readyz").is_ok_and(|(status, _)| status == 200))
        })
        .with_context(|| self.process.tail())
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        // First the registration: a registered webhook that is gone refuses everything.
        let names: Vec<&str> = self.registered.iter().map(String::as_str).collect();
        if !names.is_empty() {
            let _ = self.plane.admin().run(&[&["delete", "--wait=false"], names.as_slice()].concat());
        }
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.process.tail());
        }
    }
}

fn config_file(plane: &ControlPlane, id: &str) -> PathBuf {
    plane.directory().join(format!("{id}.config.yaml"))
}

/// The file appears when both listeners are up.
fn wait_for_ports(process: &Process, file: &Path) -> Result<Value> {
    until("the webhook to listen", START_LIMIT, || {
        process.must_be_alive()?;
        Ok(file.exists())
    })
    .with_context(|| process.tail())?;
    let text = std::fs::read_to_string(file)?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

fn address(ports: &Value, name: &str) -> Result<SocketAddr> {
    let address = ports[name].as_str().with_context(|| format!("no {name} in {ports}"))?;
    address.parse().with_context(|| format!("not an address: {address}"))
}
