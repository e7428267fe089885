//! A real Kubernetes control plane for tests: etcd, API server, controller manager and scheduler, with kwok in place of
//! kubelets. Everything listens on 127.0.0.1, lives in one temporary directory, and dies with the test process.
//!
//! ```ignore
//! let plane = ControlPlane::start()?;
//! let nodes = plane.nodes(&[a100_80gb_node("n1", 8)])?;       // until dropped, the cluster has these nodes
//! let team = plane.namespace("team")?;
//! team.runs(&pod("serve").gpus(1));
//! ```

mod directory;
mod flags;
mod kubectl;
mod nodes;
mod pki;
mod ports;
mod process;
mod programs;
mod users;
mod wait;

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

pub(crate) use kubectl::{Kubectl, Output};
pub(crate) use nodes::Nodes;
pub(crate) use process::Process;
pub(crate) use programs::Programs;
pub(crate) use wait::{Overdue, eventually, until};

/// How long one component may take to come up: far more than it takes alone, since test machines are shared.
const START_LIMIT: Duration = Duration::from_mins(2);

/// Set to keep the directory with the logs after the tests.
const KEEP: &str = "VRAMGUARD_E2E_KEEP";

/// A running control plane. Ends when [`ControlPlane::stop`] is called, when it is dropped, or when this process dies.
pub(crate) struct ControlPlane {
    directory: PathBuf,
    admin: Kubectl,
    developer: Kubectl,
    processes: Mutex<Vec<Process>>,
    /// Held by the test that has nodes now; see [`ControlPlane::nodes`].
    node_owner: Mutex<()>,
    started_in: Duration,
}

impl ControlPlane {
    /// Builds what is not built yet, starts everything, and waits until it serves.
    ///
    /// # Errors
    /// When a program cannot be built, ends early or is not ready in time; then with the end of its log.
    pub(crate) fn start() -> Result<Self> {
        let programs = Programs::of(&["etcd", "kubernetes", "kwok"])?;
        let clock = Instant::now();
        let directory = directory::create()?;
        let pki = pki::Pki::create(&directory)?;
        let etcd = format!("http://127.0.0.1:{}", ports::free()?);
        let port = ports::free()?;
        let users = users::write(&directory, &pki, port)?;
        let kubectl = |user: &str| Kubectl {
            program: programs.path("kubectl"),
            kubeconfig: users::kubeconfig_of(&directory, user),
            home: directory.clone(),
        };
        let mut plane = Self {
            admin: kubectl(users::ADMIN),
            developer: kubectl(users::DEVELOPER),
            directory: directory.clone(),
            processes: Mutex::default(),
            node_owner: Mutex::default(),
            started_in: Duration::ZERO,
        };
        plane.launch(&programs, "etcd", &flags::etcd(&directory, &etcd, ports::free()?))?;
        plane.launch(&programs, "kube-apiserver", &flags::apiserver(&directory, &pki, &users, &etcd, port)?)?;
        plane.wait_for("the API server", || plane.admin.run(&["get", "--raw=/readyz"]).map(|output| output.ok()))?;
        let kubeconfig = plane.admin.kubeconfig().to_owned();
        plane.launch(&programs, "kube-controller-manager", &flags::controller_manager(&kubeconfig, &pki))?;
        plane.launch(&programs, "kube-scheduler", &flags::scheduler(&kubeconfig))?;
        plane.launch(&programs, "kwok", &flags::kwok(&directory, &kubeconfig)?)?;
        plane.wait_for("the controller manager", || plane.service_account_exists("default"))?;
        users::grant(&plane.admin)?;
        plane.started_in = clock.elapsed();
        Ok(plane)
    }

    /// Runs kubectl as the cluster's administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.admin.run(arguments)
    }

    /// kubectl as a member of `system:masters`.
    pub(crate) fn admin(&self) -> &Kubectl {
        &self.admin
    }

    /// kubectl as somebody who may edit workloads in every namespace and nothing of the cluster.
    pub(crate) fn developer(&self) -> &Kubectl {
        &self.developer
    }

    /// kubectl as a service account, with a token of its own: what a program in the cluster has.
    pub(crate) fn service_account(&self, namespace: &str, name: &str) -> Result<Kubectl> {
        let token = self.admin.run(&["create", "token", name, "--namespace", namespace])?.success()?;
        let user = format!("{namespace}-{name}");
        users::write_kubeconfig_like(&self.admin, &self.directory, &user, token.trim())?;
        Ok(Kubectl { kubeconfig: users::kubeconfig_of(&self.directory, &user), ..self.admin.clone() })
    }

    /// A client for code under test that talks to the API server itself, as the administrator.
    pub(crate) async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(self.admin.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Where the logs are, and room for files of a test.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// From the first process to a cluster that serves, building not counted.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Gives the cluster exactly these nodes, ready, until the returned guard is dropped. Nodes belong to the whole
    /// cluster, so tests that name some wait for each other here; one that needs an empty cluster passes none.
    pub(crate) fn nodes(&self, nodes: &[impl Borrow<Value>]) -> Result<Nodes<'_>> {
        let owner: MutexGuard<'_, ()> = self.node_owner.lock().unwrap_or_else(PoisonError::into_inner);
        Nodes::create(&self.admin, owner, nodes.iter().map(|node| node.borrow().clone()).collect())
    }

    /// Creates a namespace, labelled as asked, and waits until pods can be created in it.
    pub(crate) fn create_namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        self.admin.create(&[namespace])?;
        // Pods are refused until the controller manager has made the service account that they run as.
        self.wait_for(&format!("the service account of {name}"), || self.service_account_exists(name))
    }

    /// What the API server's audit log says of pods and workloads so far: one event a request, with the audit
    /// annotations that webhooks set.
    pub(crate) fn audit_events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(flags::audit_log(&self.directory))?;
        // The last line may still be on its way.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Kills every process and removes the directory. Needed where the plane lives in a `static`, which nobody drops.
    pub(crate) fn stop(&self) {
        let mut processes = self.processes();
        // Clients before servers, so that no log fills with complaints.
        while let Some(process) = processes.pop() {
            process.kill();
        }
        drop(processes);
        if std::env::var_os(KEEP).is_some() {
            eprintln!("{KEEP} is set: logs stay in {}", self.directory.display());
        } else {
            // What cannot be removed now is removed by the next run.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    fn launch(&self, programs: &Programs, name: &str, flags: &[String]) -> Result<()> {
        let process = Process::start(name, &programs.path(name), flags, &self.directory)?;
        self.processes().push(process);
        Ok(())
    }

    /// Waits for a condition. Fails with the end of a log as soon as a process has ended, with all when time is over.
    fn wait_for(&self, what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let waited = until(what, START_LIMIT, || {
            self.processes().iter().try_for_each(Process::must_be_alive)?;
            condition()
        });
        waited.map_err(|error| match error.downcast_ref::<Overdue>() {
            None => error,
            Some(overdue) => {
                let logs: Vec<String> = self.processes().iter().map(Process::tail).collect();
                anyhow!("{overdue}\n{}", logs.join("\n"))
            }
        })
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn service_account_exists(&self, namespace: &str) -> Result<bool> {
        Ok(self.admin.run(&["get", "serviceaccount", "default", "--namespace", namespace])?.ok())
    }

    /// Applies a manifest file as the administrator, as an installation would.
    pub(crate) fn apply(&self, manifest: &str) -> Result<()> {
        let output = self.admin.run_with(&["apply", "--server-side", "--filename=-"], manifest)?;
        ensure!(output.ok(), "kubectl apply: {}", output.stderr.trim());
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop();
    }
}
