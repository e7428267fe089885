//! JUnit XML, which CI systems show as a list of passed and failed tests.

use std::fmt::Write as _;

use crate::decide::Decision;
use crate::decide::report::{CheckResult, Report};

/// One suite, one case a workload: denied ones have failed, what was said of the others is their output.
pub(in crate::cli) fn document(result: &CheckResult) -> String {
    let failed = result.results.iter().filter(|report| report.decision == Decision::Deny).count();
    let (tests, errors) = (result.results.len() + result.errors.len(), result.errors.len());
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<testsuites>\n  <testsuite name=\"vramguard\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\" skipped=\"0\">"
    );
    for report in &result.results {
        case(&mut out, report);
    }
    for error in &result.errors {
        let place = error.line.map_or_else(|| error.file.clone(), |line| format!("{}:{line}", error.file));
        let (place, message) = (escaped(&place), escaped(&error.message));
        let _ = writeln!(
            out,
            "    <testcase classname=\"{place}\" name=\"readable\">\n      <error message=\"{message}\"/>\n    </testcase>"
        );
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn case(out: &mut String, report: &Report) {
    let source = &report.source;
    let file = escaped(source.file.as_deref().unwrap_or_default());
    let name = escaped(&format!("{}/{} {}", source.kind, source.name, source.container));
    let (code, message) = (report.verdict.code(), escaped(&report.message));
    let line = source.line.map_or_else(String::new, |line| format!(" line=\"{line}\""));
    let _ = writeln!(out, "    <testcase classname=\"{file}\" file=\"{file}\"{line} name=\"{name}\">");
    let _ = match report.decision {
        Decision::Deny => writeln!(out, "      <failure type=\"{code}\" message=\"{message}\"/>"),
        _ => writeln!(out, "      <system-out>{code}: {message}</system-out>"),
    };
    out.push_str("    </testcase>\n");
}

/// Text as an XML attribute or content; characters that XML cannot hold become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_the_document() {
        assert_eq!(escaped("<a href=\"x\">&\u{1}\n</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;? &lt;/a&gt;");
    }
}
