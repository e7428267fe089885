//! Tokens to expressions, by precedence.

use super::lexer::{Token, tokens};
use super::{Access, Expr, MOST_CHARS, Value};

/// Deepest nesting that is read.
const DEEPEST: usize = 32;
/// Operators, calls and members of one expression at most: each may be a level of the tree that is walked.
const MOST_NODES: usize = 256;

/// Binary operators by precedence, loosest first.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

/// An expression; `None` where it is outside of the subset.
#[must_use]
pub fn parse(text: &str) -> Option<Expr> {
    if text.len() > MOST_CHARS {
        return None;
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, depth: 0, nodes: 0 };
    let expression = parser.conditional()?;
    parser.tokens.is_empty().then_some(expression)
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// One more node of the tree.
    fn counted(&mut self) -> Option<()> {
        self.nodes += 1;
        (self.nodes <= MOST_NODES).then_some(())
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = match self.tokens.first() {
            Some(Token::Sign(next)) => *next == sign,
            Some(Token::Name(name)) => sign == "in" && name == "in",
            _ => false,
        };
        if found {
            self.next();
        }
        found
    }

    fn expects(&mut self, sign: &str) -> Option<()> {
        self.takes(sign).then_some(())
    }

    fn conditional(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let condition = self.binary(0)?;
        let expression = if self.takes("?") {
            let yes = self.conditional()?;
            self.expects(":")?;
            Expr::Conditional(Box::new(condition), Box::new(yes), Box::new(self.conditional()?))
        } else {
            condition
        };
        self.depth -= 1;
        Some(expression)
    }

    fn binary(&mut self, level: usize) -> Option<Expr> {
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(sign) = signs.iter().find(|sign| self.takes(sign)) {
            self.counted()?;
            left = Expr::Binary(sign, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expr> {
        let mut signs = Vec::new();
        while let Some(sign) = ["!", "-"].into_iter().find(|sign| self.takes(sign)) {
            self.counted()?;
            signs.push(sign);
        }
        let inner = self.postfix()?;
        Some(signs.into_iter().rev().fold(inner, |inner, sign| Expr::Unary(sign, Box::new(inner))))
    }

    fn postfix(&mut self) -> Option<Expr> {
        let mut expression = self.primary()?;
        loop {
            self.counted()?;
            let access = if self.takes(".?") {
                Access::Optional
            } else if self.takes(".") {
                Access::Plain
            } else if self.takes("[") {
                let access = if self.takes("?") { Access::Optional } else { Access::Plain };
                let index = self.conditional()?;
                self.expects("]")?;
                expression = Expr::Member(Box::new(expression), Box::new(index), access);
                continue;
            } else {
                return Some(expression);
            };
            let Some(Token::Name(name)) = self.next().cloned() else { return None };
            expression = if access == Access::Plain && self.takes("(") {
                Expr::Method(Box::new(expression), name, self.list(")")?)
            } else {
                Expr::Member(Box::new(expression), Box::new(Expr::Literal(Value::Text(name))), access)
            };
        }
    }

    fn list(&mut self, end: &str) -> Option<Vec<Expr>> {
        let mut found = Vec::new();
        while !self.takes(end) {
            if !found.is_empty() {
                self.expects(",")?;
                if self.takes(end) {
                    break;
                }
            }
            found.push(self.conditional()?);
        }
        Some(found)
    }

    fn primary(&mut self) -> Option<Expr> {
        match self.next()?.clone() {
            Token::Int(number) => Some(Expr::Literal(Value::Int(number))),
            Token::Text(text) => Some(Expr::Literal(Value::Text(text))),
            Token::Name(name) => match name.as_str() {
                "true" => Some(Expr::Literal(Value::Bool(true))),
                "false" => Some(Expr::Literal(Value::Bool(false))),
                _ if self.takes("(") => Some(Expr::Call(name, self.list(")")?)),
                _ => Some(Expr::Name(name)),
            },
            Token::Sign("(") => {
                let inner = self.conditional()?;
                self.expects(")")?;
                Some(inner)
            }
            Token::Sign("[") => Some(Expr::List(self.list("]")?)),
            Token::Sign(_) => None,
        }
    }
}
