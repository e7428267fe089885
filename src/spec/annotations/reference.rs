//! The annotation reference as Markdown.

use std::fmt::Write as _;

use super::{PREFIX, to_kebab};
use crate::spec::fields::{FIELDS, Field};

/// What comes before the table.
const INTRODUCTION: &str = "\
# Annotations

Generated from the table of fields; `UPDATE=1 cargo test --test cli` rewrites it.

All are optional: what is found in arguments, environment, image and the model's config is read without them. They stand
on the pod, or on the pod template of a controller, with the prefix `vramguard.io/`. The same fields may be given
together as one block of YAML or JSON, `vramguard.io/spec`, by the names of the first column. An annotation beats an
argument, which beats a variable; one that contradicts the arguments about a fact is a conflict.

| field | annotations | value | meaning | example |
|---|---|---|---|---|
";

/// Words of a value that are listed; the others are counted.
const MOST_WORDS: usize = 14;

/// The page, one row a field.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for field in FIELDS {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{}", row(field));
    }
    page
}

fn row(field: &Field) -> String {
    let (meaning, example) = field.meaning().unwrap_or_default();
    let short = field.flat.iter().map(|name| (*name).to_owned());
    let names: Vec<String> = short.chain([to_kebab(field.path)]).map(|name| format!("`{PREFIX}{name}`")).collect();
    let value = field.allowed(MOST_WORDS);
    let escaped = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | {} | {} | `{}` |",
        field.path,
        names.join(", "),
        escaped(&value),
        escaped(meaning),
        escaped(example)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::spec::draft::Draft;

    #[test]
    fn every_field_has_a_meaning_and_an_example_that_is_allowed() {
        for field in FIELDS {
            let (meaning, example) =
                field.meaning().unwrap_or_else(|| panic!("{} has no row in src/spec/fields/meanings.rs", field.path));
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{}: {meaning}", field.path);
            let value = match serde_json::from_str(example) {
                Ok(object @ Value::Object(_)) => object,
                _ => Value::from(example),
            };
            assert_eq!(field.set(&mut Draft::default(), &value), Ok(()), "{}: {example}", field.path);
        }
    }

    #[test]
    fn the_page_names_ranges_and_short_forms() {
        let page = markdown();
        assert!(page.contains("`vramguard.io/tensor-parallel`, `vramguard.io/parallelism-tensor`"));
        assert!(page.contains("whole number, 1 to 65536") && page.contains("above 0, at most 1"));
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), FIELDS.len());
    }
}
