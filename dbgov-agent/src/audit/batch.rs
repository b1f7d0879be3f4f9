//! Bodies of records on their way to the journal's thread: one piece of memory, used again and again.

use super::body::{Body, Parts, Renderer};
use super::record::Record;

/// Largest memory kept for the next batch, bytes; what a long statement made larger is given back.
const KEPT_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Default)]
pub(super) struct Batch {
    bodies: Vec<Body>,
    bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn push(&mut self, record: &Record, renderer: &mut Renderer) {
        self.bodies.push(renderer.body(record, &mut self.bytes));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Length of all bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Each body and the bytes it begins.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Body, &[u8])> {
        let mut rest = &self.bytes[..];
        self.bodies.iter().map(move |body| {
            let (bytes, behind) = rest.split_at(body.parts.map_or(0, Parts::len));
            rest = behind;
            (body, bytes)
        })
    }

    pub(super) fn clear(&mut self) {
        self.bodies.clear();
        self.bytes.clear();
    }

    /// Not made unusually large by what it held.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.bytes.capacity() + self.bodies.capacity() * size_of::<Body>() <= KEPT_BYTES_MAX
    }
}
