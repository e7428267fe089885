//! `$((A * 8))`: whole numbers, variables, `+ - * / %` and brackets.

/// Deepest nesting of brackets and signs.
const DEEPEST: usize = 32;

/// The value of an expression; `None` where a variable is not known or something else stands there.
pub(super) fn value(text: &str, variable: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
    let mut reader = Reader { rest: text, variable };
    let found = reader.sum(0)?;
    reader.rest.trim().is_empty().then_some(found)
}

struct Reader<'a> {
    rest: &'a str,
    variable: &'a dyn Fn(&str) -> Option<i64>,
}

impl Reader<'_> {
    /// Takes one of the characters, if it is next.
    fn take(&mut self, any: &[char]) -> Option<char> {
        self.rest = self.rest.trim_start();
        let found = self.rest.chars().next().filter(|c| any.contains(c))?;
        self.rest = self.rest.get(found.len_utf8()..)?;
        Some(found)
    }

    fn sum(&mut self, depth: usize) -> Option<i64> {
        let mut left = self.product(depth)?;
        while let Some(sign) = self.take(&['+', '-']) {
            let right = self.product(depth)?;
            left = if sign == '+' { left.checked_add(right)? } else { left.checked_sub(right)? };
        }
        Some(left)
    }

    fn product(&mut self, depth: usize) -> Option<i64> {
        let mut left = self.factor(depth)?;
        while let Some(sign) = self.take(&['*', '/', '%']) {
            let right = self.factor(depth)?;
            left = match sign {
                '*' => left.checked_mul(right)?,
                '/' => left.checked_div(right)?,
                _ => left.checked_rem(right)?,
            };
        }
        Some(left)
    }

    fn factor(&mut self, depth: usize) -> Option<i64> {
        if depth > DEEPEST {
            return None;
        }
        if self.take(&['-']).is_some() {
            return self.factor(depth + 1)?.checked_neg();
        }
        if self.take(&['(']).is_some() {
            let inner = self.sum(depth + 1)?;
            return self.take(&[')']).map(|_| inner);
        }
        let end = self.rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        // A leading zero would be octal, which no degree of parallelism is written in.
        match word.parse() {
            Ok(_) if word.len() > 1 && word.starts_with('0') => None,
            Ok(number) => Some(number),
            Err(_) if word.is_empty() => None,
            Err(_) => (self.variable)(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i64> {
        value(text, &|name| (name == "N").then_some(4))
    }

    #[test]
    fn precedence_brackets_and_variables() {
        for (text, expected) in [("N * 8", 32), ("1+2*3", 7), ("(1 + 2) * N", 12), ("17 / 4 % 3", 1), ("-N+10", 6)] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        for text in ["", "M", "N N", "1 /0", "(1", "N << 2", "010", "9223372036854775807 + 1", &"(".repeat(100)] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
