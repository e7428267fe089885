//! A subset of CEL, as device selectors use it: enough of the language for what drivers and users write, with a third
//! truth value for the rest. What is not understood is unknown, never false.

mod eval;
mod lexer;
mod library;
mod parser;

use std::collections::BTreeMap;

pub use eval::evaluate;
pub(crate) use library::version;
pub use parser::parse;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A literal.
    Literal(Value),
    /// A name in scope.
    Name(String),
    /// `a.b`, or `a["b"]`, or the optional `a.?b`.
    Member(Box<Expr>, Box<Expr>, Access),
    /// `f(args)` without a receiver.
    Call(String, Vec<Expr>),
    /// `receiver.f(args)`.
    Method(Box<Expr>, String, Vec<Expr>),
    /// `!a` or `-a`.
    Unary(&'static str, Box<Expr>),
    /// `a OP b`.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `c ? a : b`.
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `[a, b]`.
    List(Vec<Expr>),
}

/// How a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An absent member is an error.
    Plain,
    /// An absent member is an empty optional.
    Optional,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not known, or not understood.
    Unknown,
    /// An optional without a value.
    Absent,
    /// Truth.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// A quantity in nano-units, exactly.
    Quantity(i128),
    /// Semantic version.
    Version([u64; 3]),
    /// List.
    List(Vec<Value>),
    /// Map by name.
    Map(BTreeMap<String, Value>),
}

/// Longest expression that is read (the API server's limit is 10 KiB).
pub const MOST_CHARS: usize = 10 * 1024;

#[cfg(test)]
mod tests;
