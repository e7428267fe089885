//! Searches over whole numbers: every answer has been tried, and so has its neighbour.

/// The largest of `1..=most` that fits, found without assuming more than that need grows between neighbouring powers
/// of two: those are tried from the top, then what lies between the largest that fits and the next is bisected. The
/// answer fits, and the number after it does not.
pub(crate) fn largest(most: u64, mut fits: impl FnMut(u64) -> bool) -> Option<u64> {
    if most == 0 {
        return None;
    }
    if fits(most) {
        return Some(most);
    }
    let mut over = most;
    let mut under = largest_power_below(most)?;
    while !fits(under) {
        over = under;
        under /= 2;
        if under == 0 {
            return None;
        }
    }
    while over - under > 1 {
        let middle = under + (over - under) / 2;
        if fits(middle) {
            under = middle;
        } else {
            over = middle;
        }
    }
    Some(under)
}

/// The largest power of two below `n`; `None` for 1 and less.
const fn largest_power_below(n: u64) -> Option<u64> {
    match n.saturating_sub(1) {
        0 => None,
        below => Some(1 << below.ilog2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_fits_and_its_neighbour_does_not() {
        for most in [1, 2, 3, 7, 8, 100, 1 << 40] {
            for limit in [0, 1, 2, 3, 6, 7, 63, 64, 65, 99, 100, 101, 1 << 39, (1 << 39) + 12_345] {
                let expected = (limit > 0).then_some(limit.min(most));
                assert_eq!(largest(most, |n| n <= limit), expected, "{limit} of {most}");
            }
        }
        assert_eq!(largest(0, |_| true), None);
    }

    #[test]
    fn few_values_are_tried() {
        let mut tried = 0;
        let _ = largest(131_072, |n| {
            tried += 1;
            n <= 777
        });
        assert!(tried < 25, "{tried}");
    }

    #[test]
    fn a_dip_below_does_not_hide_what_fits_above() {
        // Need that is high for short contexts only: 1 to 4 do not fit, 5 to 80 do.
        assert_eq!(largest(1000, |n| (5..=80).contains(&n)), Some(80));
    }
}
