//! Arrays (documentation, 8.15 "Arrays"; the binary form is in `array_send` of `src/backend/utils/adt/arrayfuncs.c`):
//! count of dimensions, whether there are NULLs, the element type, a length and a lower bound for each dimension, then
//! each element with its length, -1 for NULL.

use std::fmt::Write;

use super::reader::Reader;

/// MAXDIM of PostgreSQL.
const DIMENSIONS_MAX: i32 = 6;

/// A value of a few bytes can be long as text (numeric), and an array has many: beyond this it is not worth having.
/// The longest numeric alone is 150 KB.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Writes one element's text.
pub(super) type WriteElement<'f> = &'f dyn Fn(&[u8], &mut String) -> Option<()>;

struct Shape {
    lengths: Vec<usize>,
    lower_bounds: Vec<i32>,
    item_count: usize,
}

/// `{1,NULL,"a b"}`, in front of it `[0:2]=` where a lower bound is not 1.
pub(super) fn write_array(
    mut reader: Reader<'_>,
    element_oid: u32,
    write_element: WriteElement<'_>,
    out: &mut String,
) -> Option<()> {
    let shape = read_shape(&mut reader, element_oid)?;
    if shape.item_count == 0 {
        reader.end()?;
        out.push_str("{}");
        return Some(());
    }
    write_bounds(&shape, out)?;
    let mut item = String::new();
    for index in 0..shape.item_count {
        if index > 0 {
            let closed = boundaries(&shape.lengths, index);
            push_times(out, '}', closed);
            out.push(',');
            push_times(out, '{', closed);
        } else {
            push_times(out, '{', shape.lengths.len());
        }
        item.clear();
        match read_item(&mut reader)? {
            Some(bytes) => {
                write_element(bytes, &mut item)?;
                push_quoted(&item, out);
            }
            None => out.push_str("NULL"),
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return None;
        }
    }
    push_times(out, '}', shape.lengths.len());
    reader.end()
}

/// int2vector and oidvector: one dimension from 0, no NULLs, written with spaces.
pub(super) fn write_vector(
    mut reader: Reader<'_>,
    element_oid: u32,
    write_element: WriteElement<'_>,
    out: &mut String,
) -> Option<()> {
    let shape = read_shape(&mut reader, element_oid)?;
    if shape.lengths.len() != 1 || shape.lower_bounds != [0] {
        return None;
    }
    for index in 0..shape.item_count {
        if index > 0 {
            out.push(' ');
        }
        write_element(read_item(&mut reader)??, out)?;
    }
    reader.end()
}

fn read_shape(reader: &mut Reader<'_>, element_oid: u32) -> Option<Shape> {
    let dimensions = reader.i32()?;
    let flags = reader.i32()?;
    let is_plausible = (0..=DIMENSIONS_MAX).contains(&dimensions) && matches!(flags, 0 | 1);
    if !is_plausible || reader.u32()? != element_oid {
        return None;
    }
    let mut shape = Shape {
        lengths: Vec::new(),
        lower_bounds: Vec::new(),
        item_count: usize::from(dimensions > 0),
    };
    for _ in 0..dimensions {
        let length = usize::try_from(reader.i32()?).ok()?;
        shape.item_count = shape.item_count.checked_mul(length)?;
        shape.lengths.push(length);
        shape.lower_bounds.push(reader.i32()?);
    }
    // Each item has a length of four bytes at least: more of them than that were never sent.
    (shape.item_count <= reader.rest().len() / 4).then_some(shape)
}

/// The next item's bytes; the inner `None` is NULL.
fn read_item<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    match reader.i32()? {
        -1 => Some(None),
        length => reader.bytes(usize::try_from(length).ok()?).map(Some),
    }
}

fn write_bounds(shape: &Shape, out: &mut String) -> Option<()> {
    if shape.lower_bounds.iter().all(|bound| *bound == 1) {
        return Some(());
    }
    for (length, lower) in shape.lengths.iter().zip(&shape.lower_bounds) {
        let upper = i64::from(*lower) + i64::try_from(*length).ok()? - 1;
        write!(out, "[{lower}:{upper}]").ok()?;
    }
    out.push('=');
    Some(())
}

/// How many inner dimensions end in front of the item.
fn boundaries(lengths: &[usize], index: usize) -> usize {
    let mut block = 1_usize;
    let inner = lengths.get(1..).unwrap_or_default();
    let ends = inner.iter().rev().take_while(|length| {
        block = block.saturating_mul(**length);
        block != 0 && index.is_multiple_of(block)
    });
    ends.count()
}

fn push_times(out: &mut String, c: char, times: usize) {
    out.extend(std::iter::repeat_n(c, times));
}

/// array_out quotes what array_in would not read back: empty, NULL, white space, braces, comma, quote, backslash.
fn push_quoted(item: &str, out: &mut String) {
    let is_special = |c| {
        matches!(
            c,
            '"' | '\\' | '{' | '}' | ',' | ' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C'
        )
    };
    if !item.is_empty() && !item.eq_ignore_ascii_case("NULL") && !item.contains(is_special) {
        out.push_str(item);
        return;
    }
    out.push('"');
    for c in item.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
