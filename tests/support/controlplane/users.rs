//! Who may talk to the API server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::pki::Pki;

/// In `system:masters`: may do everything.
pub(super) const ADMIN: &str = "admin";
/// May edit workloads in every namespace, as bound by [`grant`].
pub(super) const DEVELOPER: &str = "developer";

/// Writes the token file for the API server and a kubeconfig for each user; returns the former.
pub(super) fn write(directory: &Path, pki: &Pki, port: u16) -> Result<PathBuf> {
    let server = format!("https://127.0.0.1:{port}");
    for user in [ADMIN, DEVELOPER] {
        let cluster = json!({"server": server, "certificate-authority": pki.ca});
        write_kubeconfig(directory, user, &cluster, &token(user))?;
    }
    let path = directory.join("tokens.csv");
    let tokens = format!(
        "{},{ADMIN},{ADMIN},\"system:masters\"\n{},{DEVELOPER},{DEVELOPER},\"developers\"\n",
        token(ADMIN),
        token(DEVELOPER)
    );
    std::fs::write(&path, tokens).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Where [`write`] and [`write_kubeconfig_like`] put a user's credentials.
pub(super) fn kubeconfig_of(directory: &Path, user: &str) -> PathBuf {
    directory.join(format!("{user}.kubeconfig"))
}

/// Writes a kubeconfig for the cluster of `other`.
pub(super) fn write_kubeconfig_like(other: &Kubectl, directory: &Path, user: &str, token: &str) -> Result<()> {
    let text = std::fs::read_to_string(other.kubeconfig())?;
    let config: Value = serde_json::from_str(&text)?;
    let cluster = config.pointer("/clusters/0/cluster").context("a kubeconfig without cluster")?;
    write_kubeconfig(directory, user, cluster, token)
}

/// Lets developers do what the built-in role `edit` allows.
pub(super) fn grant(admin: &Kubectl) -> Result<()> {
    let arguments = ["create", "clusterrolebinding", "developers", "--clusterrole=edit", "--group=developers"];
    admin.run(&arguments)?.success().map(drop)
}

/// The server listens on the loopback address for the time of a test run, so a guessable token does no harm.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

/// JSON, which is YAML too.
fn write_kubeconfig(directory: &Path, user: &str, cluster: &Value, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    });
    let path = kubeconfig_of(directory, user);
    std::fs::write(&path, config.to_string()).with_context(|| format!("writing {}", path.display()))
}
