//! The metric families that vramguard exports, as data: the registry and docs/metrics.md are built from this table.
//!
//! Names and labels are an interface: the dashboard and the alert rules query them.

/// How a family behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

impl Kind {
    /// The name in documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Full name with unit.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Label names in order.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+

        /// All families in the order of the documentation.
        pub const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    DECISIONS = Counter "vramguard_admission_decisions_total"
        ["endpoint", "verdict", "decision", "mode", "operation", "dry_run"]
        "Admission reviews answered, by what was found and what was done about it.";
    DURATION = Histogram "vramguard_admission_duration_seconds" ["endpoint"]
        "Time from the first byte of a review's body to its answer.";
    ERRORS = Counter "vramguard_admission_errors_total" ["reason"]
        "Requests that could not be read as an admission review.";
    EXEMPTIONS = Counter "vramguard_exemptions_total" ["namespace"]
        "Pods admitted under a laxer mode than their namespace's, by their own annotation and reason.";
    REQUIRED = Gauge "vramguard_workload_required_bytes" ["namespace", "workload", "container", "bound"]
        "Estimated GPU memory per GPU to start and serve one longest request, or to train; bound is low, likely or high.";
    WANTED = Gauge "vramguard_workload_wanted_bytes" ["namespace", "workload", "container", "bound"]
        "Estimated GPU memory per GPU at the declared concurrency; bound is low, likely or high.";
    RESERVED = Gauge "vramguard_workload_reserved_bytes" ["namespace", "workload", "container", "bound"]
        "Estimated GPU memory per GPU that the engine takes and nvidia-smi shows; bound is low, likely or high.";
    HEADROOM = Gauge "vramguard_workload_headroom_bytes" ["namespace", "workload", "container"]
        "Usable memory of the GPU class minus the likely requirement; negative when it does not fit.";
    SERIES_DROPPED = Counter "vramguard_workload_series_dropped_total" []
        "Workloads without series because the limit on workload series was reached, counted at each refresh.";
    GPU_CAPACITY = Gauge "vramguard_gpu_capacity_bytes" ["gpu_class"]
        "Memory that the runtime sees on one device of the class.";
    GPU_DEVICES = Gauge "vramguard_gpu_devices" ["gpu_class"]
        "Allocatable devices of the class in the cluster; replicas where devices are shared.";
    GPU_NODES = Gauge "vramguard_gpu_nodes" ["gpu_class"]
        "Nodes with devices of the class.";
    CACHE_AGE = Gauge "vramguard_cache_age_seconds" ["cache"]
        "Seconds since the cache was last in step with its source; 0 while it is.";
    CACHE_OBJECTS = Gauge "vramguard_cache_objects" ["cache"]
        "Objects held by the cache.";
    CACHE_BAD_OBJECTS = Counter "vramguard_cache_bad_objects_total" ["cache"]
        "Objects that a watch delivered and that could not be decoded; they are left out.";
    CONFIG_RELOADS = Counter "vramguard_config_reloads_total" ["result"]
        "Changes of the policy file that were seen; result is ok or error, an error keeps the old policy.";
    HUB_LOOKUPS = Counter "vramguard_hub_lookups_total" ["result"]
        "Models that were looked up on the Hub; result is ok or why there is none.";
    CERTIFICATE_EXPIRY = Gauge "vramguard_certificate_expiry_timestamp_seconds" []
        "When the serving certificate expires, Unix time.";
    BUILD_INFO = Gauge "vramguard_build_info" ["version"]
        "Always 1; the version is in the label.";
}

/// Upper bounds of the duration histogram's buckets, seconds: 0.1 ms to the 3 s of the default webhook timeout.
pub const DURATION_BUCKETS: &[f64] =
    &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0];

/// The page docs/metrics.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` on the metrics port in Prometheus text format. This page is generated from \
         `src/telemetry/families.rs`;\na test fails when they differ, `UPDATE=1 cargo test --lib telemetry` rewrites it.\n\n\
         | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for family in ALL {
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let Family { name, kind, help, .. } = family;
        page.extend(["| `", name, "` | ", kind.name(), " | ", &labels, " | ", help, " |\n"]);
    }
    page.push_str(
        "\nSeries of a workload exist while one of its pods does; `workload` is the name of the controller that owns \
         the pod.\nAt most 1000 workloads have series.\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, markdown()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            markdown(),
            "run with UPDATE=1 to rewrite {path}"
        );
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            assert!(family.name.starts_with("vramguard_"), "{}", family.name);
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
        }
    }
}
