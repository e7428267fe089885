//! The queries of the Grafana dashboard, ready for a Prometheus.

use anyhow::{Context, Result};
use serde_json::Value;

/// Where the series of a query come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The webhook's own `/metrics`.
    Webhook,
    /// The API server's `/metrics`.
    ApiServer,
    /// DCGM exporter (and the webhook, to compare with); see [`dcgm_exposition`].
    Dcgm,
}

/// One query of one panel.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The panel's title and the query's letter, for messages.
    pub(crate) title: String,
    /// PromQL, with Grafana's variables replaced.
    pub(crate) expression: String,
    /// What must be scraped.
    pub(crate) source: Source,
}

/// What stands for Grafana's variables: everything chosen, ranges of a minute, as a test has no hour.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "1m"), ("$__range", "1m"), ("$namespace", ".*"), ("$workload", ".*"), ("$gpu_class", ".*")];

/// The dashboard's JSON.
pub(crate) fn json() -> Result<Value> {
    let text = std::fs::read_to_string(super::path("charts/vramguard/dashboards/vramguard.json"))?;
    serde_json::from_str(&text).context("charts/vramguard/dashboards/vramguard.json")
}

/// All panels, rows included, and those folded into rows.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = dashboard["panels"].as_array().into_iter().flatten();
    outer.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten())).collect()
}

/// All queries.
pub(crate) fn queries() -> Result<Vec<Query>> {
    let dashboard = json()?;
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = format!("{} ({})", text(panel, "title")?, text(target, "refId")?);
            let expression = plain(text(target, "expr")?);
            queries.push(Query { source: source(&expression), title, expression });
        }
    }
    Ok(queries)
}

/// Metrics text as DCGM exporter gives it, scraped through a ServiceMonitor: a pod that uses so much of one GPU, and an
/// idle GPU.
pub(crate) fn dcgm_exposition(namespace: &str, pod: &str, container: &str, used_mib: u64) -> String {
    let device = r#"UUID="GPU-0",device="nvidia0",modelName="NVIDIA A10""#;
    format!(
        "# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).\n\
         # TYPE DCGM_FI_DEV_FB_USED gauge\n\
         DCGM_FI_DEV_FB_USED{{gpu=\"0\",{device},exported_namespace=\"{namespace}\",exported_pod=\"{pod}\",\
         exported_container=\"{container}\"}} {used_mib}\n\
         DCGM_FI_DEV_FB_USED{{gpu=\"1\",{device}}} 0\n"
    )
}

fn plain(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

fn source(expression: &str) -> Source {
    if expression.contains("DCGM_") {
        Source::Dcgm
    } else if expression.contains("apiserver_") {
        Source::ApiServer
    } else {
        Source::Webhook
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no {key} in {value}"))
}
