//! Parameters of a Bind to PostgreSQL's text form, as a server with DateStyle ISO, IntervalStyle postgres, bytea_output
//! hex and TimeZone UTC would write them (documentation, chapter 8 "Data Types", and 55.2 on formats).

mod array;
mod datetime;
mod float;
mod network;
mod numeric;
mod oids;
mod reader;

use std::fmt::Write;

use super::text::ClientEncoding;
use array::{write_array, write_vector};
use oids::{Scalar, Type};
use reader::Reader;

/// What jsonb_send and jsonpath_send put in front of their text.
const TEXT_VERSION: u8 = 1;

/// A parameter sent in text format: as it is, but in UTF-8.
pub fn text_param(bytes: &[u8], encoding: &ClientEncoding) -> String {
    encoding.decode(bytes).0
}

/// A parameter sent in binary format. Where its type is not known, or the bytes are not of that type: `\x` and hex.
pub fn binary_param(type_oid: u32, bytes: &[u8], encoding: &ClientEncoding) -> String {
    let mut text = String::new();
    match write_value(type_oid, bytes, encoding, &mut text) {
        Some(()) => text,
        None => format!("\\x{}", hex::encode(bytes)),
    }
}

/// `None`: unknown or malformed, and what has been written means nothing.
fn write_value(
    type_oid: u32,
    bytes: &[u8],
    encoding: &ClientEncoding,
    out: &mut String,
) -> Option<()> {
    let element_writer = |element: Scalar| {
        move |bytes: &[u8], out: &mut String| write_scalar(element, bytes, encoding, out)
    };
    let reader = Reader::new(bytes);
    match oids::lookup(type_oid)? {
        Type::Scalar(scalar) => write_scalar(scalar, bytes, encoding, out),
        Type::Array {
            element_oid,
            element,
        } => write_array(reader, element_oid, &element_writer(element), out),
        Type::Vector {
            element_oid,
            element,
        } => write_vector(reader, element_oid, &element_writer(element), out),
    }
}

fn write_scalar(
    scalar: Scalar,
    bytes: &[u8],
    encoding: &ClientEncoding,
    out: &mut String,
) -> Option<()> {
    let reader = Reader::new(bytes);
    match scalar {
        Scalar::Bool => out.push(if u8::from_be_bytes(exact(bytes)?) != 0 {
            't'
        } else {
            'f'
        }),
        Scalar::Char => write_char(u8::from_be_bytes(exact(bytes)?), out)?,
        Scalar::Int2 => write!(out, "{}", i16::from_be_bytes(exact(bytes)?)).ok()?,
        Scalar::Int4 => write!(out, "{}", i32::from_be_bytes(exact(bytes)?)).ok()?,
        Scalar::Int8 => write!(out, "{}", i64::from_be_bytes(exact(bytes)?)).ok()?,
        Scalar::Oid => write!(out, "{}", u32::from_be_bytes(exact(bytes)?)).ok()?,
        Scalar::Xid8 => write!(out, "{}", u64::from_be_bytes(exact(bytes)?)).ok()?,
        Scalar::Tid => write_tid(reader, out)?,
        Scalar::Float4 => float::write_float4(f32::from_be_bytes(exact(bytes)?), out)?,
        Scalar::Float8 => float::write_float8(f64::from_be_bytes(exact(bytes)?), out)?,
        Scalar::Numeric => numeric::write_numeric(reader, out)?,
        Scalar::Text => out.push_str(&encoding.decode(bytes).0),
        Scalar::Xml => write_xml(bytes, encoding, out),
        Scalar::VersionedText => match bytes.split_first()? {
            (&TEXT_VERSION, text) => out.push_str(&encoding.decode(text).0),
            _ => return None,
        },
        Scalar::Bytea => write!(out, "\\x{}", hex::encode(bytes)).ok()?,
        Scalar::Uuid => write_uuid(exact(bytes)?, out)?,
        Scalar::Date => datetime::write_date(i32::from_be_bytes(exact(bytes)?), out)?,
        Scalar::Time => datetime::write_time(i64::from_be_bytes(exact(bytes)?), out)?,
        Scalar::TimeTz => datetime::write_timetz(reader, out)?,
        Scalar::Timestamp => {
            datetime::write_timestamp(i64::from_be_bytes(exact(bytes)?), "", out)?;
        }
        Scalar::TimestampTz => {
            datetime::write_timestamp(i64::from_be_bytes(exact(bytes)?), "+00", out)?;
        }
        Scalar::Interval => datetime::write_interval(reader, out)?,
        Scalar::Inet => network::write_inet(reader, out)?,
        Scalar::MacAddr => network::write_mac(&exact::<6>(bytes)?, out)?,
        Scalar::MacAddr8 => network::write_mac(&exact::<8>(bytes)?, out)?,
        Scalar::Bit => write_bits(reader, out)?,
        Scalar::Point => write_point(reader, out)?,
        Scalar::PgLsn => {
            let lsn = u64::from_be_bytes(exact(bytes)?);
            write!(out, "{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF).ok()?;
        }
    }
    Some(())
}

fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// `"char"` (8.3): empty for 0, the byte itself where it is ASCII, else a backslash and octal digits as since version 16.
fn write_char(byte: u8, out: &mut String) -> Option<()> {
    match byte {
        0 => Some(()),
        1..=0x7F => write!(out, "{}", char::from(byte)).ok(),
        0x80.. => write!(out, "\\{byte:03o}").ok(),
    }
}

/// Block number and offset in it.
fn write_tid(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    write!(out, "({},{})", reader.u32()?, reader.u16()?).ok()?;
    reader.end()
}

/// xml_recv takes a document that declares no encoding for UTF-8, whatever the client's is.
fn write_xml(bytes: &[u8], encoding: &ClientEncoding, out: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => out.push_str(&encoding.decode(bytes).0),
    }
}

fn write_uuid(bytes: [u8; 16], out: &mut String) -> Option<()> {
    for (index, byte) in bytes.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) {
            "-"
        } else {
            ""
        };
        write!(out, "{dash}{byte:02x}").ok()?;
    }
    Some(())
}

/// bit and bit varying (8.10): length in bits, then the bits from the left.
fn write_bits(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let bit_count = usize::try_from(reader.i32()?).ok()?;
    let bytes = reader.rest();
    if bit_count.div_ceil(8) != bytes.len() {
        return None;
    }
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1));
    out.extend(
        bits.take(bit_count)
            .map(|bit| if bit == 1 { '1' } else { '0' }),
    );
    Some(())
}

fn write_point(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let (x, y) = (reader.array()?, reader.array()?);
    reader.end()?;
    out.push('(');
    float::write_float8(f64::from_be_bytes(x), out)?;
    out.push(',');
    float::write_float8(f64::from_be_bytes(y), out)?;
    out.push(')');
    Some(())
}

#[cfg(test)]
mod tests;
