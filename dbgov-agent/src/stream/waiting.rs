//! The out-of-order data of one direction: pieces that do not overlap, in order of their position.

use std::collections::BTreeMap;

use crate::protocol::{GapCause, TimeNs};

/// What is known of a stretch of the stream.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// The packet came, this many of its bytes were not captured.
    Absent(u64, GapCause),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Absent(bytes, _) => *bytes,
        }
    }

    /// The part `[from, to)` of it, counted from its beginning.
    fn part(&self, from: u64, to: u64) -> Content {
        match self {
            Content::Bytes(bytes) => Content::Bytes(bytes[from as usize..to as usize].to_vec()),
            Content::Absent(_, cause) => Content::Absent(to - from, *cause),
        }
    }
}

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: TimeNs,
    pub(super) content: Content,
    /// Where the segment began and ended that this piece is (the rest) of.
    segment: (u64, u64),
}

/// Which copy of a byte the application gets, when segments that wait for a hole overlap with different content?
///
/// Linux (`tcp_data_queue_ofo`) drops a segment that lies within a queued one, drops queued ones that lie within the new
/// one, and reads what still overlaps in order of the segments' first bytes. So of two copies of a byte the one in the
/// segment that begins earlier wins, at the same beginning the longer, else the first; and a segment that begins where
/// a queued one ends becomes part of it. A wire monitor that decides otherwise can be shown other statements than the
/// server executes, so this list decides as the server's kernel does.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Payload bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn first_start(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(start, _)| *start)
    }

    /// Where the last piece ends.
    pub(super) fn end(&self) -> Option<u64> {
        let (start, piece) = self.pieces.last_key_value()?;
        Some(start + piece.content.len())
    }

    /// When the oldest of the pieces came.
    pub(super) fn since(&self) -> Option<TimeNs> {
        self.pieces.values().map(|piece| piece.at).min()
    }

    /// Takes the first piece if it begins at or before `position`.
    pub(super) fn pop_until(&mut self, position: u64) -> Option<(u64, Piece)> {
        let first = self.pieces.first_entry()?;
        if *first.key() > position {
            return None;
        }
        let (start, piece) = first.remove_entry();
        if let Content::Bytes(bytes) = &piece.content {
            self.bytes -= bytes.len();
        }
        Some((start, piece))
    }

    /// How many bytes of a segment at `start` differ from the copies that wait here.
    pub(super) fn conflicts(&self, start: u64, segment: &[u8]) -> u64 {
        let end = start + segment.len() as u64;
        let mut differing = 0;
        for (held, piece) in self.overlapping(start, end) {
            if let Content::Bytes(bytes) = &piece.content {
                let (from, to) = (start.max(held), end.min(held + bytes.len() as u64));
                let mine = &segment[(from - start) as usize..(to - start) as usize];
                let theirs = &bytes[(from - held) as usize..(to - held) as usize];
                differing += mine.iter().zip(theirs).filter(|(a, b)| a != b).count() as u64;
            }
        }
        differing
    }

    /// Keeps the bytes of a segment that the rule above gives to it; returns how many it did not get.
    pub(super) fn insert(&mut self, at: TimeNs, start: u64, bytes: &[u8]) -> u64 {
        let end = start + bytes.len() as u64;
        self.remove_beaten(start, end);
        if self.append(at, start, bytes) {
            return 0;
        }
        let mut kept = 0;
        for (from, to) in self.holes(start, end) {
            let part = bytes[(from - start) as usize..(to - start) as usize].to_vec();
            kept += part.len();
            self.put(from, at, Content::Bytes(part), (start, end));
        }
        (bytes.len() - kept) as u64
    }

    /// Notes that `[start, end)` was on the wire but was not captured. What is known of it stays.
    pub(super) fn insert_absent(&mut self, at: TimeNs, start: u64, end: u64, cause: GapCause) {
        for (from, to) in self.holes(start, end) {
            // A segment that begins this late loses against every copy that has bytes.
            self.put(
                from,
                at,
                Content::Absent(to - from, cause),
                (u64::MAX, u64::MAX),
            );
        }
    }

    /// A segment that begins where a waiting one ends becomes part of it (the common case: one packet is missing and
    /// all the following wait for it).
    fn append(&mut self, at: TimeNs, start: u64, bytes: &[u8]) -> bool {
        let end = start + bytes.len() as u64;
        if self.overlapping(start, end).next().is_some() {
            return false;
        }
        let Some((held, piece)) = self.pieces.range_mut(..start).next_back() else {
            return false;
        };
        match &mut piece.content {
            Content::Bytes(waiting)
                if held + waiting.len() as u64 == start && piece.segment.1 == start =>
            {
                waiting.extend_from_slice(bytes);
                piece.segment.1 = end;
                piece.at = piece.at.max(at);
                self.bytes += bytes.len();
                true
            }
            _ => false,
        }
    }

    /// Removes what a new segment `[start, end)` takes away from the pieces.
    fn remove_beaten(&mut self, start: u64, end: u64) {
        let beaten: Vec<u64> = self
            .overlapping(start, end)
            .filter(|(_, piece)| {
                let (first, last) = piece.segment;
                start < first || (start == first && end > last)
            })
            .map(|(held, _)| held)
            .collect();
        for held in beaten {
            let Some(piece) = self.take(held) else {
                continue;
            };
            let held_end = held + piece.content.len();
            if held < start {
                let rest = piece.content.part(0, start - held);
                self.put(held, piece.at, rest, piece.segment);
            }
            if held_end > end {
                let rest = piece.content.part(end - held, held_end - held);
                self.put(end, piece.at, rest, piece.segment);
            }
        }
    }

    /// The parts of `[start, end)` that no piece covers.
    fn holes(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut from = start;
        for (held, piece) in self.overlapping(start, end) {
            if held > from {
                holes.push((from, held));
            }
            from = held + piece.content.len();
        }
        if from < end {
            holes.push((from, end));
        }
        holes
    }

    /// Pieces that share a byte with `[start, end)`. Pieces do not overlap: only the last that begins before `start`
    /// can reach into it.
    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Piece)> {
        let before = self.pieces.range(..start).next_back();
        before
            .into_iter()
            .filter(move |(held, piece)| *held + piece.content.len() > start)
            .chain(self.pieces.range(start..end))
            .map(|(held, piece)| (*held, piece))
    }

    fn put(&mut self, start: u64, at: TimeNs, content: Content, segment: (u64, u64)) {
        if let Content::Bytes(bytes) = &content {
            self.bytes += bytes.len();
        }
        let piece = Piece {
            at,
            content,
            segment,
        };
        self.pieces.insert(start, piece);
    }

    fn take(&mut self, start: u64) -> Option<Piece> {
        let piece = self.pieces.remove(&start)?;
        if let Content::Bytes(bytes) = &piece.content {
            self.bytes -= bytes.len();
        }
        Some(piece)
    }
}
