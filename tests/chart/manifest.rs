//! What is kept in the repository and made from something else.

use crate::chart::{self, Release};

#[test]
fn install_yaml_is_what_the_chart_renders() {
    let rendered = Release::of(chart::path("manifests/values.yaml")).text().unwrap();
    let expected = format!(
        "# Made from charts/vramguard with manifests/values.yaml; do not edit. docs/operations.md says how to install it.\n{rendered}"
    );
    let path = chart::path("manifests/install.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(expected.lines()).position(|(kept, rendered)| kept != rendered);
    assert!(kept == expected, "manifests/install.yaml differs from the chart (line {line:?}); UPDATE=1 rewrites it");
}

#[test]
fn the_placeholder_of_the_ca_stands_where_the_documentation_replaces_it() {
    let kept = std::fs::read_to_string(chart::path("manifests/install.yaml")).unwrap();
    let documentation = std::fs::read_to_string(chart::path("docs/operations.md")).unwrap();
    let configurations = Release::of(chart::path("manifests/values.yaml")).webhook_configurations().unwrap();
    let webhooks: usize = configurations.iter().map(|object| object["webhooks"].as_array().unwrap().len()).sum();
    assert_eq!(kept.matches("caBundle: Q0FfQlVORExF").count(), webhooks);
    assert!(documentation.contains("s|Q0FfQlVORExF|"), "docs/operations.md does not replace the placeholder");
    let image = format!("\"vramguard:{}\"", env!("CARGO_PKG_VERSION"));
    assert!(documentation.contains(&format!("s|{image}|")), "docs/operations.md does not replace the image");
    assert_eq!(kept.matches(&format!("image: {image}")).count(), 1);
}

#[test]
fn the_chart_has_the_version_of_the_crate() {
    let text = std::fs::read_to_string(chart::path("charts/vramguard/Chart.yaml")).unwrap();
    let chart: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = chart["annotations"]["artifacthub.io/images"].as_str().unwrap();
    assert!(images.contains(&format!("vramguard:{}", env!("CARGO_PKG_VERSION"))), "{images}");
}

#[test]
fn the_documentation_names_every_alert() {
    let rules = std::fs::read_to_string(chart::path("charts/vramguard/rules/vramguard.rules.yaml")).unwrap();
    let documentation = std::fs::read_to_string(chart::path("docs/operations.md")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(
            documentation.contains(&format!("`{alert}`")),
            "docs/operations.md does not say what to do about {alert}"
        );
    }
}
