//! Texts within Kubernetes' limits.

/// Longest warning that is not cut on its way to the client, bytes.
pub(super) const WARNING: usize = 256;
/// Longest sum of all warnings before the API server drops some, bytes.
pub(super) const ALL_WARNINGS: usize = 4096;
/// Longest message of a denial, bytes. Events of the newer API hold 1024, of which the controller's own words (names of
/// webhook and pod) take some. First things come first, so a cut loses the least.
pub(super) const MESSAGE: usize = 900;

/// Appended to what was cut.
const CUT: &str = "…";

/// Warnings as single lines, each and all within the limits; what does not fit is counted in the last line.
pub(super) fn warnings(lines: &[String]) -> Vec<String> {
    /// Room for the line that counts.
    const REST: usize = 64;
    let mut out = Vec::new();
    let mut used = 0;
    for (position, line) in lines.iter().enumerate() {
        let line = cut(&one_line(line), WARNING);
        let last = position + 1 == lines.len();
        let limit = if last { ALL_WARNINGS } else { ALL_WARNINGS - REST };
        if used + line.len() > limit {
            out.push(format!("{} more warnings; see the audit log", lines.len() - position));
            break;
        }
        used += line.len();
        out.push(line);
    }
    out
}

/// A single line that says the most important first.
pub(super) fn deny_message(text: &str) -> String {
    cut(&one_line(text), MESSAGE)
}

/// Line breaks and other control characters become spaces, runs of them one.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out
}

/// At most `limit` bytes, cut on a character boundary and marked.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - CUT.len());
    format!("{}{CUT}", text.get(..end).unwrap_or_default().trim_end())
}

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let index = (group >> (18 - 6 * position)) & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            out.push(if position > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("\u{fb}\u{ff}", "w7vDvw=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn long_warnings_are_cut_on_a_character_and_marked() {
        let cut = &warnings(&["ä".repeat(300)])[0];
        assert!(cut.len() <= WARNING && cut.ends_with('…'));
        assert_eq!(warnings(&["short\n  and\ttwo".to_owned()]), ["short and two"]);
    }

    #[test]
    fn many_warnings_end_with_a_count() {
        let lines = vec!["x".repeat(256); 40];
        let out = warnings(&lines);
        assert!(out.iter().map(String::len).sum::<usize>() <= ALL_WARNINGS);
        assert_eq!(out.last().unwrap(), &format!("{} more warnings; see the audit log", 40 - (out.len() - 1)));
        assert_eq!(warnings(&vec!["y".repeat(256); 16]).len(), 16, "exactly at the limit nothing is lost");
    }

    proptest! {
        #[test]
        fn limits_hold_for_any_text(lines in proptest::collection::vec(".{0,600}", 0..40)) {
            let out = warnings(&lines);
            prop_assert!(out.iter().all(|line| line.len() <= WARNING && !line.contains('\n')));
            prop_assert!(out.iter().map(String::len).sum::<usize>() <= ALL_WARNINGS);
        }

        #[test]
        fn a_denial_is_one_line(text in "(?s).{0,9000}") {
            let line = deny_message(&text);
            prop_assert!(line.len() <= MESSAGE && !line.chars().any(char::is_control));
        }
    }
}
