//! The connection to the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No way to reach a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file cannot be used.
    #[error("kubeconfig {path}")]
    Kubeconfig {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Neither a kubeconfig in the usual places nor a service account.
    #[error("no cluster: give --kubeconfig, set KUBECONFIG, or run inside a pod with a service account")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be built from its configuration.
    #[error("cluster client")]
    Build(#[source] Box<kube::Error>),
}

/// A client from a kubeconfig file, or from the usual places and the pod's service account. Nothing is sent yet.
///
/// # Errors
/// When no usable configuration is found.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<kube::Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let fail = |source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
            let file = Kubeconfig::read_from(path).map_err(fail)?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(fail)?
        }
        None => kube::Config::infer().await.map_err(|error| ClientError::Infer(Box::new(error)))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    kube::Client::try_from(config).map_err(|error| ClientError::Build(Box::new(error)))
}
