//! Response records: the messages that crossed, and what was left out between them.

use dbgov_common as raw;
use dbgov_common::{Header, Mark};

use super::{EventError, payload, read};
use crate::protocol::TimeNs;

/// Response messages with what was left out between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Response<'a> {
    pub cookie: u64,
    pub at: TimeNs,
    /// Sequence numbers of the range the record accounts for.
    pub seq: u32,
    pub seq_end: u32,
    /// What the server has of the request stream.
    pub ack: u32,
    pub lost_bytes: u64,
    /// The record begins at a message boundary.
    pub boundary: bool,
    /// ... found anew after boundaries were lost: what came before is a gap.
    pub resync: bool,
    /// ... because the ring was full.
    pub ring_full: bool,
    marks: [Mark; raw::RESPONSE_MARKS_MAX],
    marks_len: usize,
    data: &'a [u8],
}

/// A piece of a response record, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    Bytes(&'a [u8]),
    /// `bytes` bytes in which `rows` rows began.
    Elided {
        bytes: u64,
        rows: u32,
    },
}

impl<'a> Response<'a> {
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + '_ {
        let marks = &self.marks[..self.marks_len];
        let mut from = 0;
        let between = marks.iter().flat_map(move |mark| {
            let bytes = &self.data[from..mark.at as usize];
            from = mark.at as usize;
            [
                Piece::Bytes(bytes),
                Piece::Elided {
                    bytes: u64::from(mark.bytes),
                    rows: mark.rows,
                },
            ]
        });
        let last = marks.last().map_or(0, |mark| mark.at as usize);
        between
            .chain(std::iter::once(Piece::Bytes(&self.data[last..])))
            .filter(|piece| *piece != Piece::Bytes(&[]))
    }
}

pub(super) fn response<'a>(header: &Header, bytes: &'a [u8]) -> Result<Response<'a>, EventError> {
    let data_at = std::mem::offset_of!(raw::Response, data);
    let data = payload(header, bytes, data_at)?;
    let marks_len = usize::from(header.marks);
    if marks_len > raw::RESPONSE_MARKS_MAX {
        return Err(EventError::Marks);
    }
    let mut marks = [Mark::default(); raw::RESPONSE_MARKS_MAX];
    let mut before = 0;
    for (index, slot) in marks.iter_mut().enumerate().take(marks_len) {
        *slot = read(
            header.kind,
            bytes,
            size_of::<Header>() + index * size_of::<Mark>(),
        )?;
        if slot.at < before || slot.at as usize > data.len() {
            return Err(EventError::Marks);
        }
        before = slot.at;
    }
    Ok(with(header, marks, marks_len, data))
}

/// What was left out is in one piece, behind the first bytes that crossed.
pub(super) fn short<'a>(header: &Header, bytes: &'a [u8]) -> Result<Response<'a>, EventError> {
    let data = payload(
        header,
        bytes,
        std::mem::offset_of!(raw::ResponseShort, data),
    )?;
    let covered = header.seq_end.wrapping_sub(header.seq);
    let left_out = covered.checked_sub(header.len).ok_or(EventError::Marks)?;
    let at = u32::from(header.marks);
    if at > header.len {
        return Err(EventError::Marks);
    }
    let mut marks = [Mark::default(); raw::RESPONSE_MARKS_MAX];
    marks[0] = Mark {
        at,
        rows: header.passed,
        bytes: left_out,
    };
    Ok(with(header, marks, usize::from(left_out > 0), data))
}

fn with<'a>(
    header: &Header,
    marks: [Mark; raw::RESPONSE_MARKS_MAX],
    marks_len: usize,
    data: &'a [u8],
) -> Response<'a> {
    Response {
        cookie: header.cookie,
        at: header.time_boot_ns,
        seq: header.seq,
        seq_end: header.seq_end,
        ack: header.ack,
        lost_bytes: header.lost_bytes,
        boundary: header.flags & raw::FLAG_BOUNDARY != 0,
        resync: header.flags & raw::FLAG_RESYNC != 0,
        ring_full: header.flags & raw::FLAG_RING_FULL != 0,
        marks,
        marks_len,
        data,
    }
}
