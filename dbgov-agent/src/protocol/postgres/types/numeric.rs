//! numeric (documentation, 8.1.2 "Arbitrary Precision Numbers"; the binary form is in `numeric_send` of
//! `src/backend/utils/adt/numeric.c`): count of digits, weight of the first, sign, display scale, digits in base 10000.

use std::fmt::Write;

use super::reader::Reader;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Largest display scale (NUMERIC_DSCALE_MASK): what keeps a hostile one from costing more.
const SCALE_MAX: u16 = 0x3FFF;

const BASE: u16 = 10_000;
const DECIMALS_PER_DIGIT: usize = 4;

/// At most about 150 KB long: 32,768 digits before the point, [`SCALE_MAX`] decimals behind it.
pub(super) fn write_numeric(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let digit_count = reader.u16()?;
    let weight = i32::from(reader.i16()?);
    let sign = reader.u16()?;
    let scale = reader.u16()?;
    let raw = reader.bytes(usize::from(digit_count) * 2)?;
    reader.end()?;
    let mut digits = Vec::with_capacity(usize::from(digit_count));
    for pair in raw.as_chunks::<2>().0 {
        let digit = u16::from_be_bytes(*pair);
        if digit >= BASE {
            return None;
        }
        digits.push(digit);
    }
    match sign {
        NAN => out.push_str("NaN"),
        INFINITY => out.push_str("Infinity"),
        NEGATIVE_INFINITY => out.push_str("-Infinity"),
        POSITIVE | NEGATIVE if scale <= SCALE_MAX => {
            write_finite(&digits, weight, sign == NEGATIVE, scale.into(), out)?;
        }
        _ => return None,
    }
    Some(())
}

fn write_finite(
    digits: &[u16],
    weight: i32,
    is_negative: bool,
    scale: usize,
    out: &mut String,
) -> Option<()> {
    // The digit of weight 10000^power; those not sent are zero.
    let digit = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        index
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    let start = out.len();
    // Zeros in front say nothing, so the first digit that counts sets the length.
    let leading_zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let first_power = match leading_zeros {
        all if all == digits.len() => -1,
        some => weight - i32::try_from(some).ok()?,
    };
    if first_power < 0 {
        out.push('0');
    } else {
        write!(out, "{}", digit(first_power)).ok()?;
        for power in (0..first_power).rev() {
            write!(out, "{:04}", digit(power)).ok()?;
        }
    }
    if scale > 0 {
        out.push('.');
        let fraction = out.len();
        let groups = i32::try_from(scale.div_ceil(DECIMALS_PER_DIGIT)).ok()?;
        for power in 1..=groups {
            write!(out, "{:04}", digit(-power)).ok()?;
        }
        // The server truncates what the scale would hide.
        out.truncate(fraction + scale);
    }
    let is_zero = out.get(start..)?.bytes().all(|b| matches!(b, b'0' | b'.'));
    if is_negative && !is_zero {
        out.insert(start, '-');
    }
    Some(())
}
