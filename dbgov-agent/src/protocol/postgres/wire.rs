//! The bytes of message bodies (PostgreSQL documentation, "Message Data Types").

use super::limits::{
    LARGE_MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PASSWORD_MESSAGE_BYTES_MAX, SMALL_MESSAGE_BYTES_MAX,
};
use crate::protocol::ServerError;

use super::text::ClientEncoding;

/// Type byte and length word.
pub(super) const HEADER_BYTES: usize = 5;

/// Name of a prepared statement or portal, cut as the server cuts it.
pub(super) type Name = Box<[u8]>;

pub(super) fn name(bytes: &[u8]) -> Name {
    bytes[..bytes.len().min(NAME_BYTES_MAX)].into()
}

/// Reads a body front to back; `None` where it is too short.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*head))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A string without its terminator.
    pub(super) fn cstr(&mut self) -> Option<&'a [u8]> {
        let end = nul(self.0)?;
        let head = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(head)
    }
}

/// Where the first zero byte is.
pub(super) fn nul(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == 0)
}

/// The longest length word the server takes for a frontend message of this kind (`SocketBackend` in postgres.c);
/// `None` for a kind it does not know.
pub(super) fn request_length_max(kind: u8) -> Option<u32> {
    match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Some(LARGE_MESSAGE_BYTES_MAX),
        b'D' | b'E' | b'C' | b'S' | b'H' | b'c' | b'f' | b'X' => Some(SMALL_MESSAGE_BYTES_MAX),
        b'p' => Some(PASSWORD_MESSAGE_BYTES_MAX),
        _ => None,
    }
}

/// ErrorResponse ("Error and Notice Message Fields"). A body cut short gives the fields that are there.
pub(super) fn server_error(body: &[u8], encoding: &ClientEncoding) -> ServerError {
    let mut error = ServerError::default();
    let mut localized = String::new();
    let mut rest = body;
    while let Some((&field, tail)) = rest.split_first() {
        if field == 0 {
            break;
        }
        let end = nul(tail).unwrap_or(tail.len());
        let value = || encoding.decode_head(&tail[..end]).0;
        match field {
            b'S' => localized = value(),
            b'V' => error.severity = value(),
            b'C' => error.code = value(),
            b'M' => error.message = value(),
            _ => {}
        }
        rest = tail.get(end + 1..).unwrap_or_default();
    }
    // Servers before 9.6 send only the localized severity.
    if error.severity.is_empty() {
        error.severity = localized;
    }
    error
}

/// The session is over after this error.
pub(super) fn is_fatal(error: &ServerError) -> bool {
    matches!(error.severity.as_str(), "FATAL" | "PANIC")
}

/// Rows in a command tag: its last word where that is a number (`INSERT 0 5`, `SELECT 3`).
pub(super) fn tag_rows(tag: &str) -> Option<u64> {
    let (_, last) = tag.rsplit_once(' ')?;
    last.parse().ok()
}
