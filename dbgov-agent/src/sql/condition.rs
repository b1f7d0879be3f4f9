//! Is a condition true for every row, by its text alone?

use std::cmp::Ordering;

use sqlparser::ast::{BinaryOperator as Op, Expr, UnaryOperator, Value};

use super::same::{arguments, bare, column, complementary, same};

/// Texts put together to be compared, bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Text and pattern of a LIKE of constants, bytes: comparing takes the product of both.
const LIKE_BYTES_MAX: usize = 256;

pub(crate) struct Truth {
    pub(crate) always: bool,
    /// The answer rests on what a literal says.
    pub(crate) literals: bool,
}

/// Columns compared with themselves count as true: NULLs aside, they are.
/// `target`: the names that the row goes by.
pub(crate) fn always_true(condition: &Expr, target: &[&str]) -> Truth {
    let mut reader = Reader {
        target,
        literals: false,
    };
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

struct Reader<'a> {
    target: &'a [&'a str],
    literals: bool,
}

impl Reader<'_> {
    /// `None` where it depends on data or parameters, or is unknown (NULL is no truth: the row is left alone).
    fn truth(&mut self, expr: &Expr) -> Option<bool> {
        match self.constant(expr)? {
            Constant::Bool(truth) => Some(truth),
            Constant::Text(text) => {
                self.literals = true;
                boolean(&text)
            }
            // Cast to boolean: nothing else can stand here.
            Constant::Integer(n) => Some(n != 0),
            Constant::Null | Constant::Decimal(_) => None,
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
            Expr::Case { .. } | Expr::Function(_) => self.choice(expr),
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
                    _ => self
                        .complementary(left, right)
                        .then_some(Constant::Bool(true)),
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
            Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo => {
                let (Constant::Integer(a), Constant::Integer(b)) =
                    (self.constant(left)?, self.constant(right)?)
                else {
                    return None;
                };
                self.literals = true;
                let result = match op {
                    Op::Plus => a.checked_add(b),
                    Op::Minus => a.checked_sub(b),
                    Op::Multiply => a.checked_mul(b),
                    Op::Divide => a.checked_div(b),
                    _ => a.checked_rem(b),
                };
                result.map(Constant::Integer)
            }
            Op::StringConcat => match (self.constant(left)?, self.constant(right)?) {
                (Constant::Text(a), Constant::Text(b)) if a.len() + b.len() <= TEXT_BYTES_MAX => {
                    self.literals = true;
                    Some(Constant::Text(a + &b))
                }
                _ => None,
            },
            Op::PGRegexMatch | Op::PGRegexIMatch => self.regex(right).map(Constant::Bool),
            _ => None,
        }
    }

    /// Patterns that match every text; no other is looked at.
    fn regex(&mut self, pattern: &Expr) -> Option<bool> {
        let Constant::Text(pattern) = self.constant(pattern)? else {
            return None;
        };
        self.literals = true;
        matches!(
            pattern.as_str(),
            "" | "^" | "$" | ".*" | "^.*" | ".*$" | "^.*$"
        )
        .then_some(true)
    }

    /// CASE and the functions that only choose among their arguments.
    fn choice(&mut self, expr: &Expr) -> Option<Constant> {
        match expr {
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let value = operand.as_ref().map(|operand| self.constant(operand));
                for when in conditions {
                    let chosen = match operand {
                        Some(operand) => {
                            let operand = (&**operand, value.as_ref().and_then(Option::as_ref));
                            self.compare(operand, &Op::Eq, &when.condition)?
                        }
                        None => self.truth(&when.condition)?,
                    };
                    if chosen {
                        return self.constant(&when.result);
                    }
                }
                let otherwise = else_result.as_deref();
                otherwise.map_or(Some(Constant::Null), |result| self.constant(result))
            }
            Expr::Function(function) => {
                let name = function.name.0.last()?.as_ident()?;
                let arguments = arguments(function)?;
                match name.value.as_str() {
                    "coalesce" => {
                        for argument in arguments {
                            match self.constant(argument)? {
                                Constant::Null => {}
                                constant => return Some(constant),
                            }
                        }
                        Some(Constant::Null)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn comparison(&mut self, left: &Expr, op: &Op, right: &Expr) -> Option<bool> {
        if let (Expr::Tuple(left), Expr::Tuple(right), Op::Eq) = (bare(left), bare(right), op) {
            let equal = |(a, b): (&Expr, &Expr)| self.comparison(a, &Op::Eq, b);
            let all: Option<Vec<bool>> = left.iter().zip(right).map(equal).collect();
            return all.map(|all| left.len() == right.len() && all.into_iter().all(|equal| equal));
        }
        let value = self.constant(left);
        self.compare((left, value.as_ref()), op, right)
    }

    /// The left side comes with its value: of an operand of several comparisons it is read once.
    fn compare(
        &mut self,
        (left, value): (&Expr, Option<&Constant>),
        op: &Op,
        right: &Expr,
    ) -> Option<bool> {
        let (Some(left), Some(right)) = (value, &self.constant(right)) else {
            return self
                .same(left, right)
                .then_some(matches!(op, Op::Eq | Op::LtEq | Op::GtEq));
        };
        let order = self.order(left, right)?;
        Some(match op {
            Op::Eq => order.is_eq(),
            Op::NotEq => order.is_ne(),
            Op::Lt => order.is_lt(),
            Op::LtEq => order.is_le(),
            Op::Gt => order.is_gt(),
            _ => order.is_ge(),
        })
    }

    fn same(&mut self, left: &Expr, right: &Expr) -> bool {
        let same = same(left, right, self.target);
        // Literals may have been compared on the way.
        self.literals |= same && column(left).is_none();
        same
    }

    fn complementary(&mut self, left: &Expr, right: &Expr) -> bool {
        let complementary = complementary(left, right, self.target);
        self.literals |= complementary;
        complementary
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
            Expr::IsNull(inner) | Expr::IsUnknown(inner) if never_null(inner) => Some(false),
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) if never_null(inner) => Some(true),
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
                let value = self.constant(expr);
                let inside = self.compare((expr, value.as_ref()), &Op::GtEq, low)?
                    && self.compare((expr, value.as_ref()), &Op::LtEq, high)?;
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
            Expr::AnyOp {
                left,
                compare_op: Op::Eq,
                right,
                ..
            } => match bare(right) {
                Expr::Array(array) => self.in_list(left, &array.elem),
                _ => None,
            },
            _ => None,
        }
    }

    fn is(&mut self, expr: &Expr, test: impl Fn(&Constant) -> bool) -> Option<bool> {
        self.constant(expr).map(|constant| test(&constant))
    }

    fn is_same(&mut self, left: &Expr, right: &Expr) -> Option<bool> {
        if self.same(left, right) {
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
        let value = self.constant(expr);
        for item in list {
            let equal = match (bare(expr), bare(item)) {
                (Expr::Tuple(_), Expr::Tuple(_)) => self.comparison(expr, &Op::Eq, item),
                _ => self.compare((expr, value.as_ref()), &Op::Eq, item),
            };
            match equal {
                Some(true) => return Some(true),
                Some(false) => {}
                None => found = None,
            }
        }
        found
    }

    /// A pattern of nothing but `%` matches every text.
    fn like(&mut self, expr: &Expr, pattern: &Expr) -> Option<bool> {
        let Constant::Text(pattern) = self.constant(pattern)? else {
            return None;
        };
        self.literals = true;
        if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'%') {
            return Some(true);
        }
        match self.constant(expr)? {
            Constant::Text(text) if !pattern.contains('\\') => matches_like(&text, &pattern),
            _ => None,
        }
    }
}

fn never_null(expr: &Expr) -> bool {
    matches!(
        bare(expr),
        Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Exists { .. }
    )
}

/// LIKE with `%` and `_`, without escapes; `None` for texts too long to be worth it.
fn matches_like(text: &str, pattern: &str) -> Option<bool> {
    if text.len() > LIKE_BYTES_MAX || pattern.len() > LIKE_BYTES_MAX {
        return None;
    }
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    // The places in the pattern that the text so far can have come to.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let through_any = |reached: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            reached[at + 1] |= reached[at] && pattern[at] == '%';
        }
    };
    through_any(&mut reached);
    for letter in text {
        let mut next = vec![false; pattern.len() + 1];
        for at in 0..pattern.len() {
            match pattern[at] {
                '%' => next[at] |= reached[at],
                '_' => next[at + 1] |= reached[at],
                other => next[at + 1] |= reached[at] && other == letter,
            }
        }
        reached = next;
        through_any(&mut reached);
    }
    reached.last().copied()
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
