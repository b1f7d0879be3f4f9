//! float4 and float8 as PostgreSQL writes them since version 12: the shortest text that reads back as the same value
//! (documentation, 8.1.3 "Floating-Point Types", extra_float_digits = 1).

use std::fmt::Write;

/// A binary floating point format, and from which decimal exponent on its values are written with an `e` (`d2s.c` and
/// `f2s.c`, after printf's %g).
struct Format {
    significand_bits: u32,
    fixed_exponent_end: i32,
}

const FLOAT4: Format = Format {
    significand_bits: 24,
    fixed_exponent_end: 6,
};
const FLOAT8: Format = Format {
    significand_bits: 53,
    fixed_exponent_end: 15,
};

/// Below this decimal exponent too.
const FIXED_EXPONENT_MIN: i32 = -4;

/// Decimal digits after the first that tell any float8 from its neighbours.
const FRACTION_DIGITS_MAX: usize = 16;

pub(super) fn write_float4(value: f32, out: &mut String) -> Option<()> {
    let reads_back = |text: &str| text.parse() == Ok(value.abs());
    write(
        value.into(),
        &format!("{value:e}"),
        reads_back,
        &FLOAT4,
        out,
    )
}

pub(super) fn write_float8(value: f64, out: &mut String) -> Option<()> {
    let reads_back = |text: &str| text.parse() == Ok(value.abs());
    write(value, &format!("{value:e}"), reads_back, &FLOAT8, out)
}

fn write(
    value: f64,
    shortest: &str,
    reads_back: impl Fn(&str) -> bool,
    format: &Format,
    out: &mut String,
) -> Option<()> {
    if value.is_nan() {
        out.push_str("NaN");
        return Some(());
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        out.push_str("Infinity");
        return Some(());
    }
    let value = value.abs();
    let shortest = shortest.trim_start_matches('-');
    let fraction_digits = Decimal::parse(shortest)?.digits.len() - 1;
    // Of two shortest equally near, PostgreSQL takes the even one, as rounding to that many digits does and Rust's
    // shortest form does not; below a power of two, though, the rounded one may be another value's. And PostgreSQL does
    // not rely on readers that round halves to even: one digit more, then.
    let rounded = format!("{value:.fraction_digits$e}");
    let longer = (fraction_digits + 1..=FRACTION_DIGITS_MAX)
        .map(|fraction_digits| format!("{value:.fraction_digits$e}"));
    let decimal = [rounded, shortest.to_owned()]
        .into_iter()
        .chain(longer)
        .filter(|text| reads_back(text))
        .filter_map(|text| Decimal::parse(&text))
        .find(|decimal| !decimal.is_halfway(value, format))?;
    decimal.write(format, out)
}

/// `digits[0].digits[1..]` times ten to the exponent.
struct Decimal {
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// From Rust's `{:e}`.
    fn parse(scientific: &str) -> Option<Self> {
        let (digits, exponent) = scientific.split_once('e')?;
        let mut digits = digits.replace('.', "");
        digits.truncate(digits.trim_end_matches('0').len().max(1));
        Some(Decimal {
            digits,
            exponent: exponent.parse().ok()?,
        })
    }

    /// Whether it lies exactly between the value and one of its neighbours. Only integers beyond the significand can.
    fn is_halfway(&self, value: f64, format: &Format) -> bool {
        if !((1_u64 << format.significand_bits) as f64..2_f64.powi(127)).contains(&value) {
            return false;
        }
        let exact = value as u128;
        let half_step = 1_u128 << (exact.ilog2() - format.significand_bits);
        let Some(decimal) = self.to_integer() else {
            return false;
        };
        let distance = decimal.abs_diff(exact);
        // Below a power of two the neighbour is half as far.
        let is_short_step = decimal < exact && exact.is_power_of_two();
        distance << u32::from(is_short_step) == half_step
    }

    fn to_integer(&self) -> Option<u128> {
        let digits: u128 = self.digits.parse().ok()?;
        let fraction_digits = i32::try_from(self.digits.len()).ok()? - 1;
        let zeros = u32::try_from(self.exponent - fraction_digits).ok()?;
        digits.checked_mul(10_u128.checked_pow(zeros)?)
    }

    fn write(&self, format: &Format, out: &mut String) -> Option<()> {
        let point = usize::try_from(self.exponent + 1);
        let digits = &*self.digits;
        if !(FIXED_EXPONENT_MIN..format.fixed_exponent_end).contains(&self.exponent) {
            let (first, fraction) = digits.split_at_checked(1)?;
            let dot = if fraction.is_empty() { "" } else { "." };
            let sign = if self.exponent < 0 { '-' } else { '+' };
            let exponent = self.exponent.unsigned_abs();
            write!(out, "{first}{dot}{fraction}e{sign}{exponent:02}").ok()
        } else {
            match point {
                Ok(integer_digits) if integer_digits >= digits.len() => {
                    write!(out, "{digits:0<integer_digits$}").ok()
                }
                Ok(integer_digits) if integer_digits > 0 => {
                    let (integer, fraction) = digits.split_at_checked(integer_digits)?;
                    write!(out, "{integer}.{fraction}").ok()
                }
                _ => {
                    let width = digits.len() + usize::try_from(-1 - self.exponent).ok()?;
                    write!(out, "0.{digits:0>width$}").ok()
                }
            }
        }
    }
}
