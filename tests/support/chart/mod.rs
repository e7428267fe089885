//! The chart as helm renders it, and the queries of its dashboard.

pub(crate) mod dashboard;
pub(crate) mod families;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::controlplane::Programs;

/// The namespace that releases are rendered for.
pub(crate) const NAMESPACE: &str = "vramguard-system";

/// CRDs that take any object of the kinds that the chart can make beside those that every cluster knows.
pub(crate) const FOREIGN_CRDS: &str = include_str!("crds.yaml");

/// A path in the checkout.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The values files that the chart's tests cover, each a kind of installation.
pub(crate) fn values_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path("charts/vramguard/ci"))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// What to render.
#[derive(Clone, Debug, Default)]
pub(crate) struct Release {
    values: Vec<PathBuf>,
    sets: Vec<String>,
    tests: bool,
}

impl Release {
    /// A release with the chart's defaults and nothing else, which lacks a CA bundle.
    pub(crate) fn bare() -> Self {
        Self::default()
    }

    /// A release with a values file.
    pub(crate) fn of(values: impl Into<PathBuf>) -> Self {
        Self { values: vec![values.into()], ..Self::default() }
    }

    /// `KEY=VALUE` as for `helm --set`.
    pub(crate) fn set(mut self, assignment: &str) -> Self {
        self.sets.push(assignment.to_owned());
        self
    }

    /// Renders the pods of `helm test` too.
    pub(crate) fn with_tests(mut self) -> Self {
        self.tests = true;
        self
    }

    /// The manifests as text, or helm's words.
    pub(crate) fn text(&self) -> Result<String> {
        self.helm(&["template", "vramguard"], if self.tests { &[] } else { &["--skip-tests"] })
    }

    /// What `helm install` prints for people, without a cluster.
    pub(crate) fn notes(&self) -> Result<String> {
        let text = self.helm(&["install", "vramguard"], &["--dry-run=client"])?;
        Ok(text.split_once("\nNOTES:\n").context("helm printed no notes")?.1.to_owned())
    }

    /// What `helm lint` has to say, warnings being errors.
    pub(crate) fn lint(&self) -> Result<String> {
        self.helm(&["lint"], &["--strict"])
    }

    fn helm(&self, command: &[&str], flags: &[&str]) -> Result<String> {
        let mut helm = Command::new(Programs::of(&["helm"])?.path("helm"));
        helm.args(command).arg(path("charts/vramguard")).args(["--namespace", NAMESPACE]).args(flags);
        // Nothing here may depend on a cluster that somebody is logged in to.
        helm.env("KUBECONFIG", "/dev/null");
        for file in &self.values {
            helm.arg("--values").arg(file);
        }
        for assignment in &self.sets {
            helm.args(["--set", assignment]);
        }
        let output = helm.stdin(Stdio::null()).output().context("starting helm")?;
        if !output.status.success() {
            bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The objects, in the order of installation.
    pub(crate) fn objects(&self) -> Result<Vec<Value>> {
        parse(&self.text()?)
    }

    /// The objects of the two webhook configurations.
    pub(crate) fn webhook_configurations(&self) -> Result<Vec<Value>> {
        let mut objects = self.objects()?;
        objects.retain(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("WebhookConfiguration")));
        Ok(objects)
    }
}

/// The objects of a file with YAML documents.
pub(crate) fn parse(manifests: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).context("rendered manifests are not YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// `KIND/NAME`, for messages.
pub(crate) fn title(object: &Value) -> String {
    let part = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", part(&object["kind"]), part(&object["metadata"]["name"]))
}
