//! The pcapng format (draft-ietf-opsawg-pcapng): blocks with a type and a length. Sections begin with a header that sets
//! the byte order, interfaces are described before their packets.

use std::io::Read;
use std::ops::Range;

use super::source::{Endian, Source};
use super::{Frame, LinkType, PACKET_BYTES_MAX, PcapError};
use crate::protocol::TimeNs;

/// Block type of a section header; the same in both byte orders (section 4.1).
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete, but in old files.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length in front of a block's body and the length again behind it, bytes.
const BLOCK_FRAME_BYTES: u32 = 12;
/// A block that is looked at: a packet with its options (comments up to 64 KiB each), bytes.
const BLOCK_BYTES_MAX: u32 = 2 * PACKET_BYTES_MAX;
/// Interfaces in a section. `dumpcap -i` of every device of a host needs some hundred.
const INTERFACES_MAX: usize = 4096;

const OPTION_END: u16 = 0;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_IF_TSOFFSET: u16 = 14;

struct Interface {
    link: LinkType,
    snap_bytes: u32,
    clock: Clock,
}

/// What the time stamps of an interface mean.
struct Clock {
    /// The unit as the file has it (section 4.2, if_tsresol): 10^-n seconds, or 2^-n where the first bit is set.
    resolution: u8,
    offset_seconds: i64,
}

pub(super) struct Ng {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Time of the packet before: simple packets have none of their own.
    last_at: TimeNs,
}

impl Ng {
    /// The type of the first block, a section header, was read already.
    pub(super) fn open<R: Read>(
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, PcapError> {
        let mut ng = Ng {
            endian: Endian::Little,
            interfaces: Vec::new(),
            last_at: 0,
        };
        let mut length = [0; 4];
        if !source.header(&mut length, buffer)? {
            return Err(PcapError::NotACapture);
        }
        ng.section(length, source, buffer)?;
        Ok(ng)
    }

    pub(super) fn next_frame<R: Read>(
        &mut self,
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Frame>, PcapError> {
        let mut header = [0; 8];
        while source.header(&mut header, buffer)? {
            if header.starts_with(&SECTION_HEADER) {
                let [_, _, _, _, length @ ..] = header;
                self.section(length, source, buffer)?;
                continue;
            }
            let block_type = self.endian.u32(&header, 0).unwrap_or_default();
            let block_bytes = self.endian.u32(&header, 4).unwrap_or_default();
            match block_type {
                INTERFACE_DESCRIPTION => {
                    self.body(block_bytes, source, buffer)?;
                    self.interface(source, buffer)?;
                }
                PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                    self.body(block_bytes, source, buffer)?;
                    let frame = self.packet(block_type, buffer);
                    let frame = frame.ok_or_else(|| source.malformed("its block is malformed"))?;
                    source.packet += 1;
                    self.last_at = frame.at;
                    return Ok(Some(frame));
                }
                _ => {
                    check_length(block_bytes, source)?;
                    source.skip(block_bytes - 8)?;
                }
            }
        }
        Ok(None)
    }

    /// A section header behind its type; the byte order is only known from its first field.
    fn section<R: Read>(
        &mut self,
        length: [u8; 4],
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), PcapError> {
        source.read_rest(4, buffer)?;
        self.endian = match Endian::Big.u32(buffer, 0) {
            Some(BYTE_ORDER_MAGIC) => Endian::Big,
            Some(other) if other.swap_bytes() == BYTE_ORDER_MAGIC => Endian::Little,
            _ => return Err(source.malformed("a section begins without its magic number")),
        };
        let block_bytes = self.endian.u32(&length, 0).unwrap_or_default();
        // The magic number is part of the body.
        if block_bytes < BLOCK_FRAME_BYTES + 4 {
            return Err(source.malformed("a block is shorter than its header"));
        }
        check_length(block_bytes, source)?;
        source.skip(block_bytes - 12)?;
        self.interfaces.clear();
        Ok(())
    }

    /// Reads the rest of a block; `buffer` then has its body.
    fn body<R: Read>(
        &self,
        block_bytes: u32,
        source: &mut Source<R>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), PcapError> {
        check_length(block_bytes, source)?;
        if block_bytes > BLOCK_BYTES_MAX {
            return Err(source.malformed("its length is impossible"));
        }
        source.read_rest(block_bytes - 8, buffer)?;
        let body = buffer.len() - 4;
        if self.endian.u32(buffer, body) != Some(block_bytes) {
            return Err(source.malformed("the two lengths of its block differ"));
        }
        buffer.truncate(body);
        Ok(())
    }

    /// Interface Description Block (section 4.2).
    fn interface<R>(&mut self, source: &Source<R>, body: &[u8]) -> Result<(), PcapError>
    where
        R: Read,
    {
        let (Some(link_type), Some(snap_bytes)) =
            (self.endian.u16(body, 0), self.endian.u32(body, 4))
        else {
            return Err(source.malformed("an interface description is too short"));
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(source.malformed("there are more interfaces than any host has"));
        }
        self.interfaces.push(Interface {
            link: LinkType::new(u32::from(link_type)),
            snap_bytes,
            clock: self.clock(&body[8..]),
        });
        Ok(())
    }

    /// The options that say what time stamps mean. Malformed options end the list; the default is microseconds.
    fn clock(&self, mut options: &[u8]) -> Clock {
        let mut clock = Clock {
            resolution: 6,
            offset_seconds: 0,
        };
        while let (Some(code), Some(length)) =
            (self.endian.u16(options, 0), self.endian.u16(options, 2))
        {
            let padded = usize::from(length).next_multiple_of(4);
            let (Some(value), true) = (options.get(4..4 + usize::from(length)), code != OPTION_END)
            else {
                break;
            };
            match (code, value) {
                (OPTION_IF_TSRESOL, [resolution]) => clock.resolution = *resolution,
                (OPTION_IF_TSOFFSET, _) => {
                    clock.offset_seconds = self.endian.u64(value, 0).unwrap_or_default() as i64;
                }
                _ => {}
            }
            options = options.get(4 + padded..).unwrap_or_default();
        }
        clock
    }

    /// Enhanced Packet Block (section 4.3), Simple Packet Block (4.4), the obsolete Packet Block (appendix A).
    fn packet(&self, block_type: u32, body: &[u8]) -> Option<Frame> {
        let word = |offset| self.endian.u32(body, offset);
        if block_type == SIMPLE_PACKET {
            let interface = self.interfaces.first()?;
            let original_bytes = word(0)?;
            let snap_bytes = match interface.snap_bytes {
                0 => u32::MAX,
                limit => limit,
            };
            return Some(Frame {
                at: self.last_at,
                link: interface.link,
                range: range(body, 4, original_bytes.min(snap_bytes))?,
                original_bytes,
            });
        }
        let interface = match block_type {
            PACKET => u32::from(self.endian.u16(body, 0)?),
            _ => word(0)?,
        };
        let interface = self.interfaces.get(interface as usize)?;
        let units = u64::from(word(4)?) << 32 | u64::from(word(8)?);
        Some(Frame {
            at: interface.clock.nanoseconds(units),
            link: interface.link,
            range: range(body, 20, word(12)?)?,
            original_bytes: word(16)?,
        })
    }
}

impl Clock {
    fn nanoseconds(&self, units: u64) -> TimeNs {
        let units = i128::from(units);
        let exponent = u32::from(self.resolution & 0x7f);
        let ns = if self.resolution & 0x80 != 0 {
            (units * 1_000_000_000) >> exponent
        } else if exponent <= 9 {
            units * 10_i128.pow(9 - exponent)
        } else {
            // 10^38 is the last power that fits; a unit that small makes every time zero.
            10_i128
                .checked_pow(exponent - 9)
                .map_or(0, |divisor| units / divisor)
        };
        let ns = ns + i128::from(self.offset_seconds) * 1_000_000_000;
        ns.clamp(0, i128::from(u64::MAX)) as u64
    }
}

/// `bytes` from `start` on, if `body` has them.
fn range(body: &[u8], start: usize, bytes: u32) -> Option<Range<usize>> {
    let end = start.checked_add(bytes as usize)?;
    (end <= body.len() && bytes <= PACKET_BYTES_MAX).then_some(start..end)
}

fn check_length<R: Read>(block_bytes: u32, source: &Source<R>) -> Result<(), PcapError> {
    if block_bytes < BLOCK_FRAME_BYTES {
        return Err(source.malformed("a block is shorter than its header"));
    }
    if !block_bytes.is_multiple_of(4) {
        return Err(source.malformed("the length of a block is no multiple of four"));
    }
    Ok(())
}
