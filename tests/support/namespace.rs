//! A namespace and what a developer does in it, in verbs that fail the test when the cluster answers otherwise.

use std::borrow::Borrow;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use crate::controlplane::{ControlPlane, Output, eventually};

/// How long an expected answer may take to come. The webhook watches nodes, so its view of them follows the API server's
/// by some milliseconds: `accepts` and `rejects` ask again until the answer is as expected or this time is over.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long the scheduler and the controllers may take.
const RUN_LIMIT: Duration = Duration::from_mins(1);

/// A namespace of one test. Dropping it removes it, without waiting.
pub(crate) struct Namespace<'a> {
    plane: &'a ControlPlane,
    name: String,
}

impl ControlPlane {
    /// A namespace with a name that starts so.
    pub(crate) fn namespace(&self, prefix: &str) -> Result<Namespace<'_>> {
        self.namespace_with(prefix, &serde_json::json!({}))
    }

    /// The same with labels.
    pub(crate) fn namespace_with(&self, prefix: &str, labels: &Value) -> Result<Namespace<'_>> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.create_namespace(&name, labels)?;
        Ok(Namespace { plane: self, name })
    }
}

impl Namespace<'_> {
    /// The name in the cluster.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Asks whether the object may be created, changing nothing (a server-side dry run, through every webhook).
    pub(crate) fn ask(&self, object: &impl Borrow<Value>) -> Result<Output> {
        let arguments = ["create", "--dry-run=server", "--output=json", "--namespace", &self.name, "--filename=-"];
        self.plane.developer().run_with(&arguments, &object.borrow().to_string())
    }

    /// `kubectl apply` as the developer, with more arguments such as `--dry-run=server`.
    pub(crate) fn apply(&self, object: &impl Borrow<Value>, more: &[&str]) -> Result<Output> {
        let arguments = ["apply", "--output=json", "--namespace", &self.name, "--filename=-"];
        self.plane.developer().run_with(&[&arguments, more].concat(), &object.borrow().to_string())
    }

    /// Expects that the object may be created.
    #[track_caller]
    pub(crate) fn accepts(&self, object: &impl Borrow<Value>) -> Accepted {
        let answer = eventually(ANSWER_LIMIT, || {
            let output = self.ask(object)?;
            let warnings = output.warnings();
            anyhow::Ok(Accepted { warnings, object: output.json()? })
        });
        match answer {
            Ok(found) => found,
            Err(error) => panic!("expected to be accepted, got: {error:#}"),
        }
    }

    /// Expects that the object is refused.
    #[track_caller]
    pub(crate) fn rejects(&self, object: &impl Borrow<Value>) -> Rejected {
        let answer = eventually(ANSWER_LIMIT, || {
            let output = self.ask(object)?;
            ensure!(!output.ok(), "it was accepted, with these warnings: {:?}", output.warnings());
            Ok(Rejected { message: output.stderr })
        });
        match answer {
            Ok(found) => found,
            Err(error) => panic!("expected to be rejected, but {error:#}"),
        }
    }

    /// Creates the object for good.
    #[track_caller]
    pub(crate) fn creates(&self, object: &impl Borrow<Value>) -> Accepted {
        let arguments = ["create", "--output=json", "--namespace", &self.name, "--filename=-"];
        let output = self.plane.developer().run_with(&arguments, &object.borrow().to_string());
        let accepted = output.and_then(|output| {
            let warnings = output.warnings();
            Ok(Accepted { warnings, object: output.json()? })
        });
        match accepted {
            Ok(found) => found,
            Err(error) => panic!("expected to be created, got: {error:#}"),
        }
    }

    /// Creates the pod, waits until it runs, and returns it.
    #[track_caller]
    pub(crate) fn runs(&self, pod: &impl Borrow<Value>) -> Value {
        let created = self.creates(pod).object;
        let name = created["metadata"]["name"].as_str().unwrap_or_default();
        match self.pod_in_phase("Running", name) {
            Ok(found) => found,
            Err(error) => panic!("expected pod {name} to run, but {error:#}"),
        }
    }

    /// Creates what makes pods, waits until `count` of its pods (those labelled `app: NAME`) run, and returns them.
    #[track_caller]
    pub(crate) fn runs_pods_of(&self, controller: &impl Borrow<Value>, count: usize) -> Vec<Value> {
        let created = self.creates(controller).object;
        let name = created["metadata"]["name"].as_str().unwrap_or_default();
        let running = eventually(RUN_LIMIT, || {
            let selector = format!("--selector=app={name}");
            let pods = self.get(&["pods", &selector, "--field-selector=status.phase=Running"])?;
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            ensure!(pods.len() == count, "{} pods of {name} run", pods.len());
            Ok(pods)
        });
        match running {
            Ok(found) => found,
            Err(error) => panic!("expected {count} running pods, but {error:#}"),
        }
    }

    /// Creates the pod and waits until the scheduler says that no node will do; returns its words.
    #[track_caller]
    pub(crate) fn cannot_schedule(&self, pod: &impl Borrow<Value>) -> String {
        let created = self.creates(pod).object;
        let name = created["metadata"]["name"].as_str().unwrap_or_default();
        let words = eventually(RUN_LIMIT, || {
            let pod = self.get(&["pod", name])?;
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let unschedulable = conditions.iter().find(|each| each["reason"] == "Unschedulable");
            let words = unschedulable.and_then(|condition| condition["message"].as_str());
            words.map(str::to_owned).ok_or_else(|| anyhow!("its status is {}", pod["status"]))
        });
        match words {
            Ok(found) => found,
            Err(error) => panic!("expected pod {name} to be unschedulable, but {error:#}"),
        }
    }

    /// Waits until a pod is in a phase.
    pub(crate) fn pod_in_phase(&self, phase: &str, name: &str) -> Result<Value> {
        eventually(RUN_LIMIT, || {
            let pod = self.get(&["pod", name])?;
            ensure!(pod["status"]["phase"] == phase, "its status is {}", pod["status"]);
            Ok(pod)
        })
    }

    /// `kubectl get` in this namespace.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        self.plane.developer().get(&[arguments, &["--namespace", &self.name]].concat())
    }

    /// kubectl in this namespace, as the developer.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.plane.developer().run(&[arguments, &["--namespace", &self.name]].concat())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // Its controllers first: they would fill the next test's nodes while the namespace is being emptied. What is
        // left over dies with the control plane.
        let controllers = "deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs";
        let _ = self.plane.admin().run(&["delete", controllers, "--all", "--wait=false", "--namespace", &self.name]);
        let _ = self.plane.admin().run(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// The answer to an object that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The object as webhooks and defaults left it.
    pub(crate) object: Value,
    /// What the developer was warned of.
    pub(crate) warnings: Vec<String>,
}

impl Accepted {
    /// Expects a warning that contains these words.
    #[track_caller]
    pub(crate) fn with_warning(self, words: &str) -> Self {
        assert!(self.warnings.iter().any(|each| each.contains(words)), "no {words:?} in {:#?}", self.warnings);
        self
    }

    /// Expects no warning.
    #[track_caller]
    pub(crate) fn silently(self) -> Self {
        assert!(self.warnings.is_empty(), "unexpected warnings: {:#?}", self.warnings);
        self
    }

    /// Expects this value at a JSON pointer of the object.
    #[track_caller]
    pub(crate) fn with(self, pointer: &str, value: impl Into<Value>) -> Self {
        let found = self.object.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &value.into(), "at {pointer} of {:#}", self.object);
        self
    }
}

/// The answer to an object that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Rejected {
    /// What the developer reads.
    pub(crate) message: String,
}

impl Rejected {
    /// Expects these words, such as a code, in the message.
    #[track_caller]
    pub(crate) fn because(self, words: &str) -> Self {
        assert!(self.message.contains(words), "no {words:?} in {:?}", self.message);
        self
    }
}
