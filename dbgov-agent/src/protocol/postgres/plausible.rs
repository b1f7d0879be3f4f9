//! Whether bytes can be what a client sends at the start of its turn. Used to find the first message boundary of a
//! request stream that is out of step: a wrong guess would invent statements, so the whole input has to fit.

use super::args::Args;
use super::limits::Limits;
use super::wire::{HEADER_BYTES, Reader, nul, request_length_max};

/// A chain of whole, well-formed messages, the last of which may be incomplete.
pub(super) fn is_chain(mut bytes: &[u8]) -> bool {
    let mut whole = 0;
    while !bytes.is_empty() {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            // Part of a header: believed only behind a message.
            return whole > 0 && starts_turn(bytes[0]);
        };
        let [kind, length @ ..] = *header;
        let length = u32::from_be_bytes(length);
        let fits = request_length_max(kind).is_some_and(|max| (4..=max).contains(&length));
        if !fits || !starts_turn(kind) {
            return false;
        }
        let Some((body, behind)) = rest.split_at_checked(length as usize - 4) else {
            return is_beginning(kind, rest);
        };
        if !is_body(kind, body) {
            return false;
        }
        whole += 1;
        bytes = behind;
    }
    whole > 0
}

/// Kinds a client sends when the server waits for it; COPY data and passwords come at other times.
fn starts_turn(kind: u8) -> bool {
    matches!(
        kind,
        b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'F' | b'X'
    )
}

fn is_body(kind: u8, body: &[u8]) -> bool {
    let mut reader = Reader(body);
    let fits = match kind {
        b'Q' => reader.cstr().is_some(),
        b'P' => parse(&mut reader).is_some(),
        b'B' | b'F' => return is_args(kind, body),
        b'E' => reader.cstr().is_some() && reader.u32().is_some(),
        b'D' | b'C' => matches!(reader.u8(), Some(b'S' | b'P')) && reader.cstr().is_some(),
        _ => true,
    };
    fits && reader.0.is_empty()
}

fn parse(reader: &mut Reader<'_>) -> Option<()> {
    reader.cstr()?;
    reader.cstr()?;
    let types = reader.u16()?;
    reader.bytes(4 * usize::from(types))?;
    Some(())
}

fn is_args(kind: u8, body: &[u8]) -> bool {
    let limits = Limits {
        param_bytes_max: 0,
        params_bytes_max: 0,
        ..Limits::default()
    };
    let mut args = if kind == b'B' {
        Args::bind(&limits)
    } else {
        Args::function_call(&limits)
    };
    args.push(body);
    args.is_complete()
}

/// The kinds that may be long, and no end of a text in a Query that has not ended.
fn is_beginning(kind: u8, body: &[u8]) -> bool {
    match kind {
        b'Q' => nul(body).is_none() && !body.is_empty(),
        b'P' | b'B' | b'F' => !body.is_empty(),
        _ => false,
    }
}
