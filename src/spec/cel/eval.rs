//! Expressions to values. Errors of the language (an absent key, a wrong type) are unknown here.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Access, Expr, Value, library};

/// Names in scope.
type Scope = BTreeMap<String, Value>;

/// The value of an expression.
#[must_use]
pub fn evaluate(expression: &Expr, scope: &Scope) -> Value {
    let value = |expression: &Expr| evaluate(expression, scope);
    match expression {
        Expr::Literal(literal) => literal.clone(),
        Expr::Name(name) => scope.get(name).cloned().unwrap_or(Value::Unknown),
        Expr::Member(of, key, access) => member(&value(of), &value(key), *access),
        Expr::List(items) => Value::List(items.iter().map(value).collect()),
        Expr::Unary("!", inner) => match value(inner) {
            Value::Bool(truth) => Value::Bool(!truth),
            _ => Value::Unknown,
        },
        Expr::Unary(_, inner) => match value(inner) {
            Value::Int(number) => number.checked_neg().map_or(Value::Unknown, Value::Int),
            _ => Value::Unknown,
        },
        Expr::Conditional(condition, yes, no) => match value(condition) {
            Value::Bool(true) => value(yes),
            Value::Bool(false) => value(no),
            _ => Value::Unknown,
        },
        Expr::Binary(sign, left, right) => binary(sign, &value(left), &value(right)),
        Expr::Call(name, arguments) if name == "has" => has(arguments, scope),
        Expr::Call(name, arguments) => library::call(name, &arguments.iter().map(value).collect::<Vec<_>>()),
        Expr::Method(of, name, arguments) => bind(of, name, arguments, scope)
            .unwrap_or_else(|| library::method(&value(of), name, &arguments.iter().map(value).collect::<Vec<_>>())),
    }
}

/// `cel.bind(name, value, expression)`.
fn bind(of: &Expr, name: &str, arguments: &[Expr], scope: &Scope) -> Option<Value> {
    let (Expr::Name(namespace), "bind", [Expr::Name(bound), value, inner]) = (of, name, arguments) else { return None };
    (namespace == "cel").then(|| {
        let mut scope = scope.clone();
        scope.insert(bound.clone(), evaluate(value, &scope));
        evaluate(inner, &scope)
    })
}

/// `has(a.b)`.
fn has(arguments: &[Expr], scope: &Scope) -> Value {
    let [Expr::Member(of, key, _)] = arguments else { return Value::Unknown };
    match (evaluate(of, scope), evaluate(key, scope)) {
        (Value::Map(map), Value::Text(key)) => Value::Bool(map.contains_key(&key)),
        _ => Value::Unknown,
    }
}

fn member(of: &Value, key: &Value, access: Access) -> Value {
    match (of, key) {
        (Value::Map(map), Value::Text(key)) => {
            let absent = if access == Access::Optional { Value::Absent } else { Value::Unknown };
            map.get(key).cloned().unwrap_or(absent)
        }
        (Value::Absent, _) => Value::Absent,
        (Value::List(items), Value::Int(at)) => {
            usize::try_from(*at).ok().and_then(|at| items.get(at)).cloned().unwrap_or(Value::Unknown)
        }
        _ => Value::Unknown,
    }
}

fn binary(sign: &str, left: &Value, right: &Value) -> Value {
    use Value::{Bool, Unknown};
    match (sign, left, right) {
        ("&&", ..) => either(left, right, false),
        ("||", ..) => either(left, right, true),
        ("in", item, Value::List(items)) => {
            let equal: Vec<Option<bool>> = items.iter().map(|other| equal(item, other)).collect();
            match () {
                () if equal.contains(&Some(true)) => Bool(true),
                () if equal.iter().all(|same| *same == Some(false)) => Bool(false),
                () => Unknown,
            }
        }
        ("in", Value::Text(key), Value::Map(map)) => Bool(map.contains_key(key)),
        ("==", ..) => equal(left, right).map_or(Unknown, Bool),
        ("!=", ..) => equal(left, right).map_or(Unknown, |same| Bool(!same)),
        ("<" | "<=" | ">" | ">=", ..) => order(left, right).map_or(Unknown, |order| {
            Bool(match sign {
                "<" => order == Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }),
        ("+", Value::Text(a), Value::Text(b)) => Value::Text(format!("{a}{b}")),
        (_, Value::Int(a), Value::Int(b)) => match sign {
            "+" => a.checked_add(*b),
            "-" => a.checked_sub(*b),
            "*" => a.checked_mul(*b),
            "/" => a.checked_div(*b),
            "%" => a.checked_rem(*b),
            _ => None,
        }
        .map_or(Unknown, Value::Int),
        _ => Unknown,
    }
}

/// What is certain on either side decides, whatever the other is.
fn either(left: &Value, right: &Value, decides: bool) -> Value {
    let sides = [left, right];
    if sides.contains(&&Value::Bool(decides)) {
        return Value::Bool(decides);
    }
    if sides == [&Value::Bool(!decides); 2] { Value::Bool(!decides) } else { Value::Unknown }
}

/// `None` where either is not known or they cannot be compared.
fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Unknown, _) | (_, Value::Unknown) => None,
        (Value::Absent, other) | (other, Value::Absent) => Some(*other == Value::Absent),
        (Value::List(_) | Value::Map(_), _) => None,
        _ if std::mem::discriminant(left) == std::mem::discriminant(right) => Some(left == right),
        _ => None,
    }
}

pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Quantity(a), Value::Quantity(b)) => a.cmp(b),
        (Value::Version(a), Value::Version(b)) => a.cmp(b),
        _ => return None,
    })
}
