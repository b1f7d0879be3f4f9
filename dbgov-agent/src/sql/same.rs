//! Do two expressions have the same value, whatever the row?

use sqlparser::ast::{
    BinaryOperator as Op, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    UnaryOperator, Value,
};

use super::builtin;
use super::name::{Object, ObjectKind};

pub(crate) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// Two columns of one name, which may be qualified with that of the row in one place and not in the other.
fn same_column(left: &Expr, right: &Expr, target: &[&str]) -> bool {
    let (Some(left), Some(right)) = (column(left), column(right)) else {
        return false;
    };
    let (short, long) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let added = long.len() - short.len();
    let of_row = added == 0 || (short.len() == 1 && target.contains(&&*long[added - 1].value));
    let ends = long[added..].iter().map(|part| &part.value);
    of_row && ends.eq(short.iter().map(|part| &part.value))
}

pub(crate) fn column(expr: &Expr) -> Option<&[Ident]> {
    match bare(expr) {
        Expr::Identifier(ident) => Some(std::slice::from_ref(ident)),
        Expr::CompoundIdentifier(idents) => Some(idents),
        _ => None,
    }
}

/// The same value, whatever the row: columns and parameters, and what is made of them by the same operators and
/// functions, volatile ones aside.
pub(crate) fn same(left: &Expr, right: &Expr, target: &[&str]) -> bool {
    let (left, right) = (bare(left), bare(right));
    match (left, right) {
        (Expr::Value(a), Expr::Value(b)) => {
            matches!(a.value, Value::Placeholder(_)) && a.value == b.value
        }
        (
            Expr::BinaryOp {
                left: a,
                op,
                right: b,
            },
            Expr::BinaryOp {
                left: c,
                op: other,
                right: d,
            },
        ) => op == other && same_or_constant(a, c, target) && same_or_constant(b, d, target),
        (Expr::UnaryOp { op, expr: a }, Expr::UnaryOp { op: other, expr: b }) => {
            op == other && same(a, b, target)
        }
        (Expr::IsNull(a), Expr::IsNull(b)) | (Expr::IsNotNull(a), Expr::IsNotNull(b)) => {
            same(a, b, target)
        }
        (
            Expr::Cast {
                expr: a, data_type, ..
            },
            Expr::Cast {
                expr: b,
                data_type: other,
                ..
            },
        ) => data_type == other && same(a, b, target),
        (Expr::Function(a), Expr::Function(b)) => same_call(a, b, target),
        _ => same_column(left, right, target),
    }
}

/// Of literals it does not matter here which they are: that they are the same, does.
fn same_or_constant(left: &Expr, right: &Expr, target: &[&str]) -> bool {
    same(left, right, target)
        || matches!((bare(left), bare(right)), (Expr::Value(a), Expr::Value(b)) if a.value == b.value)
}

fn same_call(left: &Function, right: &Function, target: &[&str]) -> bool {
    let stable = || {
        let parts: Option<Vec<&str>> = (left.name.0.iter())
            .map(|part| part.as_ident().map(|ident| ident.value.as_str()))
            .collect();
        parts
            .and_then(|parts| Object::from_parts(ObjectKind::Function, &parts))
            .is_some_and(|function| builtin::is_stable(&function))
    };
    let (Some(ours), Some(theirs)) = (arguments(left), arguments(right)) else {
        return left.name == right.name && left.args == right.args && stable();
    };
    left.name == right.name
        && ours.len() == theirs.len()
        && ours
            .iter()
            .zip(&theirs)
            .all(|(a, b)| same_or_constant(a, b, target))
        && stable()
}

/// Plain arguments, without names, DISTINCT, ORDER BY, FILTER or OVER.
pub(crate) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    if function.over.is_some() || function.filter.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let plain = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

/// `x IS NULL OR x IS NOT NULL`, `x OR NOT x`, of columns.
pub(crate) fn complementary(left: &Expr, right: &Expr, target: &[&str]) -> bool {
    match (bare(left), bare(right)) {
        (Expr::IsNull(a), Expr::IsNotNull(b)) | (Expr::IsNotNull(a), Expr::IsNull(b)) => {
            same(a, b, target)
        }
        (
            Expr::BinaryOp {
                left: a,
                op,
                right: b,
            },
            Expr::BinaryOp {
                left: c,
                op: other,
                right: d,
            },
        ) => {
            opposite(op).as_ref() == Some(other)
                && same_or_constant(a, c, target)
                && same_or_constant(b, d, target)
        }
        (
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: a,
            },
            b,
        )
        | (
            b,
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: a,
            },
        ) => same(a, b, target),
        _ => false,
    }
}

fn opposite(op: &Op) -> Option<Op> {
    Some(match op {
        Op::Eq => Op::NotEq,
        Op::NotEq => Op::Eq,
        Op::Lt => Op::GtEq,
        Op::GtEq => Op::Lt,
        Op::Gt => Op::LtEq,
        Op::LtEq => Op::Gt,
        _ => return None,
    })
}
