//! Is a condition true for every row, by its text alone?

use std::cmp::Ordering;

use sqlparser::ast::{BinaryOperator as Op, Expr, UnaryOperator, Value};

pub(crate) struct Truth {
    pub(crate) always: bool,
    /// The answer rests on what a literal says.
    pub(crate) literals: bool,
}

/// Columns compared with themselves count as true: NULLs aside, they are.
pub(crate) fn always_true(condition: &Expr) -> Truth {
    let mut reader = Reader { literals: false };
    let always = reader.truth(condition) == Some(true);
    Truth {
        always,
        literals: reader.literals,
    }
}

/// What an expression is whatever the row.
#[derive(Debug, Clone, PartialEq)]
enum Constant {
    Null,
    Bool(bool),
    Integer(i128),
    Decimal(f64),
    Text(String),
}

struct Reader {
    literals: bool,
}

impl Reader {
    /// `None` where it depends on data or parameters, or is unknown (NULL is no truth: the row is left alone).
    fn truth(&mut self, expr: &Expr) -> Option<bool> {
        match self.constant(expr)? {
            Constant::Bool(truth) => Some(truth),
            Constant::Text(text) => {
                self.literals = true;
                boolean(&text)
            }
            _ => None,
        }
    }

    fn constant(&mut self, expr: &Expr) -> Option<Constant> {
        match expr {
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.constant(inner),
            Expr::Cast { expr: inner, .. } => self.constant(inner),
            Expr::Value(value) => literal(&value.value),
            Expr::TypedString(typed) => {
                self.literals = true;
                literal(&typed.value.value)
            }
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => self.truth(expr).map(|truth| Constant::Bool(!truth)),
            Expr::UnaryOp {
                op: UnaryOperator::Plus,
                expr,
            } => self.constant(expr),
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => match self.constant(expr)? {
                Constant::Integer(n) => n.checked_neg().map(Constant::Integer),
                Constant::Decimal(x) => Some(Constant::Decimal(-x)),
                _ => None,
            },
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            _ => self.predicate(expr).map(Constant::Bool),
        }
    }

    fn binary(&mut self, left: &Expr, op: &Op, right: &Expr) -> Option<Constant> {
        match op {
            Op::Or => {
                let (one, other) = (self.truth(left), self.truth(right));
                match (one, other) {
                    (Some(true), _) | (_, Some(true)) => Some(Constant::Bool(true)),
                    (Some(false), Some(false)) => Some(Constant::Bool(false)),
                    _ => complementary(left, right).then_some(Constant::Bool(true)),
                }
            }
            Op::And => match (self.truth(left), self.truth(right)) {
                (Some(false), _) | (_, Some(false)) => Some(Constant::Bool(false)),
                (Some(true), Some(true)) => Some(Constant::Bool(true)),
                _ => None,
            },
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
                self.comparison(left, op, right).map(Constant::Bool)
            }
            Op::Plus | Op::Minus | Op::Multiply => {
                let (Constant::Integer(a), Constant::Integer(b)) =
                    (self.constant(left)?, self.constant(right)?)
                else {
                    return None;
                };
                let result = match op {
                    Op::Plus => a.checked_add(b),
                    Op::Minus => a.checked_sub(b),
                    _ => a.checked_mul(b),
                };
                result.map(Constant::Integer)
            }
            _ => None,
        }
    }

    fn comparison(&mut self, left: &Expr, op: &Op, right: &Expr) -> Option<bool> {
        if same_column(left, right) {
            return Some(matches!(op, Op::Eq | Op::LtEq | Op::GtEq));
        }
        if let (Expr::Tuple(left), Expr::Tuple(right), Op::Eq) = (bare(left), bare(right), op) {
            let equal = |(a, b): (&Expr, &Expr)| self.comparison(a, &Op::Eq, b);
            let all: Option<Vec<bool>> = left.iter().zip(right).map(equal).collect();
            return all.map(|all| left.len() == right.len() && all.into_iter().all(|equal| equal));
        }
        let (left, right) = (self.constant(left)?, self.constant(right)?);
        let order = self.order(&left, &right)?;
        Some(match op {
            Op::Eq => order.is_eq(),
            Op::NotEq => order.is_ne(),
            Op::Lt => order.is_lt(),
            Op::LtEq => order.is_le(),
            Op::Gt => order.is_gt(),
            _ => order.is_ge(),
        })
    }

    /// Texts in byte order: collations differ, but not on what is equal.
    fn order(&mut self, left: &Constant, right: &Constant) -> Option<Ordering> {
        if let (Constant::Bool(a), Constant::Bool(b)) = (left, right) {
            return Some(a.cmp(b));
        }
        if *left == Constant::Null || *right == Constant::Null {
            return None;
        }
        self.literals = true;
        match (left, right) {
            (Constant::Text(a), Constant::Text(b)) => Some(a.cmp(b)),
            (Constant::Integer(a), Constant::Integer(b)) => Some(a.cmp(b)),
            (Constant::Bool(a), Constant::Text(b)) => Some(a.cmp(&boolean(b)?)),
            (Constant::Text(a), Constant::Bool(b)) => Some(boolean(a)?.cmp(b)),
            _ => number(left)?.partial_cmp(&number(right)?),
        }
    }

    fn predicate(&mut self, expr: &Expr) -> Option<bool> {
        match expr {
            Expr::IsTrue(inner) => self.is(inner, |c| *c == Constant::Bool(true)),
            Expr::IsNotTrue(inner) => self.is(inner, |c| *c != Constant::Bool(true)),
            Expr::IsFalse(inner) => self.is(inner, |c| *c == Constant::Bool(false)),
            Expr::IsNotFalse(inner) => self.is(inner, |c| *c != Constant::Bool(false)),
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => {
                self.is(inner, |c| *c == Constant::Null)
            }
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => {
                self.is(inner, |c| *c != Constant::Null)
            }
            Expr::IsNotDistinctFrom(left, right) => self.is_same(left, right),
            Expr::IsDistinctFrom(left, right) => self.is_same(left, right).map(|same| !same),
            Expr::InList {
                expr,
                list,
                negated,
            } => self.in_list(expr, list).map(|found| found != *negated),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let inside = self.comparison(expr, &Op::GtEq, low)?
                    && self.comparison(expr, &Op::LtEq, high)?;
                Some(inside != *negated)
            }
            Expr::Like {
                negated: false,
                any: false,
                expr,
                pattern,
                ..
            }
            | Expr::ILike {
                negated: false,
                any: false,
                expr,
                pattern,
                ..
            } => self.like(expr, pattern),
            _ => None,
        }
    }

    fn is(&mut self, expr: &Expr, test: impl Fn(&Constant) -> bool) -> Option<bool> {
        self.constant(expr).map(|constant| test(&constant))
    }

    fn is_same(&mut self, left: &Expr, right: &Expr) -> Option<bool> {
        if same_column(left, right) {
            return Some(true);
        }
        match (self.constant(left)?, self.constant(right)?) {
            (Constant::Null, other) | (other, Constant::Null) => Some(other == Constant::Null),
            (left, right) => self.order(&left, &right).map(Ordering::is_eq),
        }
    }

    /// `None` if neither found nor all of the list constant.
    fn in_list(&mut self, expr: &Expr, list: &[Expr]) -> Option<bool> {
        let mut found = Some(false);
        for item in list {
            match self.comparison(expr, &Op::Eq, item) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => found = None,
            }
        }
        found
    }

    /// A pattern of nothing but `%` matches every text; otherwise only equality is looked at.
    fn like(&mut self, expr: &Expr, pattern: &Expr) -> Option<bool> {
        let Constant::Text(pattern) = self.constant(pattern)? else {
            return None;
        };
        self.literals = true;
        if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'%') {
            return Some(true);
        }
        match self.constant(expr)? {
            Constant::Text(text) if !pattern.contains(['%', '_', '\\']) => Some(text == pattern),
            _ => None,
        }
    }
}

fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn same_column(left: &Expr, right: &Expr) -> bool {
    match (bare(left), bare(right)) {
        (Expr::Identifier(left), Expr::Identifier(right)) => left.value == right.value,
        (Expr::CompoundIdentifier(left), Expr::CompoundIdentifier(right)) => left
            .iter()
            .map(|part| &part.value)
            .eq(right.iter().map(|part| &part.value)),
        _ => false,
    }
}

/// `x IS NULL OR x IS NOT NULL`, `x OR NOT x`, of columns.
fn complementary(left: &Expr, right: &Expr) -> bool {
    match (bare(left), bare(right)) {
        (Expr::IsNull(a), Expr::IsNotNull(b)) | (Expr::IsNotNull(a), Expr::IsNull(b)) => {
            same_column(a, b)
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
        ) => same_column(a, b),
        _ => false,
    }
}

fn literal(value: &Value) -> Option<Constant> {
    match value {
        Value::Null => Some(Constant::Null),
        Value::Boolean(truth) => Some(Constant::Bool(*truth)),
        Value::SingleQuotedString(text) => Some(Constant::Text(text.clone())),
        Value::Number(digits, _) => number_of(digits),
        _ => None,
    }
}

fn number_of(written: &str) -> Option<Constant> {
    let digits = written.replace('_', "");
    let radix = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    let integer = i128::from_str_radix(if radix == 10 { &digits } else { &digits[2..] }, radix);
    match integer {
        Ok(integer) => Some(Constant::Integer(integer)),
        Err(_) => digits.parse().ok().map(Constant::Decimal),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the server compares mixed numbers likewise"
)]
fn number(constant: &Constant) -> Option<f64> {
    match constant {
        Constant::Integer(n) => Some(*n as f64),
        Constant::Decimal(x) => Some(*x),
        Constant::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The words PostgreSQL takes for a boolean (documentation 8.6), and their beginnings.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Some(false),
        _ => None,
    }
}
