//! Prometheus' text format, as far as a test asks for it.

use std::collections::BTreeMap;

/// One line: a series and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Name of the series.
    pub(crate) name: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Value.
    pub(crate) value: f64,
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|found| found == value))
    }
}

/// All series of an exposition whose label values hold no escapes, which is so of all that tests look for.
pub(crate) fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// All series with this name and at least these labels.
pub(crate) fn select(text: &str, name: &str, labels: &[(&str, &str)]) -> Vec<Sample> {
    parse(text).into_iter().filter(|sample| sample.name == name && sample.has(labels)).collect()
}

/// The sum over all series with this name and at least these labels.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    select(text, name, labels).iter().map(|sample| sample.value).sum()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let pairs = rest.strip_suffix('}')?.split("\",").filter_map(|pair| pair.split_once("=\""));
    let labels = pairs.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned())).collect();
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}
