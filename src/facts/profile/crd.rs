//! The custom resource definitions, made from the types that profiles are read into.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::spec::{ModelProfileSpec, ModelProfileStatus};
use super::{CLUSTER_KIND, CLUSTER_PLURAL, GROUP, KIND, PLURAL, VERSION};

/// Both definitions, namespaced first.
#[must_use]
pub fn definitions() -> [Value; 2] {
    [
        definition(KIND, PLURAL, "Namespaced", &["mprof"]),
        definition(CLUSTER_KIND, CLUSTER_PLURAL, "Cluster", &["cmprof"]),
    ]
}

fn definition(kind: &str, plural: &str, scope: &str, short: &[&str]) -> Value {
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({"name": name, "type": kind, "jsonPath": path, "description": description});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
                "shortNames": short,
            },
            "scope": scope,
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Parameters", "integer", ".status.parameters", "Parameters of the model"),
                    column("Architecture", "string", ".status.architecture", "The config's model_type"),
                    column("Problem", "string", ".status.problem", "Why the profile cannot be used"),
                    column("Age", "date", ".metadata.creationTimestamp", "Since when it exists"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "Facts of a model that vramguard's own catalogue does not have.",
                    "required": ["spec"],
                    "properties": {"spec": part::<ModelProfileSpec>(), "status": part::<ModelProfileStatus>()},
                }},
            }],
        },
    })
}

/// A structural schema: without references, without `null` as a type, without words that API servers do not know.
fn part<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    Structural.transform(&mut schema);
    schema.to_value()
}

struct Structural;

impl Transform for Structural {
    fn transform(&mut self, schema: &mut Schema) {
        for foreign in ["$schema", "title", "nullable", "additionalProperties"] {
            schema.remove(foreign);
        }
        if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            schema.insert("format".to_owned(), "int64".into());
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            // Line breaks of the source mean nothing to the reader.
            *text = text.replace('\n', " ");
        }
        transform_subschemas(self, schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a schema is not structural: every node needs a type, unless Kubernetes is told why not.
    fn unstructured(schema: &Value, place: &str, found: &mut Vec<String>) {
        let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
        let known = ["$ref", "oneOf", "nullable", "additionalProperties", "title"];
        if !typed || known.iter().any(|word| schema.get(*word).is_some()) {
            found.push(place.to_owned());
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            unstructured(inner, &format!("{place}.{name}"), found);
        }
        if schema["items"].is_object() {
            unstructured(&schema["items"], &format!("{place}[]"), found);
        }
    }

    #[test]
    fn schemas_are_structural_and_every_field_is_described() {
        for definition in definitions() {
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut found = Vec::new();
            unstructured(schema, "", &mut found);
            assert_eq!(found, Vec::<String>::new());
            for (name, field) in schema["properties"]["spec"]["properties"].as_object().unwrap() {
                assert!(field["description"].is_string(), "{name}");
            }
            assert_eq!(schema["properties"]["spec"]["x-kubernetes-validations"].as_array().unwrap().len(), 3);
            let config = &schema["properties"]["spec"]["properties"]["config"];
            assert_eq!(config["x-kubernetes-preserve-unknown-fields"], true);
        }
    }

    #[test]
    fn names_of_the_definitions_are_those_that_clients_use() {
        let [namespaced, cluster] = definitions();
        assert_eq!(namespaced["metadata"]["name"], "modelprofiles.vramguard.io");
        assert_eq!(cluster["metadata"]["name"], "clustermodelprofiles.vramguard.io");
        assert_eq!(
            (&namespaced["spec"]["scope"], &cluster["spec"]["scope"]),
            (&"Namespaced".into(), &"Cluster".into())
        );
    }
}
