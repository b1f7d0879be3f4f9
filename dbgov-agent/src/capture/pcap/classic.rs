//! The pcap format (draft-ietf-opsawg-pcap): a file header, then packets, each behind a header of its own.

use std::io::Read;

use super::source::{Endian, Source};
use super::{Frame, LinkType, PACKET_BYTES_MAX, PcapError};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// File header behind the magic number, bytes (section 4).
const FILE_HEADER_REST_BYTES: u32 = 20;
/// Header of a packet, bytes (section 5).
const PACKET_HEADER_BYTES: usize = 16;

pub(super) struct Classic {
    endian: Endian,
    /// Nanoseconds in the unit of the time stamps' fraction.
    fraction_ns: u64,
    link: LinkType,
}

impl Classic {
    pub(super) fn open<R: Read>(
        magic: [u8; 4],
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, PcapError> {
        let (endian, fraction_ns) = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => (Endian::Big, 1000),
            0xd4c3_b2a1 => (Endian::Little, 1000),
            0xa1b2_3c4d => (Endian::Big, 1),
            0x4d3c_b2a1 => (Endian::Little, 1),
            _ if magic.starts_with(&GZIP) => return Err(PcapError::Compressed("gzip")),
            _ if magic == ZSTD => return Err(PcapError::Compressed("zstd")),
            _ => return Err(PcapError::NotACapture),
        };
        source.read_rest(FILE_HEADER_REST_BYTES, buffer)?;
        let network = endian.u32(buffer, 16).ok_or(PcapError::NotACapture)?;
        // The upper half has flags and the length of a frame check sequence.
        let link = LinkType::new(network & 0xffff);
        if let LinkType::Other(link_type) = link {
            return Err(PcapError::UnsupportedLinkType {
                packet: 1,
                link_type,
            });
        }
        Ok(Classic {
            endian,
            fraction_ns,
            link,
        })
    }

    pub(super) fn next_frame<R: Read>(
        &mut self,
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Frame>, PcapError> {
        let mut header = [0; PACKET_HEADER_BYTES];
        if !source.header(&mut header, buffer)? {
            return Ok(None);
        }
        let field = |offset| self.endian.u32(&header, offset).unwrap_or_default();
        let (seconds, fraction, captured_bytes) = (field(0), field(4), field(8));
        if captured_bytes > PACKET_BYTES_MAX {
            return Err(source.malformed("its length is impossible"));
        }
        source.read_rest(captured_bytes, buffer)?;
        source.packet += 1;
        Ok(Some(Frame {
            at: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns,
            link: self.link,
            range: 0..buffer.len(),
            original_bytes: field(12),
        }))
    }
}
