//! kubectl, as one person.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error: kubectl's errors, and the warnings of the API server.
    pub(crate) stderr: String,
    /// The exit code; -1 if a signal ended it.
    pub(crate) code: i32,
}

impl Output {
    /// Whether the command succeeded.
    pub(crate) fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output, or an error that holds standard error.
    pub(crate) fn success(self) -> Result<String> {
        if self.ok() { Ok(self.stdout) } else { bail!("kubectl ended with {}: {}", self.code, self.stderr.trim()) }
    }

    /// Standard output as JSON.
    pub(crate) fn json(self) -> Result<Value> {
        let text = self.success()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// The texts of the API server's warnings.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.stderr.lines().filter_map(|line| line.strip_prefix("Warning: ")).map(str::to_owned).collect()
    }
}

/// kubectl with one person's credentials.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    /// Where kubectl keeps its discovery cache.
    pub(super) home: PathBuf,
}

impl Kubectl {
    /// The credentials, for programs other than kubectl.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `kubectl ARGUMENTS`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_with(arguments, "")
    }

    /// Runs `kubectl ARGUMENTS` with `input` on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        // kubectl reads all of its input before it answers, and may end without reading any.
        let written = child.stdin.take().context("no standard input")?.write_all(input.as_bytes());
        let output = child.wait_with_output()?;
        if output.status.success() {
            written.context("writing to kubectl")?;
        }
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        })
    }

    /// Creates objects.
    pub(crate) fn create(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.run_with(&["create", "--filename=-"], &list)?.success().map(drop)
    }

    /// One object, or an error where there is none.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        self.run(&[&["get", "--output=json"], arguments].concat())?.json()
    }
}
