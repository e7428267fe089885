//! Node selectors as the scheduler evaluates them (`component-helpers/scheduling/corev1/nodeaffinity`).

use std::fmt;

use serde::Deserialize;

use super::pod::or_default;

/// Terms of which one must match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// Alternatives; without any, nothing matches.
    #[serde(deserialize_with = "or_default")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Requirements that must all hold; a term without any matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    #[serde(deserialize_with = "or_default")]
    pub match_expressions: Vec<Requirement>,
    /// On fields: only `metadata.name` exists.
    #[serde(deserialize_with = "or_default")]
    pub match_fields: Vec<Requirement>,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// Label key or field path.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
    #[serde(deserialize_with = "or_default")]
    pub operator: String,
    /// Operands.
    #[serde(deserialize_with = "or_default")]
    pub values: Vec<String>,
}

impl NodeSelectorTerm {
    /// Whether a node with these labels and this name satisfies the term.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>, name: &str) -> bool {
        if self.match_expressions.is_empty() && self.match_fields.is_empty() {
            return false;
        }
        self.match_expressions.iter().all(|requirement| requirement.matches(label(&requirement.key)))
            && self.match_fields.iter().all(|requirement| requirement.matches_name(name))
    }
}

impl Requirement {
    /// Whether the value of the label (`None` when the node lacks it) satisfies the requirement. A requirement that
    /// the API server would refuse matches nothing.
    #[must_use]
    pub fn matches(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator.as_str() {
            "In" => !self.values.is_empty() && label.is_some_and(listed),
            "NotIn" => !self.values.is_empty() && !label.is_some_and(listed),
            "Exists" => self.values.is_empty() && label.is_some(),
            "DoesNotExist" => self.values.is_empty() && label.is_none(),
            "Gt" => self.compare(label).is_some_and(|(have, bound)| have > bound),
            "Lt" => self.compare(label).is_some_and(|(have, bound)| have < bound),
            _ => false,
        }
    }

    /// The label and the single operand as integers.
    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        let [bound] = self.values.as_slice() else { return None };
        Some((label?.parse().ok()?, bound.parse().ok()?))
    }

    fn matches_name(&self, name: &str) -> bool {
        let [value] = self.values.as_slice() else { return false };
        self.key == "metadata.name"
            && match self.operator.as_str() {
                "In" => value == name,
                "NotIn" => value != name,
                _ => false,
            }
    }
}

/// `nvidia.com/gpu.memory Gt 40000`, for messages.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.operator)?;
        match self.values.as_slice() {
            [] => Ok(()),
            [value] => write!(f, " {value}"),
            values => write!(f, " [{}]", values.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> Requirement {
        Requirement {
            key: "k".into(),
            operator: operator.into(),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn operators_behave_as_the_scheduler() {
        let cases: &[(&str, &[&str], Option<&str>, bool)] = &[
            ("In", &["a", "b"], Some("b"), true),
            ("In", &["a"], Some("b"), false),
            ("In", &["a"], None, false),
            ("In", &[], Some("a"), false),
            ("NotIn", &["a"], Some("b"), true),
            ("NotIn", &["a"], None, true),
            ("NotIn", &["a"], Some("a"), false),
            ("Exists", &[], Some(""), true),
            ("Exists", &[], None, false),
            ("DoesNotExist", &[], None, true),
            ("DoesNotExist", &[], Some("a"), false),
            ("Gt", &["40000"], Some("81559"), true),
            ("Gt", &["81559"], Some("81559"), false),
            ("Gt", &["1"], Some("many"), false),
            ("Gt", &["1"], None, false),
            ("Lt", &["8"], Some("4"), true),
            ("Lt", &["8", "9"], Some("4"), false),
            ("Like", &["a"], Some("a"), false),
        ];
        for (operator, values, label, expected) in cases {
            assert_eq!(requirement(operator, values).matches(*label), *expected, "{label:?} {operator} {values:?}");
        }
    }

    #[test]
    fn an_empty_term_matches_nothing_and_fields_know_only_the_name() {
        assert!(!NodeSelectorTerm::default().matches(|_| Some("v"), "n"));
        let by_name = |operator: &str, key: &str| NodeSelectorTerm {
            match_fields: vec![Requirement { key: key.into(), ..requirement(operator, &["n1"]) }],
            ..NodeSelectorTerm::default()
        };
        assert!(by_name("In", "metadata.name").matches(|_| None, "n1"));
        assert!(!by_name("In", "metadata.name").matches(|_| None, "n2"));
        assert!(by_name("NotIn", "metadata.name").matches(|_| None, "n2"));
        assert!(!by_name("In", "metadata.uid").matches(|_| None, "n1"));
    }
}
