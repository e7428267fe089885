//! The policy file, read again when its content changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::decide::Policy;
use crate::telemetry::Metrics;
use crate::telemetry::events::PolicyReloaded;

/// How often the file is read. Contents are compared, since a mounted ConfigMap changes by a swapped symbolic link.
const POLL: Duration = Duration::from_secs(5);

/// Larger files are refused.
const LIMIT: usize = 1 << 20;

/// The policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("policy file {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a policy.
    #[error("policy file {path}: {problem}")]
    Parse {
        /// File.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
}

/// The policy in force, and where it comes from.
#[derive(Debug)]
pub struct PolicyFile {
    path: Option<PathBuf>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    policy: Arc<Policy>,
    /// Content as last seen, good or bad: a bad change is reported once.
    content: Vec<u8>,
    /// The content last seen could not be used since then.
    bad_since: Option<Instant>,
}

impl PolicyFile {
    /// A policy that never changes.
    #[must_use]
    pub fn fixed(policy: Policy) -> Self {
        let loaded = Loaded { policy: Arc::new(policy), content: Vec::new(), bad_since: None };
        Self { path: None, current: ArcSwap::from_pointee(loaded) }
    }

    /// Reads the file; the default policy without one.
    ///
    /// # Errors
    /// When the file cannot be read or is not a policy: a server does not start with half a policy.
    pub fn load(path: Option<&Path>) -> Result<Self, PolicyError> {
        let Some(path) = path else { return Ok(Self::fixed(Policy::default())) };
        let content = std::fs::read(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        let policy = Arc::new(parse(path, &content)?);
        let loaded = Loaded { policy, content, bad_since: None };
        Ok(Self { path: Some(path.to_owned()), current: ArcSwap::from_pointee(loaded) })
    }

    /// The policy in force.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.load().policy)
    }

    /// How long the file has been unusable while an older policy stays in force; zero when all is well.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        self.current.load().bad_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Reads the file again; on any error the old policy stays in force.
    pub async fn refresh(&self, metrics: &Metrics) {
        let Some(path) = &self.path else { return };
        let old = self.current.load_full();
        let (content, result) = match tokio::fs::read(path).await {
            Ok(content) if content == old.content => return,
            Ok(content) => (content.clone(), parse(path, &content)),
            // The content is left as it was, so that the file's return to it is noticed and said.
            Err(_) if old.bad_since.is_some() && old.content.is_empty() => return,
            Err(source) => (Vec::new(), Err(PolicyError::Read { path: path.clone(), source })),
        };
        let (policy, bad_since, problem) = match result {
            Ok(policy) => (Arc::new(policy), None, None),
            Err(error) => {
                let since = old.bad_since.unwrap_or_else(Instant::now);
                (Arc::clone(&old.policy), Some(since), Some(chain(&error)))
            }
        };
        self.current.store(Arc::new(Loaded { policy, content, bad_since }));
        PolicyReloaded { path: &path.display().to_string(), problem: problem.as_deref() }.emit(metrics);
    }

    /// Refreshes for ever.
    pub async fn follow(&self, metrics: &Metrics) {
        loop {
            tokio::time::sleep(POLL).await;
            self.refresh(metrics).await;
        }
    }
}

fn parse(path: &Path, content: &[u8]) -> Result<Policy, PolicyError> {
    let fail = |problem: String| PolicyError::Parse { path: path.to_owned(), problem };
    if content.len() > LIMIT {
        return Err(fail(format!("{} bytes, at most {LIMIT} are read", content.len())));
    }
    let text = std::str::from_utf8(content).map_err(|error| fail(error.to_string()))?;
    // A file of comments alone is a policy that says nothing.
    let policy: Option<Policy> = crate::spec::yaml::typed(text).map_err(|error| fail(error.to_string()))?;
    Ok(policy.unwrap_or_default())
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Mode;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        std::fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn a_changed_file_comes_into_force_and_a_broken_one_does_not() {
        let metrics = Metrics::new().unwrap();
        let (_dir, path) = file("mode: warn\nnamespaces: {prod: enforce}\n");
        let policy = PolicyFile::load(Some(&path)).unwrap();
        assert_eq!(policy.current().mode, Mode::Warn);

        std::fs::write(&path, "mode: audit\n").unwrap();
        policy.refresh(&metrics).await;
        assert_eq!(policy.current().mode, Mode::Audit);

        std::fs::write(&path, "mode: [\n").unwrap();
        policy.refresh(&metrics).await;
        policy.refresh(&metrics).await;
        assert_eq!(policy.current().mode, Mode::Audit);
        assert!(policy.stale_for() > Duration::ZERO);

        std::fs::remove_file(&path).unwrap();
        policy.refresh(&metrics).await;
        policy.refresh(&metrics).await;
        std::fs::write(&path, "mode: off\n").unwrap();
        policy.refresh(&metrics).await;
        assert_eq!((policy.current().mode, policy.stale_for()), (Mode::Off, Duration::ZERO));

        let text = String::from_utf8(metrics.render(&[]).unwrap()).unwrap();
        assert!(text.contains("vramguard_config_reloads_total{result=\"ok\"} 2"), "{text}");
        assert!(text.contains("vramguard_config_reloads_total{result=\"error\"} 2"), "{text}");
    }

    #[test]
    fn an_unknown_field_stops_the_start_and_is_named() {
        let (_dir, path) = file("mode: warn\nnamespace: {prod: enforce}\n");
        let error = PolicyFile::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("policy.yaml") && error.contains("namespace"), "{error}");
    }

    #[test]
    fn an_empty_file_is_the_default_policy() {
        for content in ["", "\n", "# nothing yet\n", "---\n", "{}"] {
            let (_dir, path) = file(content);
            assert_eq!(*PolicyFile::load(Some(&path)).unwrap().current(), Policy::default(), "{content:?}");
        }
    }
}
