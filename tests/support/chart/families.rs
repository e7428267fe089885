//! The metric families that dashboard and rules may query, with their labels.

/// A family name and its labels.
pub(crate) type Family = (&'static str, &'static [&'static str]);

const WORKLOAD: &[&str] = &["namespace", "workload", "container", "bound"];

/// Families of the webhook itself.
pub(crate) const OWN: &[Family] = &[
    ("vramguard_admission_decisions_total", &["endpoint", "verdict", "decision", "mode", "operation", "dry_run"]),
    ("vramguard_admission_duration_seconds_bucket", &["endpoint", "le"]),
    ("vramguard_admission_duration_seconds_sum", &["endpoint"]),
    ("vramguard_admission_duration_seconds_count", &["endpoint"]),
    ("vramguard_admission_errors_total", &["reason"]),
    ("vramguard_exemptions_total", &["namespace"]),
    ("vramguard_workload_required_bytes", WORKLOAD),
    ("vramguard_workload_wanted_bytes", WORKLOAD),
    ("vramguard_workload_reserved_bytes", WORKLOAD),
    ("vramguard_workload_headroom_bytes", &["namespace", "workload", "container"]),
    ("vramguard_workload_series_dropped_total", &[]),
    ("vramguard_gpu_capacity_bytes", &["gpu_class"]),
    ("vramguard_gpu_devices", &["gpu_class"]),
    ("vramguard_gpu_nodes", &["gpu_class"]),
    ("vramguard_cache_age_seconds", &["cache"]),
    ("vramguard_cache_objects", &["cache"]),
    ("vramguard_cache_bad_objects_total", &["cache"]),
    ("vramguard_config_reloads_total", &["result"]),
    ("vramguard_certificate_expiry_timestamp_seconds", &[]),
    ("vramguard_build_info", &["version"]),
];

/// Families of others: the API server's (k8s.io/apiserver, admission metrics) and DCGM exporter's.
pub(crate) const FOREIGN: &[Family] = &[
    ("apiserver_admission_webhook_admission_duration_seconds_bucket", &["name", "type", "operation", "rejected", "le"]),
    ("apiserver_admission_webhook_request_total", &["name", "type", "operation", "code", "rejected"]),
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    (
        "DCGM_FI_DEV_FB_USED",
        &["namespace", "pod", "container", "workload", "exported_namespace", "exported_pod", "exported_container"],
    ),
];
