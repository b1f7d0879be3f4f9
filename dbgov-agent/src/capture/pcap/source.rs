//! The bytes of a capture file, read in checked pieces.

use std::io::{self, Read};

use super::PcapError;

/// How much of a piece was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    Whole,
    /// The file ends before its first byte.
    Nothing,
    /// The file ends in it.
    Part,
}

pub(super) struct Source<R> {
    reader: R,
    /// Number of the packet that is read now, from 1.
    pub(super) packet: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Source { reader, packet: 1 }
    }

    /// Replaces the content of `buffer` by the next `bytes` of the file. Memory grows with what is there, not with what
    /// is asked for.
    pub(super) fn read(&mut self, bytes: u32, buffer: &mut Vec<u8>) -> Result<Filled, PcapError> {
        buffer.clear();
        let read = (&mut self.reader)
            .take(u64::from(bytes))
            .read_to_end(buffer)
            .map_err(|source| self.failed(source))?;
        Ok(match read {
            0 if bytes > 0 => Filled::Nothing,
            _ if read < bytes as usize => Filled::Part,
            _ => Filled::Whole,
        })
    }

    /// As [`Self::read`], in the middle of something.
    pub(super) fn read_rest(&mut self, bytes: u32, buffer: &mut Vec<u8>) -> Result<(), PcapError> {
        match self.read(bytes, buffer)? {
            Filled::Whole => Ok(()),
            _ => Err(self.truncated()),
        }
    }

    /// Reads a small header that begins a packet; `false` at the end of the file.
    pub(super) fn header<const N: usize>(
        &mut self,
        header: &mut [u8; N],
        buffer: &mut Vec<u8>,
    ) -> Result<bool, PcapError> {
        match self.read(N as u32, buffer)? {
            Filled::Nothing => Ok(false),
            Filled::Part => Err(self.truncated()),
            Filled::Whole => {
                header.copy_from_slice(buffer);
                Ok(true)
            }
        }
    }

    /// Passes over `bytes` without keeping them.
    pub(super) fn skip(&mut self, bytes: u32) -> Result<(), PcapError> {
        let mut rest = (&mut self.reader).take(u64::from(bytes));
        let skipped = io::copy(&mut rest, &mut io::sink()).map_err(|source| self.failed(source))?;
        if skipped < u64::from(bytes) {
            return Err(self.truncated());
        }
        Ok(())
    }

    pub(super) fn malformed(&self, what: &'static str) -> PcapError {
        PcapError::Malformed {
            packet: self.packet,
            what,
        }
    }

    fn truncated(&self) -> PcapError {
        PcapError::Truncated {
            packet: self.packet,
        }
    }

    fn failed(&self, source: io::Error) -> PcapError {
        PcapError::Read {
            packet: self.packet,
            source,
        }
    }
}

/// The byte order of the machine that wrote the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Big,
    Little,
}

impl Endian {
    /// The two bytes at `offset`; `None` where there are none.
    pub(super) fn u16(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let value = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Endian::Big => u16::from_be_bytes(value),
            Endian::Little => u16::from_le_bytes(value),
        })
    }

    pub(super) fn u32(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let value = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Endian::Big => u32::from_be_bytes(value),
            Endian::Little => u32::from_le_bytes(value),
        })
    }

    pub(super) fn u64(self, bytes: &[u8], offset: usize) -> Option<u64> {
        let value = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Endian::Big => u64::from_be_bytes(value),
            Endian::Little => u64::from_le_bytes(value),
        })
    }
}
