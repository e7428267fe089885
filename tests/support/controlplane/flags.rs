//! The flags of every component.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::pki::Pki;

/// Nodes with this annotation are kwok's.
pub(super) const KWOK_ANNOTATION: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

pub(super) fn etcd(directory: &Path, url: &str, peer_port: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", directory.join("etcd").display()),
        // The data need not survive a power cut, and tests share their disk.
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".to_owned(),
    ]
}

pub(super) fn apiserver(directory: &Path, pki: &Pki, tokens: &Path, etcd: &str, port: u16) -> Result<Vec<String>> {
    Ok(vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        // Otherwise it looks for a network interface to advertise, and a sandbox may have none.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--tls-cert-file={}", pki.certificate.display()),
        format!("--tls-private-key-file={}", pki.key.display()),
        format!("--token-auth-file={}", tokens.display()),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", pki.service_accounts_public_key.display()),
        format!("--service-account-signing-key-file={}", pki.service_accounts_key.display()),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", audit_policy(directory)?.display()),
        format!("--audit-log-path={}", audit_log(directory).display()),
    ])
}

/// Where the API server writes its audit events.
pub(super) fn audit_log(directory: &Path) -> PathBuf {
    directory.join("audit.jsonl")
}

/// Records who asked for what and the annotations that admission left, of workloads only and without bodies.
fn audit_policy(directory: &Path) -> Result<PathBuf> {
    let workloads = json!([{"group": "", "resources": ["pods"]}, {"group": "apps"}, {"group": "batch"}]);
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "verbs": ["create", "update", "patch"], "resources": workloads},
            {"level": "None"},
        ],
    });
    write(directory.join("audit-policy.json"), &policy.to_string())
}

pub(super) fn controller_manager(kubeconfig: &Path, pki: &Pki) -> Vec<String> {
    let mut flags = alone(kubeconfig);
    flags.extend([
        format!("--service-account-private-key-file={}", pki.service_accounts_key.display()),
        format!("--root-ca-file={}", pki.ca.display()),
    ]);
    flags
}

pub(super) fn scheduler(kubeconfig: &Path) -> Vec<String> {
    alone(kubeconfig)
}

/// One replica that nobody scrapes: no election to wait for, no port to find.
fn alone(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ]
}

pub(super) fn kwok(directory: &Path, kubeconfig: &Path) -> Result<Vec<String>> {
    let stages = write(directory.join("stages.yaml"), include_str!("stages.yaml"))?;
    let (key, value) = KWOK_ANNOTATION;
    Ok(vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--config={}", stages.display()),
        "--manage-all-nodes=false".to_owned(),
        format!("--manage-nodes-with-annotation-selector={key}={value}"),
        // Without a lease the controller manager would take the nodes for dead after a minute.
        "--node-lease-duration-seconds=40".to_owned(),
    ])
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
