//! Text to documents: one wrong document does not lose its neighbours.

use std::fmt;

use serde_json::Value;

use crate::spec::yaml::{self, YamlError};

/// One readable document of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    /// Number in the file, from 0.
    pub index: usize,
    /// Line of its first content, from 1.
    pub line: u64,
    /// Content.
    pub value: Value,
}

/// A document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// File as given.
    pub file: String,
    /// Line, from 1; 0 if none is to blame.
    pub line: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            // The message of a file that could not be read at all names it.
            _ if self.file.is_empty() => f.write_str(&self.message),
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// Every readable document of a text, and what is wrong with the others.
pub(super) fn read(file: &str, text: &str) -> (Vec<Document>, Vec<Problem>) {
    // `kubectl -o json` prints one large document, which the JSON reader takes in a fraction of the time.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return (vec![Document { index: 0, line: 1, value }], Vec::new());
    }
    match yaml::documents(text) {
        Ok(documents) => {
            let document =
                |found: yaml::Document| Document { index: found.index, line: found.line, value: found.value };
            (documents.into_iter().map(document).collect(), Vec::new())
        }
        Err(_) => one_by_one(file, text),
    }
}

/// Splits at document markers, which no scalar can contain at the start of a line.
fn one_by_one(file: &str, text: &str) -> (Vec<Document>, Vec<Problem>) {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    let mut index = 0;
    for (first_line, part) in parts(text) {
        match yaml::value(part) {
            Ok(Value::Null) => continue,
            Ok(value) => documents.push(Document { index, line: first_line + leading(part), value }),
            Err(error) => problems.push(problem(file, first_line, error)),
        }
        index += 1;
    }
    (documents, problems)
}

fn problem(file: &str, first_line: u64, error: YamlError) -> Problem {
    Problem { file: file.to_owned(), line: first_line + error.line.saturating_sub(1), message: error.message }
}

/// Lines before the first content: blank ones and comments.
fn leading(part: &str) -> u64 {
    let empty = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with("---");
    part.lines().take_while(empty).count() as u64
}

/// Pieces between markers with the number of their first line.
fn parts(text: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset, mut line_number) = (0, 1, 0, 1);
    for line in text.split_inclusive('\n') {
        let marker = line.starts_with("---")
            && line.get(3..).is_none_or(|rest| rest.trim_start().is_empty() || rest.starts_with([' ', '\t']));
        if marker && offset > start {
            parts.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line) = (offset, line_number);
        }
        offset += line.len();
        line_number += 1;
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_document_is_named_by_its_line_and_loses_no_other() {
        let text = "kind: A\n---\nkind: [\n---\n# comment\nkind: C\n";
        let (documents, problems) = read("x.yaml", text);
        let kinds: Vec<_> = documents.iter().map(|d| (d.index, d.line, d.value["kind"].as_str().unwrap())).collect();
        assert_eq!(kinds, [(0, 1, "A"), (2, 6, "C")]);
        assert_eq!(problems.len(), 1);
        assert!((3..=4).contains(&problems[0].line), "{}", problems[0]);
        assert!(problems[0].to_string().starts_with("x.yaml:"));
    }

    #[test]
    fn json_and_yaml_are_read_alike() {
        assert_eq!(read("a", "{\"kind\": \"Pod\"}").0[0].value, read("a", "kind: Pod").0[0].value);
        assert_eq!(read("a", ""), (Vec::new(), Vec::new()));
    }
}
