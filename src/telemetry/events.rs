//! What can happen, one struct each: `emit` writes one log line and counts it.
//!
//! Fields are names, codes and numbers. Never an object: the environment of a pod may hold secrets.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::families;
use super::metrics::Metrics;
use crate::decide::{Decision, Mode, Verdict};

/// A review was answered.
#[derive(Debug, Clone, Copy)]
pub struct ReviewAnswered<'a> {
    /// `validate` or `mutate`.
    pub endpoint: &'static str,
    /// Identity given by the API server.
    pub uid: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Name of the object, or its generateName.
    pub name: &'a str,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// Nothing will be persisted.
    pub dry_run: bool,
    /// What was found.
    pub verdict: Verdict,
    /// What was done about it.
    pub decision: Decision,
    /// Mode in force.
    pub mode: Mode,
    /// The pod's own laxer mode was granted.
    pub exempted: bool,
    /// Since the first byte of the body.
    pub elapsed: Duration,
}

impl ReviewAnswered<'_> {
    /// Logs denials and warnings at info, the rest at debug; counts all.
    pub fn emit(&self, metrics: &Metrics) {
        let (verdict, decision, mode) = (self.verdict.code(), self.decision.name(), self.mode.name());
        let dry_run = if self.dry_run { "true" } else { "false" };
        metrics.count(families::DECISIONS, &[self.endpoint, verdict, decision, mode, self.operation, dry_run]);
        metrics.observe_duration(self.endpoint, self.elapsed.as_secs_f64());
        // A dry run admits nothing, so nothing was exempted; the mutating endpoint sees the same pod a second time.
        if self.exempted && !self.dry_run && self.endpoint == "validate" {
            metrics.count(families::EXEMPTIONS, &[self.namespace]);
        }
        let micros = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        let Self { endpoint, uid, kind, namespace, name, operation, exempted, .. } = *self;
        if self.decision == Decision::Allow {
            debug!(
                endpoint,
                uid,
                kind,
                namespace,
                name,
                operation,
                dry_run,
                verdict,
                decision,
                mode,
                exempted,
                micros,
                "review answered"
            );
        } else {
            info!(
                endpoint,
                uid,
                kind,
                namespace,
                name,
                operation,
                dry_run,
                verdict,
                decision,
                mode,
                exempted,
                micros,
                "review answered"
            );
        }
    }
}

/// A request could not be read as a review.
#[derive(Debug, Clone, Copy)]
pub struct ReviewUnreadable<'a> {
    /// Path of the request, as routed.
    pub endpoint: &'a str,
    /// Stable code, a metric label.
    pub reason: &'static str,
    /// What is wrong, for people; never the body.
    pub problem: &'a str,
}

impl ReviewUnreadable<'_> {
    /// Logs a warning and counts by reason.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.count(families::ERRORS, &[self.reason]);
        let Self { endpoint, reason, problem } = *self;
        warn!(endpoint, reason, problem, "request refused");
    }
}

/// A watch delivered an object that cannot be decoded.
#[derive(Debug, Clone, Copy)]
pub struct BadObject<'a> {
    /// `nodes`, `pods` or `namespaces`.
    pub cache: &'static str,
    /// Namespace and name.
    pub object: &'a str,
    /// The decoder's message.
    pub problem: &'a str,
}

impl BadObject<'_> {
    /// Logs a warning and counts by cache.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.count(families::CACHE_BAD_OBJECTS, &[self.cache]);
        let Self { cache, object, problem } = *self;
        warn!(cache, object, problem, "object left out");
    }
}

/// A watch broke; it starts again after a pause.
#[derive(Debug, Clone, Copy)]
pub struct WatchBroken<'a> {
    /// `nodes`, `pods` or `namespaces`.
    pub cache: &'static str,
    /// Why.
    pub problem: &'a str,
    /// Pause before the next attempt.
    pub pause: Duration,
}

impl WatchBroken<'_> {
    /// Logs a warning; the age of the cache is a gauge of its own.
    pub fn emit(&self) {
        let Self { cache, problem, pause } = *self;
        warn!(cache, problem, pause_ms = pause.as_millis() as u64, "watch broken, starting again");
    }
}

/// A cache holds a complete list for the first time, or again.
#[derive(Debug, Clone, Copy)]
pub struct CacheSynced {
    /// `nodes`, `pods` or `namespaces`.
    pub cache: &'static str,
    /// Objects listed.
    pub objects: usize,
}

impl CacheSynced {
    /// Logs.
    pub fn emit(&self) {
        info!(cache = self.cache, objects = self.objects, "cache synced");
    }
}

/// The cluster has no objects of an optional kind that we could read.
#[derive(Debug, Clone, Copy)]
pub struct KindAbsent<'a> {
    /// The kind in lower case and plural.
    pub cache: &'static str,
    /// What the API server said.
    pub problem: &'a str,
}

impl KindAbsent<'_> {
    /// Logs: a choice of whoever installed the cluster, so no error.
    pub fn emit(&self) {
        info!(cache = self.cache, problem = self.problem, "kind not available, done without");
    }
}

/// The status of a model profile could not be written; decisions do not depend on it.
#[derive(Debug, Clone, Copy)]
pub struct StatusNotWritten<'a> {
    /// Which, as users name it.
    pub profile: &'a str,
    /// Why.
    pub problem: &'a str,
}

impl StatusNotWritten<'_> {
    /// Logs.
    pub fn emit(&self) {
        warn!(profile = self.profile, problem = self.problem, "status of a model profile not written");
    }
}

/// A model was looked up on the Hub.
#[derive(Debug, Clone)]
pub struct ModelLookedUp<'a> {
    /// Name of its repository.
    pub model: &'a str,
    /// How long it took.
    pub elapsed: Duration,
    /// Code and words of why there is none.
    pub result: Result<(), (&'static str, String)>,
}

impl ModelLookedUp<'_> {
    /// Logs and counts by result.
    pub fn emit(&self, metrics: &Metrics) {
        let (model, seconds) = (self.model, self.elapsed.as_secs_f64());
        match &self.result {
            Ok(()) => {
                metrics.count(families::HUB_LOOKUPS, &["ok"]);
                info!(model, seconds, "model looked up");
            }
            Err((code, problem)) => {
                metrics.count(families::HUB_LOOKUPS, &[code]);
                warn!(model, seconds, problem, "model not found on the Hub");
            }
        }
    }
}

/// The policy file changed.
#[derive(Debug, Clone, Copy)]
pub struct PolicyReloaded<'a> {
    /// File.
    pub path: &'a str,
    /// Why the new content is not used; the old policy stays.
    pub problem: Option<&'a str>,
}

impl PolicyReloaded<'_> {
    /// Logs and counts by result.
    pub fn emit(&self, metrics: &Metrics) {
        let path = self.path;
        match self.problem {
            None => {
                metrics.count(families::CONFIG_RELOADS, &["ok"]);
                info!(path, "policy reloaded");
            }
            Some(problem) => {
                metrics.count(families::CONFIG_RELOADS, &["error"]);
                error!(path, problem, "policy not reloaded, the old one stays in force");
            }
        }
    }
}

/// The certificate files changed.
#[derive(Debug, Clone, Copy)]
pub struct CertificateReloaded<'a> {
    /// Certificate file.
    pub path: &'a str,
    /// Why the new content is not used; the old certificate stays.
    pub problem: Option<&'a str>,
}

impl CertificateReloaded<'_> {
    /// Logs; the expiry is a gauge of its own.
    pub fn emit(&self) {
        let path = self.path;
        match self.problem {
            None => info!(path, "certificate reloaded"),
            Some(problem) => error!(path, problem, "certificate not reloaded, the old one stays in use"),
        }
    }
}

/// A connection could not be accepted: TLS handshake failed, or the system refused.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFailed<'a> {
    /// Why.
    pub problem: &'a str,
}

impl ConnectionFailed<'_> {
    /// Logs at debug: port scanners and probes without TLS are everyday.
    pub fn emit(&self) {
        debug!(problem = self.problem, "connection not accepted");
    }
}

/// The server's life.
#[derive(Debug, Clone, Copy)]
pub enum Lifecycle<'a> {
    /// Both ports are open.
    Listening {
        /// Address of the webhook.
        webhook: &'a str,
        /// Address of the metrics.
        metrics: &'a str,
    },
    /// Readiness fails from now on, requests are still served.
    Draining {
        /// How long requests are still accepted.
        seconds: f64,
    },
    /// Open connections have ended.
    Stopped,
}

impl Lifecycle<'_> {
    /// Logs.
    pub fn emit(&self) {
        match *self {
            Self::Listening { webhook, metrics } => info!(webhook, metrics, version = super::VERSION, "listening"),
            Self::Draining { seconds } => info!(seconds, "draining"),
            Self::Stopped => info!("stopped"),
        }
    }
}

impl crate::cluster::Observer for Metrics {
    fn bad_object(&self, cache: &'static str, object: &str, problem: &str) {
        BadObject { cache, object, problem }.emit(self);
    }

    fn broken(&self, cache: &'static str, problem: &str, pause: Duration) {
        WatchBroken { cache, problem, pause }.emit();
    }

    fn synced(&self, cache: &'static str, objects: usize) {
        CacheSynced { cache, objects }.emit();
    }

    fn absent(&self, cache: &'static str, problem: &str) {
        KindAbsent { cache, problem }.emit();
    }

    fn status_not_written(&self, profile: &str, problem: &str) {
        StatusNotWritten { profile, problem }.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_is_counted_once_for_a_pod() {
        let metrics = Metrics::new().unwrap();
        let answered = ReviewAnswered {
            endpoint: "validate",
            uid: "u",
            kind: "Pod",
            namespace: "ml",
            name: "p",
            operation: "CREATE",
            dry_run: false,
            verdict: Verdict::TooBig,
            decision: Decision::Warn,
            mode: Mode::Warn,
            exempted: true,
            elapsed: Duration::from_micros(50),
        };
        answered.emit(&metrics);
        ReviewAnswered { endpoint: "mutate", ..answered }.emit(&metrics);
        ReviewAnswered { dry_run: true, ..answered }.emit(&metrics);
        let text = String::from_utf8(metrics.render(&[]).unwrap()).unwrap();
        assert!(text.contains("vramguard_exemptions_total{namespace=\"ml\"} 1"));
        assert!(text.contains(
            "vramguard_admission_decisions_total{decision=\"warn\",dry_run=\"true\",endpoint=\"validate\",mode=\"warn\",operation=\"CREATE\",verdict=\"TOO_BIG\"} 1"
        ));
    }
}
