//! Bind and FunctionCall: their arguments, read as the bytes come, each cut to what the record keeps.

use super::limits::{Limits, NAME_BYTES_MAX};
use super::text::ClientEncoding;
use super::types;
use super::wire::nul;
use crate::chars;

/// Types whose binary form is their text: text, varchar, bpchar, name, unknown, json, xml.
const TEXT_TYPES: [u32; 7] = [25, 1043, 1042, 19, 705, 114, 142];

/// Reading stands before this field ("Message Formats": Bind, FunctionCall).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Portal,
    Statement,
    FunctionOid,
    FormatCount,
    Format,
    ValueCount,
    ValueLength,
    Value,
    /// The format codes of the result, which nothing here needs.
    Rest,
}

#[derive(Debug)]
struct Value {
    start: u32,
    kept: u32,
    null: bool,
    cut: bool,
}

/// The names and arguments of one message.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) portal: Vec<u8>,
    pub(super) statement: Vec<u8>,
    pub(super) function_oid: u32,
    formats_binary: Vec<bool>,
    values: Vec<Value>,
    bytes: Vec<u8>,

    next: Field,
    /// An integer that has begun.
    word: [u8; 4],
    word_len: u8,
    /// Formats or values still to come.
    count: u16,
    /// Bytes of the present value still to come.
    left: u32,
    value_bytes_max: usize,
    bytes_max: usize,
}

impl Args {
    pub(super) fn bind(limits: &Limits) -> Box<Self> {
        Self::starting(Field::Portal, limits)
    }

    pub(super) fn function_call(limits: &Limits) -> Box<Self> {
        Self::starting(Field::FunctionOid, limits)
    }

    fn starting(next: Field, limits: &Limits) -> Box<Self> {
        Box::new(Args {
            portal: Vec::new(),
            statement: Vec::new(),
            function_oid: 0,
            formats_binary: Vec::new(),
            values: Vec::new(),
            bytes: Vec::new(),
            next,
            word: [0; 4],
            word_len: 0,
            count: 0,
            left: 0,
            value_bytes_max: limits.param_bytes_max,
            bytes_max: limits.params_bytes_max,
        })
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.next != Field::Rest {
            match self.next {
                Field::Portal | Field::Statement => self.take_name(&mut piece),
                Field::Value => self.take_value(&mut piece),
                _ => self.take_word(&mut piece),
            }
        }
    }

    /// All values are there.
    pub(super) fn is_complete(&self) -> bool {
        self.next == Field::Rest
    }

    fn take_name(&mut self, piece: &mut &[u8]) {
        let end = nul(piece);
        let part = &piece[..end.unwrap_or(piece.len())];
        let name = if self.next == Field::Portal {
            &mut self.portal
        } else {
            &mut self.statement
        };
        let room = NAME_BYTES_MAX - name.len();
        name.extend_from_slice(&part[..part.len().min(room)]);
        *piece = &piece[end.map_or(piece.len(), |end| end + 1)..];
        if end.is_some() {
            self.next = match self.next {
                Field::Portal => Field::Statement,
                _ => Field::FormatCount,
            };
        }
    }

    fn take_value(&mut self, piece: &mut &[u8]) {
        let count = piece.len().min(self.left as usize);
        let (part, rest) = piece.split_at(count);
        *piece = rest;
        self.left -= count as u32;
        if let Some(value) = self.values.last_mut() {
            let room = (self.value_bytes_max - value.kept as usize)
                .min(self.bytes_max.saturating_sub(self.bytes.len()));
            let kept = count.min(room);
            self.bytes.extend_from_slice(&part[..kept]);
            value.kept += kept as u32;
            value.cut |= kept < count;
        }
        if self.left == 0 {
            self.value_done();
        }
    }

    fn value_done(&mut self) {
        self.count -= 1;
        self.next = if self.count == 0 {
            Field::Rest
        } else {
            Field::ValueLength
        };
    }

    fn take_word(&mut self, piece: &mut &[u8]) {
        let want = match self.next {
            Field::FunctionOid | Field::ValueLength => 4,
            _ => 2,
        };
        while self.word_len < want {
            let Some((&byte, rest)) = piece.split_first() else {
                return;
            };
            self.word[usize::from(self.word_len)] = byte;
            self.word_len += 1;
            *piece = rest;
        }
        self.word_len = 0;
        let [a, b, ..] = self.word;
        let short = u16::from_be_bytes([a, b]);
        match self.next {
            Field::FunctionOid => {
                self.function_oid = u32::from_be_bytes(self.word);
                self.next = Field::FormatCount;
            }
            Field::FormatCount => {
                self.count = short;
                self.next = if short == 0 {
                    Field::ValueCount
                } else {
                    Field::Format
                };
            }
            Field::Format => {
                self.formats_binary.push(short != 0);
                self.count -= 1;
                self.next = if self.count == 0 {
                    Field::ValueCount
                } else {
                    Field::Format
                };
            }
            Field::ValueCount => {
                self.count = short;
                self.next = if short == 0 {
                    Field::Rest
                } else {
                    Field::ValueLength
                };
            }
            _ => self.begin_value(i32::from_be_bytes(self.word)),
        }
    }

    fn begin_value(&mut self, length: i32) {
        self.values.push(Value {
            start: self.bytes.len() as u32,
            kept: 0,
            // -1 is NULL; the server refuses other negative lengths.
            null: length < 0,
            cut: false,
        });
        self.left = length.max(0) as u32;
        if self.left == 0 {
            self.value_done();
        } else {
            self.next = Field::Value;
        }
    }

    /// Memory held, about.
    pub(super) fn cost_bytes(&self) -> usize {
        size_of::<Self>()
            + self.bytes.len()
            + self.values.len() * size_of::<Value>()
            + self.formats_binary.len()
    }

    fn is_binary(&self, index: usize) -> bool {
        // None: all text; one: it holds for all; else one each.
        match self.formats_binary.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(false),
        }
    }

    /// The arguments in text form, and whether one of them is cut.
    pub(super) fn texts(
        &self,
        types: &[u32],
        encoding: &ClientEncoding,
    ) -> (Vec<Option<String>>, bool) {
        let mut any_cut = false;
        let texts = self.values.iter().enumerate().map(|(index, value)| {
            if value.null {
                return None;
            }
            let start = value.start as usize;
            let bytes = &self.bytes[start..start + value.kept as usize];
            let oid = types.get(index).copied().unwrap_or(0);
            let mut text = if value.cut {
                cut_text(bytes, self.is_binary(index), oid, encoding)
            } else if self.is_binary(index) {
                types::binary_param(oid, bytes, encoding)
            } else {
                types::text_param(bytes, encoding)
            };
            any_cut |= value.cut | chars::cut(&mut text, self.value_bytes_max);
            Some(text)
        });
        let texts = texts.collect();
        (texts, any_cut)
    }
}

/// The head of a value. A binary one that lost its end is no value of its type any more: hexadecimal.
fn cut_text(bytes: &[u8], binary: bool, oid: u32, encoding: &ClientEncoding) -> String {
    if binary && !TEXT_TYPES.contains(&oid) {
        types::binary_param(0, bytes, encoding)
    } else {
        encoding.decode_head(bytes).0
    }
}
