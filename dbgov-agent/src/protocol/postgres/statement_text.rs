//! Statement texts of any length in bounded memory: the head, the length and a SHA-256 of all of it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::limits::NAME_BYTES_MAX;
use super::text::ClientEncoding;
use super::wire::{Name, Reader, nul};
use crate::protocol::Text;

/// Looks at the bytes of a text of which only the head is kept.
pub trait TailTrigger: Send + Sync {
    /// The state before a text.
    fn start(&self) -> u16;
    /// The state after these bytes.
    fn run(&self, state: u16, bytes: &[u8]) -> u16;
    fn is_hit(&self, state: u16) -> bool;
}

/// A text that comes in pieces.
pub(super) struct TextBuilder {
    head: Vec<u8>,
    bytes: u64,
    bytes_max: usize,
    /// Over all bytes so far, from the moment there are more than are kept.
    hash: Option<Sha256>,
    trigger: Option<(Arc<dyn TailTrigger>, u16)>,
}

impl TextBuilder {
    pub(super) fn new(bytes_max: usize, trigger: Option<Arc<dyn TailTrigger>>) -> Self {
        TextBuilder {
            head: Vec::new(),
            bytes: 0,
            bytes_max,
            hash: None,
            trigger: trigger.map(|trigger| {
                let start = trigger.start();
                (trigger, start)
            }),
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let room = self.bytes_max - self.head.len();
        if self.hash.is_none() && piece.len() > room {
            self.hash = Some(Sha256::new_with_prefix(&self.head));
            // A word may begin in the head and end behind it.
            if let Some((trigger, state)) = &mut self.trigger {
                *state = trigger.run(*state, &self.head);
            }
        }
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
            if let Some((trigger, state)) = &mut self.trigger {
                *state = trigger.run(*state, piece);
            }
        }
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    pub(super) fn finish(self, encoding: &ClientEncoding) -> Arc<Text> {
        let (text, lossy) = match self.hash {
            None => encoding.decode(&self.head),
            Some(_) => encoding.decode_head(&self.head),
        };
        let tail_hit = self.hash.is_some()
            && self.trigger.is_none_or(|(trigger, state)| {
                // A word may end with the text.
                trigger.is_hit(trigger.run(state, &[0]))
            });
        Arc::new(Text {
            text: text.into_boxed_str(),
            bytes: self.bytes,
            truncated: self.hash.is_some(),
            lossy,
            tail_hit,
            sha256: self.hash.map(|hash| hash.finalize().into()),
            encoding: (!encoding.is_utf8()).then(|| encoding.name().clone()),
        })
    }
}

/// A text that lies before us whole.
pub(super) fn text_of(
    bytes: &[u8],
    bytes_max: usize,
    trigger: &Option<Arc<dyn TailTrigger>>,
    encoding: &ClientEncoding,
) -> Arc<Text> {
    if bytes.len() > bytes_max {
        let mut builder = TextBuilder::new(bytes_max, trigger.clone());
        builder.push(bytes);
        return builder.finish(encoding);
    }
    let (text, lossy) = encoding.decode(bytes);
    Arc::new(Text {
        text: text.into_boxed_str(),
        bytes: bytes.len() as u64,
        truncated: false,
        lossy,
        tail_hit: false,
        sha256: None,
        encoding: (!encoding.is_utf8()).then(|| encoding.name().clone()),
    })
}

/// A Query body in pieces. The text ends at its first zero byte, as for the server.
pub(super) struct QueryBuilder {
    text: TextBuilder,
    ended: bool,
}

impl QueryBuilder {
    pub(super) fn new(bytes_max: usize, trigger: Option<Arc<dyn TailTrigger>>) -> Self {
        QueryBuilder {
            text: TextBuilder::new(bytes_max, trigger),
            ended: false,
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.ended {
            return;
        }
        let end = nul(piece);
        self.ended = end.is_some();
        self.text.push(&piece[..end.unwrap_or(piece.len())]);
    }

    pub(super) fn finish(self, encoding: &ClientEncoding) -> Arc<Text> {
        self.text.finish(encoding)
    }
}

/// What a Parse message says.
pub(super) struct Parsed {
    pub(super) name: Name,
    /// Length of the name on the wire without its terminator.
    pub(super) name_bytes: u64,
    pub(super) text: Arc<Text>,
    /// Parameter types the client declared; 0 leaves one to the server.
    pub(super) types: Vec<u32>,
}

impl Parsed {
    /// A Parse body that lies before us whole.
    pub(super) fn read(
        body: &[u8],
        bytes_max: usize,
        trigger: &Option<Arc<dyn TailTrigger>>,
        encoding: &ClientEncoding,
    ) -> Self {
        let mut reader = Reader(body);
        let Some(name) = reader.cstr() else {
            return Self::read(&[0], bytes_max, trigger, encoding);
        };
        let text = match reader.cstr() {
            Some(text) => text,
            None => std::mem::take(&mut reader.0),
        };
        Parsed {
            name: super::wire::name(name),
            name_bytes: name.len() as u64,
            text: text_of(text, bytes_max, trigger, encoding),
            types: read_types(reader.0),
        }
    }
}

/// Counted list of type oids, as far as it is there.
pub(super) fn read_types(bytes: &[u8]) -> Vec<u32> {
    let mut reader = Reader(bytes);
    let count = usize::from(reader.u16().unwrap_or(0));
    let mut types = Vec::with_capacity(count.min(reader.0.len() / 4));
    while types.len() < count {
        let Some(oid) = reader.u32() else { break };
        types.push(oid);
    }
    types
}

/// Bytes of a counted list of type oids: the count is 16 bits wide.
const TYPE_LIST_BYTES_MAX: usize = 2 + 4 * u16::MAX as usize;

/// A Parse body in pieces: name, text, type oids.
pub(super) struct ParseBuilder {
    /// Strings that have ended so far.
    ended: u8,
    name: Vec<u8>,
    /// Length of the name on the wire.
    name_bytes: u64,
    text: TextBuilder,
    types: Vec<u8>,
}

impl ParseBuilder {
    pub(super) fn new(bytes_max: usize, trigger: Option<Arc<dyn TailTrigger>>) -> Self {
        ParseBuilder {
            ended: 0,
            name: Vec::new(),
            name_bytes: 0,
            text: TextBuilder::new(bytes_max, trigger),
            types: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while self.ended < 2 {
            let end = nul(piece);
            let part = &piece[..end.unwrap_or(piece.len())];
            if self.ended == 0 {
                self.name_bytes += part.len() as u64;
                let room = NAME_BYTES_MAX - self.name.len();
                self.name.extend_from_slice(&part[..part.len().min(room)]);
            } else {
                self.text.push(part);
            }
            let Some(end) = end else { return };
            self.ended += 1;
            piece = &piece[end + 1..];
        }
        let room = TYPE_LIST_BYTES_MAX - self.types.len();
        self.types
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    pub(super) fn finish(self, encoding: &ClientEncoding) -> Parsed {
        // A body that ends within its name has no text: whole and in pieces alike.
        Parsed {
            name: if self.ended == 0 {
                Name::default()
            } else {
                self.name.into()
            },
            name_bytes: self.name_bytes,
            text: self.text.finish(encoding),
            types: read_types(&self.types),
        }
    }
}
