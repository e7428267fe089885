//! What every rendered object must have, whatever the values.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart::{self, NAMESPACE, Release, title};

/// Every kind of installation, with its name.
fn installations() -> Vec<(String, Vec<Value>)> {
    let files = chart::values_files().unwrap();
    assert!(files.len() >= 5, "the values files are gone");
    let name = |file: &std::path::Path| file.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), Release::of(file).with_tests().objects().unwrap())).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The pod specs of an object.
fn pod_spec(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "Pod" => Some(&object["spec"]),
        "Deployment" => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    }
}

#[test]
fn no_secret_is_ever_rendered() {
    for (name, objects) in installations() {
        assert!(of_kind(&objects, "Secret").is_empty(), "{name}: a Secret in a chart ends in a repository");
    }
    // These would make a new one at every rendering, so that GitOps tools never come to rest.
    for file in std::fs::read_dir(chart::path("charts/vramguard/templates")).unwrap() {
        let path = file.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for function in
            ["genCA", "genSigned", "genSelfSigned", "genPrivateKey", "lookup ", "randAlpha", "now ", "uuidv4"]
        {
            assert!(!text.contains(function), "{} uses {function}", path.display());
        }
    }
}

#[test]
fn objects_are_unique_labelled_and_in_the_release_namespace() {
    const CLUSTER_WIDE: [&str; 6] = [
        "Namespace",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ];
    for (name, objects) in installations() {
        let mut seen = BTreeSet::new();
        for object in &objects {
            let title = title(object);
            let cluster_wide = CLUSTER_WIDE.contains(&object["kind"].as_str().unwrap());
            let namespace = if cluster_wide { Value::Null } else { NAMESPACE.into() };
            assert_eq!(object["metadata"]["namespace"], namespace, "{name}: {title}");
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "vramguard", "{name}: {title}");
            assert!(seen.insert((object["apiVersion"].to_string(), title.clone())), "{name}: two {title}");
        }
    }
}

#[test]
fn pods_meet_the_restricted_profile() {
    for (name, objects) in installations() {
        let pods: Vec<_> = objects.iter().filter_map(|object| Some((title(object), pod_spec(object)?))).collect();
        assert_eq!(pods.len(), 2, "{name}: the server and the test");
        for (title, pod) in pods {
            let context = &pod["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{name}: {title}");
            assert_eq!(context["runAsUser"], 65532, "{name}: {title}");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}: {title}");
            assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null(), "{name}: {title}");
            for container in pod["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}: {title}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name}: {title}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}: {title}");
                assert!(context["privileged"].is_null(), "{name}: {title}");
                assert!(container["resources"]["requests"]["memory"].is_string(), "{name}: {title}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}: {title}");
            }
            let volumes = pod["volumes"].as_array().unwrap();
            assert!(volumes.iter().all(|volume| volume["hostPath"].is_null()), "{name}: {title}");
        }
    }
}

#[test]
fn the_server_is_probed_spread_and_drained() {
    for (name, objects) in installations() {
        let deployment = of_kind(&objects, "Deployment")[0];
        let pod = pod_spec(deployment).unwrap();
        let container = &pod["containers"][0];
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": "metrics"}), "{name}");
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "metrics"}), "{name}");
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 30, "{name}");
        assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0, "{name}");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let mut selectors = vec![&deployment["spec"]["selector"]["matchLabels"]];
        selectors.extend(of_kind(&objects, "Service").iter().map(|service| &service["spec"]["selector"]));
        for kind in ["PodDisruptionBudget", "ServiceMonitor"] {
            selectors.extend(of_kind(&objects, kind).iter().map(|object| &object["spec"]["selector"]["matchLabels"]));
        }
        selectors.extend(
            of_kind(&objects, "NetworkPolicy").iter().map(|policy| &policy["spec"]["podSelector"]["matchLabels"]),
        );
        for selector in selectors {
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(&labels[key], value, "{name}: a selector that does not find the pods");
            }
        }
        // The pod of `helm test` must not be served as if it were the webhook.
        let test = of_kind(&objects, "Pod")[0];
        assert_ne!(test["metadata"]["labels"]["app.kubernetes.io/component"], labels["app.kubernetes.io/component"]);
    }
}

#[test]
fn rights_are_to_read_and_to_say_what_became_of_a_profile() {
    for (name, objects) in installations() {
        let roles = of_kind(&objects, "ClusterRole");
        if roles.is_empty() {
            // rbac.create is off: somebody else grants them.
            continue;
        }
        let servers = roles
            .iter()
            .find(|role| role["metadata"]["labels"].as_object().unwrap().keys().all(|key| !key.contains("aggregate")));
        let read = ["get", "list", "watch"];
        let deployment = of_kind(&objects, "Deployment")[0].to_string();
        let mut expected =
            vec![json!({"apiGroups": [""], "resources": ["nodes", "namespaces", "pods"], "verbs": read})];
        let config_maps = deployment.contains("--read-config-maps");
        assert_eq!(config_maps, name == "everything-values", "{name}: only where the values say so");
        expected.extend([
            json!({"apiGroups": ["vramguard.io"], "resources": ["modelprofiles", "clustermodelprofiles"], "verbs": read}),
            json!({"apiGroups": ["vramguard.io"], "resources": ["modelprofiles/status", "clustermodelprofiles/status"], "verbs": ["patch"]}),
        ]);
        if config_maps {
            expected.push(json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": read}));
        }
        let claims = ["resourceslices", "deviceclasses", "resourceclaims", "resourceclaimtemplates"];
        expected.extend([
            json!({"apiGroups": ["resource.k8s.io"], "resources": claims, "verbs": read}),
            json!({"apiGroups": ["karpenter.sh"], "resources": ["nodepools"], "verbs": read}),
        ]);
        let expected = json!(expected);
        assert_eq!(servers.unwrap()["rules"], expected, "{name}");
        // Users' roles are about profiles and nothing else.
        for role in roles.iter().filter(|role| role["rules"] != expected) {
            for rule in role["rules"].as_array().unwrap() {
                assert_eq!(rule["apiGroups"], json!(["vramguard.io"]), "{name}");
            }
        }
        assert!(of_kind(&objects, "Role").is_empty(), "{name}");
    }
}

#[test]
fn definitions_stay_when_the_release_goes() {
    for (name, objects) in installations() {
        let definitions = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(definitions.len(), 2, "{name}");
        for definition in definitions {
            assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
        }
    }
    let without = Release::of(chart::path("manifests/values.yaml")).set("crds.install=false").objects().unwrap();
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
    assert_eq!(of_kind(&without, "ClusterRole").len(), 1, "nobody needs rights to what is not there");
}

#[test]
fn webhooks_fail_open_and_stay_out_of_the_way_by_default() {
    for (name, objects) in installations().into_iter().filter(|(name, _)| name != "everything-values") {
        for configuration in objects.iter().filter(|object| title(object).contains("WebhookConfiguration")) {
            for webhook in configuration["webhooks"].as_array().unwrap() {
                let title = format!("{name}: {}", webhook["name"]);
                assert_eq!(webhook["failurePolicy"], "Ignore", "{title}");
                assert_eq!(webhook["timeoutSeconds"], 3, "{title}");
                assert_eq!(webhook["sideEffects"], "None", "{title}");
                assert_eq!(webhook["matchPolicy"], "Equivalent", "{title}");
                let excluded = &webhook["namespaceSelector"]["matchExpressions"][0]["values"];
                assert_eq!(excluded, &json!(["kube-system", "kube-node-lease", "kube-public", NAMESPACE]), "{title}");
                assert!(webhook["matchConditions"].as_array().unwrap().len() >= 4, "{title}");
                if configuration["kind"] == "MutatingWebhookConfiguration" {
                    assert_eq!(webhook["rules"][0]["resources"], json!(["pods"]), "{title}");
                    assert_eq!(webhook["rules"].as_array().unwrap().len(), 1, "{title}: GitOps tools would see drift");
                    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded", "{title}");
                }
            }
        }
    }
}

#[test]
fn the_certificate_is_for_the_name_that_the_api_server_calls() {
    for (name, objects) in installations() {
        let deployment = of_kind(&objects, "Deployment")[0];
        let mounted = &pod_spec(deployment).unwrap()["volumes"][0]["secret"]["secretName"];
        let serving =
            of_kind(&objects, "Certificate").into_iter().find(|certificate| certificate["spec"]["isCA"] != true);
        assert_eq!(serving.is_some(), name.starts_with("cert-manager") || name.starts_with("issuer"), "{name}");
        let Some(serving) = serving else { continue };
        assert_eq!(&serving["spec"]["secretName"], mounted, "{name}");
        for configuration in objects.iter().filter(|object| title(object).contains("WebhookConfiguration")) {
            let from = format!("{NAMESPACE}/{}", serving["metadata"]["name"].as_str().unwrap());
            assert_eq!(configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], from, "{name}");
            for webhook in configuration["webhooks"].as_array().unwrap() {
                let service = &webhook["clientConfig"]["service"];
                let host = format!("{}.{NAMESPACE}.svc", service["name"].as_str().unwrap());
                assert!(serving["spec"]["dnsNames"].as_array().unwrap().contains(&host.into()), "{name}");
                assert!(webhook["clientConfig"]["caBundle"].is_null(), "{name}: injected, so not rendered");
            }
        }
    }
}

#[test]
fn the_webhook_asks_about_every_kind_that_is_read() {
    let configurations = Release::bare().set("tls.caBundle=Q0FfQlVORExF").webhook_configurations().unwrap();
    let validating = configurations.iter().find(|object| object["kind"] == "ValidatingWebhookConfiguration").unwrap();
    let rules: Vec<&Value> = validating["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|webhook| webhook["rules"].as_array().unwrap())
        .collect();
    // Made by others on the list, or templates of objects that are judged when they are made.
    let left_out = ["PodTemplate", "ReplicationController", "ClusterWorkflowTemplate", "Configuration", "Revision"];
    for row in vramguard::spec::kinds::KINDS.iter().filter(|row| !row.parts.is_empty() && !left_out.contains(&row.kind))
    {
        let plural = format!("{}s", row.kind.to_lowercase());
        let asked = rules.iter().any(|rule| {
            rule["apiGroups"].as_array().unwrap().contains(&row.group.into())
                && rule["resources"].as_array().unwrap().contains(&plural.as_str().into())
        });
        assert!(asked, "{} {}", row.group, row.kind);
    }
}
