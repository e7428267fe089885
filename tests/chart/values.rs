//! What the chart refuses, in which words, and what it makes of values.

use serde_json::Value;

use crate::chart::{self, Release};

/// A complete release with one value changed.
fn with(assignment: &str) -> Release {
    Release::of(chart::path("charts/vramguard/ci/secret-values.yaml")).set(assignment)
}

#[test]
fn bad_values_are_refused_with_the_place_and_what_is_allowed() {
    let cases: &[(&str, &[&str])] = &[
        ("webhooks.timeoutSeconds=60", &["/webhooks/timeoutSeconds", "60", "30"]),
        ("webhooks.timeoutSeconds=0", &["/webhooks/timeoutSeconds", "0", "1"]),
        ("webhooks.failurePolicy=Open", &["/webhooks/failurePolicy", "'Ignore', 'Fail'"]),
        ("webhooks.url=http://guard.example", &["/webhooks/url", "https://"]),
        ("webhooks.matching.resourceClaims=true", &["/webhooks", "'matching' not allowed"]),
        ("webhooks.match.resourcePrefixes[0]=it's", &["/webhooks/match/resourcePrefixes/0", "does not match pattern"]),
        ("policy.mode=strict", &["/policy/mode", "'off', 'audit', 'warn', 'enforce'"]),
        // YAML reads a bare `off` as false.
        ("policy.mode=false", &["/policy/mode", "'off', 'audit', 'warn', 'enforce'"]),
        ("policy.namespaces.team=maybe", &["/policy/namespaces/team", "'off', 'audit', 'warn', 'enforce'"]),
        ("policy.unknown=ignore", &["/policy/unknown", "'warn', 'deny'"]),
        ("policy.requireWanted=maybe", &["/policy/requireWanted", "string", "boolean"]),
        ("tls.source=lookup", &["/tls/source", "'secret', 'certManager'"]),
        ("tls.caBundle=-----BEGIN CERTIFICATE-----", &["/tls/caBundle", "A-Za-z0-9+/"]),
        ("tls.certManager.issuerRef.kind=ClusterIssuer", &["/tls/certManager/issuerRef", "'name'"]),
        ("replicas=0", &["/replicas", "0", "1"]),
        ("replicas=two", &["/replicas", "string", "integer"]),
        ("server.port=70000", &["/server/port", "70,000", "65,535"]),
        ("terminationGracePeriodSeconds=1", &["/terminationGracePeriodSeconds", "10"]),
        ("server.drainSeconds=60", &["terminationGracePeriodSeconds must be at least server.drainSeconds + 10"]),
        ("server.logFormat=xml", &["/server/logFormat", "'json', 'text'"]),
        ("podDisruptionBudget.maxUnavailable=0", &["/podDisruptionBudget/maxUnavailable", "0"]),
        ("image.digest=latest", &["/image/digest", "sha256"]),
        ("serviceMonitor.interval=soon", &["/serviceMonitor/interval", "soon"]),
        ("replicaCount=3", &["'replicaCount' not allowed"]),
    ];
    for (assignment, words) in cases {
        let error = with(assignment).text().expect_err(assignment).to_string();
        for word in *words {
            assert!(error.contains(word), "{assignment}: no {word:?} in: {error}");
        }
    }
}

#[test]
fn without_a_ca_the_message_names_both_ways_out() {
    let error = Release::bare().text().expect_err("a webhook that nobody can trust").to_string();
    assert!(error.contains("set it to the base64 of your CA's PEM certificate"), "{error}");
    assert!(error.contains("tls.source to certManager"), "{error}");
}

#[test]
fn the_default_policy_is_one_that_the_server_reads() {
    for file in chart::values_files().unwrap() {
        let objects = Release::of(&file).objects().unwrap();
        let config = objects.iter().find(|object| object["data"]["policy.yaml"].is_string()).expect("a policy");
        let text = config["data"]["policy.yaml"].as_str().unwrap();
        let policy: vramguard::decide::Policy = serde_saphyr::from_str(text).unwrap();
        let everything = file.ends_with("everything-values.yaml");
        let mode = if everything { vramguard::decide::Mode::Enforce } else { vramguard::decide::Mode::Warn };
        assert_eq!(policy.mode, mode, "{}", file.display());
        assert_eq!(policy.namespaces.len(), if everything { 2 } else { 0 });
    }
}

#[test]
fn the_image_is_named_by_digest_tag_or_version() {
    let image = |assignments: &[&str]| {
        let release = assignments.iter().fold(with("replicas=2"), |release, assignment| release.set(assignment));
        let objects = release.objects().unwrap();
        let deployment = objects.into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    assert_eq!(image(&[]), format!("vramguard:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(image(&["image.registry=r.example/x", "image.tag=1.2.3"]), "r.example/x/vramguard:1.2.3");
    assert_eq!(image(&["image.tag=1.2.3", &format!("image.digest={digest}")]), format!("vramguard@{digest}"));
}

#[test]
fn helm_lint_is_content() {
    for file in chart::values_files().unwrap() {
        Release::of(&file).lint().unwrap();
    }
}

#[test]
fn notes_say_what_was_installed_and_warn_of_what_is_risky() {
    let usual = with("replicas=2").notes().unwrap();
    assert!(
        usual.contains("Mode of namespaces that say nothing: warn (nobody is refused; users see warnings)"),
        "{usual}"
    );
    assert!(usual.contains("Secret vramguard-tls (keys tls.crt and tls.key)"), "{usual}");
    assert!(!usual.contains("WARNING"), "{usual}");
    let risky = with("replicas=1").set("webhooks.failurePolicy=Fail").notes().unwrap();
    assert_eq!(risky.matches("WARNING").count(), 2, "{risky}");
}

/// The other way round is the schema's own job: it refuses keys that it does not know.
#[test]
fn every_value_that_the_schema_knows_has_a_default_to_read() {
    let file = |name: &str| std::fs::read_to_string(chart::path("charts/vramguard").join(name)).unwrap();
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&file("values.yaml")).unwrap();
    let mut open = vec![(String::new(), &schema, &values)];
    let mut seen = 0;
    while let Some((path, schema, value)) = open.pop() {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            // helm's own, an object that is empty by default, and a Kubernetes type.
            if [".global", ".resources.claims"].contains(&path.as_str())
                || path.starts_with(".tls.certManager.issuerRef.")
            {
                continue;
            }
            assert!(value.get(key).is_some(), "values.yaml does not show {path}");
            seen += 1;
            open.push((path, property, &value[key]));
        }
    }
    assert!(seen > 60, "only {seen} values were compared");
}
