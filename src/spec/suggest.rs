//! "Did you mean ...?": the nearest of the allowed words.

/// The candidate that `text` was most likely meant to be; `None` when none is near. Case, `-`, `_` and `.` do not count.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer texts are no misspelling of a word of ours; the bound also caps the work.
    const LONGEST: usize = 64;
    let wanted = normal(text);
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let allowed = (wanted.len() / 3).max(1);
    let best = candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &normal(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (best.0 <= allowed).then_some(best.1)
}

/// `; did you mean `X`?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

fn normal(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

/// Edit distance with swaps of neighbours counted once (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_a = None;
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left_b = None;
        for (j, y) in b.iter().enumerate() {
            let at = |line: &[usize], k: usize| line.get(k).copied().unwrap_or(usize::MAX / 2);
            let substituted = at(&last, j) + usize::from(x != y);
            let mut cost = substituted.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if left_a == Some(y) && left_b == Some(x) && j > 0 {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
            left_b = Some(y);
        }
        left_a = Some(x);
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named_and_far_ones_are_not() {
        let fields = ["contextLength", "batchSize", "model", "task"];
        for (text, expected) in [
            ("context_length", Some("contextLength")),
            ("contextLenght", Some("contextLength")),
            ("batchsize", Some("batchSize")),
            ("modle", Some("model")),
            ("taks", Some("task")),
            ("replicas", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, fields), expected, "{text}");
        }
        assert_eq!(did_you_mean("modle", fields), "; did you mean `model`?");
        assert_eq!(nearest(&"x".repeat(1_000_000), fields), None);
    }

    #[test]
    fn distances_are_those_of_edits_and_swaps() {
        let of = |a: &str, b: &str| distance(&normal(a), &normal(b));
        assert_eq!(of("abc", "abc"), 0);
        assert_eq!(of("abc", "acb"), 1);
        assert_eq!(of("abc", ""), 3);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("kitten", "sitting"), 3);
    }
}
