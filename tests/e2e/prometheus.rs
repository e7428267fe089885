//! Dashboard and alert rules on a real Prometheus that scrapes the running webhook and the real API server.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::chart::{self, dashboard};
use crate::controlplane::{ControlPlane, Process, Programs, eventually, until};
use crate::gpu_nodes::{a10_node, l40s_node, t4_node};
use crate::llama::{A10, L40S, PRODUCT, T4, serving, vllm};
use crate::namespace::Namespace;
use crate::webhook::{Settings, Webhook};
use crate::workloads::deployment;
use crate::{http, https, reach, trial};

/// Scrapes come every second; a rate needs two.
const DATA_LIMIT: Duration = Duration::from_secs(40);

/// More than an A10 has, so that the panel of workloads which take more than estimated has something to show.
const USED_MIB: u64 = 23_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("prometheus::every_query_of_the_dashboard_returns_data", every_query_of_the_dashboard_returns_data)]
}

fn every_query_of_the_dashboard_returns_data(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1), a10_node("a10", 1), l40s_node("l40s", 1)])?;
    let settings = || -> Result<Settings> { Ok(Settings::default().registered_as(reach::from_chart()?)) };
    let webhook = settings()?.config("allowExemptions: true\n").start(plane)?;
    let team = webhook.namespace("seen")?;
    let audited = webhook.namespace_with("seen-audit", &json!({"vramguard.io/mode": "audit"}))?;
    let pods = team.runs_pods_of(&deployment("web", 1, &vllm("serve").on_nodes_with(PRODUCT, A10)), 1);
    let pod = pods[0]["metadata"]["name"].as_str().context("a pod without name")?;
    audited.runs(&serving("hopeless").on_nodes_with(PRODUCT, T4));

    let down = settings()?.start(plane)?;
    let unguarded = down.namespace("unguarded")?;
    down.process().kill();

    let exporter = exporter(dashboard::dcgm_exposition(team.name(), pod, "serve", USED_MIB))?;
    let prometheus = Prometheus::start(plane, &webhook, exporter)?;
    let mut empty: BTreeMap<String, String> =
        dashboard::queries()?.into_iter().map(|query| (query.title, query.expression)).collect();
    ensure!(empty.len() > 30, "{} queries", empty.len());
    eventually(DATA_LIMIT, || happens(&webhook, &team, &unguarded))?;
    let clock = std::time::Instant::now();
    while !empty.is_empty() && clock.elapsed() < DATA_LIMIT {
        happens(&webhook, &team, &unguarded)?;
        let mut left = BTreeMap::new();
        for (title, expression) in empty {
            if !prometheus.has_data(&expression)? {
                left.insert(title, expression);
            }
        }
        empty = left;
    }
    ensure!(empty.is_empty(), "no data for {empty:#?}\nthe webhook says\n{}", webhook.metrics()?);
    prometheus.rules_are_healthy()
}

/// One of everything that a panel counts.
fn happens(webhook: &Webhook<'_>, team: &Namespace<'_>, unguarded: &Namespace<'_>) -> Result<()> {
    let on = |product: &str| serving("serve").on_nodes_with(PRODUCT, product);
    for object in [on(T4), on(A10), on(L40S)] {
        team.ask(&object)?;
    }
    // Denials and warnings that are no rehearsal, and an exemption.
    ensure!(!team.apply(&on(T4), &[])?.ok(), "admitted");
    for (name, pod) in [
        ("tight", serving("tight").on_nodes_with(PRODUCT, A10)),
        ("excused", on(T4).annotation("vramguard.io/mode", "audit").annotation("vramguard.io/exempt-reason", "a test")),
    ] {
        ensure!(team.apply(&pod, &[])?.ok(), "{name} is refused");
    }
    team.kubectl(&["delete", "pod", "tight", "serve", "--ignore-not-found", "--force", "--grace-period=0"])?;
    ensure!(unguarded.ask(&serving("serve"))?.ok(), "refused by a webhook that is not there");
    let (status, _) =
        https::post(webhook.review_address(), webhook.authority(), "/validate", "application/json", b"{")?;
    ensure!(status == 400, "{status}");
    // A file that means the same, so that it counts as changed.
    webhook.reconfigure(&format!("allowExemptions: true\n# {:?}\n", std::time::Instant::now()))
}

/// A running Prometheus with the chart's alert rules.
struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(plane: &ControlPlane, webhook: &Webhook<'_>, exporter: SocketAddr) -> Result<Self> {
        let program = Programs::of(&["prometheus"])?.path("prometheus");
        let config = plane.directory().join("prometheus.json");
        let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(plane.admin().kubeconfig())?)?;
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().context("no server")?;
        let job = |name: &str, target: &str| json!({"job_name": name, "static_configs": [{"targets": [target]}]});
        let mut jobs = [
            job("vramguard", &webhook.metrics_address().to_string()),
            job("dcgm", &exporter.to_string()),
            job("apiserver", server.trim_start_matches("https://")),
        ];
        // As the ServiceMonitor has it.
        jobs[0]["honor_labels"] = true.into();
        jobs[2]["scheme"] = "https".into();
        jobs[2]["authorization"] = json!({"credentials": kubeconfig["users"][0]["user"]["token"]});
        jobs[2]["tls_config"] = json!({"ca_file": kubeconfig["clusters"][0]["cluster"]["certificate-authority"]});
        let text = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [chart::path("charts/vramguard/rules/vramguard.rules.yaml")],
            "scrape_configs": jobs,
        });
        std::fs::write(&config, text.to_string())?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let flags = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", plane.directory().join("prometheus-data").display()),
            format!("--web.listen-address={address}"),
        ];
        let process = Process::start("prometheus", &program, &flags, plane.directory())?;
        until("Prometheus", Duration::from_mins(1), || {
            process.must_be_alive()?;
            Ok(http::get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(Self { process, address })
    }

    /// Whether an instant query returns at least one sample that is a number.
    fn has_data(&self, expression: &str) -> Result<bool> {
        let answer = self.get(&format!("/api/v1/query?query={}", percent_encoded(expression)))?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let results = answer["data"]["result"].as_array().context("a query without result")?;
        Ok(results.iter().any(|each| each["value"][1].as_str().is_some_and(|value| value != "NaN")))
    }

    /// Every alert rule of the chart has been evaluated, and none failed.
    fn rules_are_healthy(&self) -> Result<()> {
        let answer = self.get("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array().context("no groups")?;
        let rules: Vec<&Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
        ensure!(rules.len() > 10, "{} rules", rules.len());
        for rule in rules {
            ensure!(rule["health"] == "ok", "{rule}");
            // What is installed is up and its certificate is good for a year.
            let quiet = ["VramguardDown", "VramguardCertificateExpiring", "VramguardCacheStale"];
            let silent = !quiet.iter().any(|name| rule["name"] == *name) || rule["state"] == "inactive";
            ensure!(silent, "{rule}");
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let (_, body) = http::get(self.address, path).with_context(|| self.process.tail())?;
        serde_json::from_str(&body).with_context(|| format!("not JSON: {body}"))
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// An exporter that says the same for ever, on a port of its own.
fn exporter(page: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let request = BufReader::new(&connection);
            // The head ends with an empty line; what it says does not matter.
            let _head = request.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let length = page.len();
            let _ = write!(
                &connection,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
            );
        }
    });
    Ok(address)
}
