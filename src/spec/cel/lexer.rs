//! Text to tokens.

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Identifier or keyword.
    Name(String),
    /// String literal.
    Text(String),
    /// Integer literal.
    Int(i64),
    /// Operator or bracket.
    Sign(&'static str),
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "<", ">", "!", "+",
    "-", "*", "/", "%",
];

/// Tokens of an expression; `None` where a character has no meaning here.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, after) = if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
            continue;
        } else if let Some(raw) = rest.strip_prefix("r\"").or_else(|| rest.strip_prefix("r'")) {
            let quote = if rest.starts_with("r\"") { '"' } else { '\'' };
            let (inside, after) = raw.split_once(quote)?;
            (Token::Text(inside.to_owned()), after)
        } else if matches!(first, '"' | '\'') {
            quoted(rest, first)?
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at_checked(end)?;
            if after.starts_with(['.', 'e', 'x']) {
                return None;
            }
            (Token::Int(digits.parse().ok()?), after.strip_prefix('u').unwrap_or(after))
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end)?;
            (Token::Name(name.to_owned()), after)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
            (Token::Sign(sign), rest.strip_prefix(sign)?)
        };
        found.push(token);
        rest = after.trim_start();
    }
    Some(found)
}

/// A string in quotes with the common escapes.
fn quoted(text: &str, quote: char) -> Option<(Token, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((Token::Text(out), text.get(at + c.len_utf8()..)?)),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                known @ ('\\' | '"' | '\'' | '`' | '?') => known,
                _ => return None,
            }),
            _ => out.push(c),
        }
    }
    None
}
