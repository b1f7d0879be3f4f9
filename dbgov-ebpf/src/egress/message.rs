//! PostgreSQL's backend messages (documentation, section 55.7): a type byte, a length that counts itself, a body.

use aya_ebpf::programs::SkBuffContext;
use dbgov_common::RESPONSE_BODY_BYTES_MAX;

use crate::packet::load;

/// Type byte and length.
pub const HEADER_BYTES: u32 = 5;
/// A length above is not PostgreSQL's (its largest message is 1 GiB - 1, MaxAllocSize).
const MESSAGE_BYTES_MAX: u32 = 0x4000_0000;
const READY_FOR_QUERY_BYTES: u32 = 6;

pub enum First {
    Message,
    Encrypted,
    Refused,
}

/// PostgreSQL documentation, 55.2.10 and 55.2.11. A server's first message is Authentication, Error or
/// NegotiateProtocolVersion, so `S` and `G` can only be the answer; `N` could be a Notice, whose length begins with 0.
#[inline(always)]
pub fn first_byte(ctx: &SkBuffContext, at: u32, end: u32) -> First {
    match load::<1>(ctx, at) {
        Some([b'S' | b'G' | 0x16]) => First::Encrypted,
        Some([b'N']) if end - at == 1 || load::<1>(ctx, at + 1) != Some([0]) => First::Refused,
        _ => First::Message,
    }
}

/// Where a ReadyForQuery ends the packet, its offset: the next packet begins with a message.
#[inline(always)]
pub fn ready_for_query(ctx: &SkBuffContext, at: u32, end: u32) -> Option<u32> {
    if end - at < READY_FOR_QUERY_BYTES {
        return None;
    }
    let boundary = end - READY_FOR_QUERY_BYTES;
    match load::<6>(ctx, boundary)? {
        [b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E'] => Some(boundary),
        _ => None,
    }
}

/// What crosses of a message.
pub enum Crosses {
    /// Header and so many bytes of the body.
    Head(u32),
    /// Nothing; it counts as a row.
    Row,
    Nothing,
    /// No backend message begins like that.
    Invalid,
}

#[inline(always)]
pub fn crosses(kind: u8, body: u32) -> Crosses {
    let max = match kind {
        b'Z' | b'C' | b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'G' | b'H' | b'W' | b'c'
        | b'E' | b'S' | b't' | b'v' => RESPONSE_BODY_BYTES_MAX,
        // The kind of authentication, never its data; the backend's process id, never its cancel key.
        b'R' | b'K' => 4,
        b'V' => 0,
        b'D' | b'd' => return Crosses::Row,
        b'T' | b'N' | b'A' => return Crosses::Nothing,
        _ => return Crosses::Invalid,
    };
    Crosses::Head(if body < max { body } else { max })
}

/// What crosses of the message with this header, and the length of its body.
#[inline(always)]
pub fn read(header: &[u8; 5]) -> (Crosses, u32) {
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    if !(4..MESSAGE_BYTES_MAX).contains(&length) {
        return (Crosses::Invalid, 0);
    }
    let body = length - 4;
    (crosses(header[0], body), body)
}
