//! TCP segments from a capture file (pcap or pcapng), as tcpdump, dumpcap and Wireshark write them.
//!
//! The files come from anywhere, so every length in them is checked against what is there and against a limit before
//! memory is taken. The readers are our own: the `pcap-file` crate keeps all options of all interfaces of a pcapng file
//! in memory, leaves time stamps in the file's unit and refuses packets that were cut by the snap length.

mod classic;
mod frame;
mod ng;
mod source;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use crate::protocol::TimeNs;
use frame::Passed;
pub use frame::{LinkType, TcpFlags};
use source::{Filled, Source};

/// The longest packet that is read, bytes. IPv6 jumbograms as Linux makes them (BIG TCP) reach 512 KiB; more than this
/// is a damaged length.
pub const PACKET_BYTES_MAX: u32 = 1024 * 1024;

/// One TCP segment of a capture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcapPacket<'a> {
    /// Nanoseconds since the Unix epoch, by the clock of the capture.
    pub at: TimeNs,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: TcpFlags,
    pub payload: &'a [u8],
    /// Payload bytes behind `payload` that were on the wire but not captured (snap length).
    pub truncated_bytes: u32,
}

/// What is wrong with a capture file. Packets are counted from 1, as Wireshark shows them.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    #[error("this is neither a pcap nor a pcapng file; make one with `tcpdump -i any -w FILE tcp`")]
    NotACapture,
    #[error("this is a {0}-compressed file; unpack it first")]
    Compressed(&'static str),
    #[error(
        "packet {packet}: link type {link_type} is not supported; capture on an Ethernet, loopback, tunnel or \"any\" \
         interface"
    )]
    UnsupportedLinkType { packet: u64, link_type: u32 },
    #[error(
        "the file ends in the middle of packet {packet}; the packets before it were read. It was cut while it was \
         written or copied: take the whole file, or end the capture before copying it"
    )]
    Truncated { packet: u64 },
    #[error(
        "packet {packet}: {what}; the file is damaged from here on, the packets before it were read"
    )]
    Malformed { packet: u64, what: &'static str },
    #[error("packet {packet}: the file cannot be read")]
    Read {
        packet: u64,
        #[source]
        source: io::Error,
    },
    #[error("the file cannot be opened")]
    Open(#[source] io::Error),
}

/// What was read and what of it is no TCP segment that could be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PcapCounters {
    pub packets: u64,
    pub tcp_segments: u64,
    /// UDP, ARP, ...
    pub other_protocols: u64,
    /// Fragments of IP packets; they are not put together.
    pub fragments: u64,
    /// Headers that are cut, contradict themselves or are not known.
    pub unparsed: u64,
    /// Packets of a link type that is not known (a pcapng file can have several).
    pub unsupported_link: u64,
}

/// A packet as it lies in the file.
struct Frame {
    at: TimeNs,
    link: LinkType,
    /// Where in the buffer it is.
    range: Range<usize>,
    /// How long it was on the wire.
    original_bytes: u32,
}

enum Format {
    Classic(classic::Classic),
    Ng(ng::Ng),
}

/// A capture file, read packet by packet.
pub struct CaptureFile<R> {
    source: Source<R>,
    format: Format,
    /// The packet, or in pcapng the block, that is looked at.
    buffer: Vec<u8>,
    counters: PcapCounters,
    first_unsupported: Option<(u64, u32)>,
}

impl CaptureFile<BufReader<File>> {
    pub fn open(path: &Path) -> Result<Self, PcapError> {
        let file = File::open(path).map_err(PcapError::Open)?;
        CaptureFile::new(BufReader::new(file))
    }
}

impl<R: Read> CaptureFile<R> {
    /// `reader` should be buffered.
    pub fn new(reader: R) -> Result<Self, PcapError> {
        let mut source = Source::new(reader);
        let mut buffer = Vec::new();
        let filled = source.read(4, &mut buffer)?;
        let magic = match (filled, buffer.first_chunk()) {
            (Filled::Whole, Some(magic)) => *magic,
            _ => return Err(PcapError::NotACapture),
        };
        let format = if magic == ng::SECTION_HEADER {
            Format::Ng(ng::Ng::open(&mut source, &mut buffer)?)
        } else {
            Format::Classic(classic::Classic::open(magic, &mut source, &mut buffer)?)
        };
        Ok(CaptureFile {
            source,
            format,
            buffer,
            counters: PcapCounters::default(),
            first_unsupported: None,
        })
    }

    /// The next TCP segment; `None` at the end of the file. What is no TCP segment is counted and passed over. After an
    /// error nothing more can be read; what came before it is good.
    pub fn next_packet(&mut self) -> Result<Option<PcapPacket<'_>>, PcapError> {
        let (frame, segment) = loop {
            let Some(frame) = self.next_frame()? else {
                return self.at_end();
            };
            self.counters.packets += 1;
            let bytes = &self.buffer[frame.range.clone()];
            match frame::segment(frame.link, bytes, frame.original_bytes) {
                Ok(segment) => break (frame, segment),
                Err(passed) => self.count(passed),
            }
        };
        self.counters.tcp_segments += 1;
        let payload =
            frame.range.start + segment.payload.start..frame.range.start + segment.payload.end;
        Ok(Some(PcapPacket {
            at: frame.at,
            src: segment.src,
            dst: segment.dst,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            payload: &self.buffer[payload],
            truncated_bytes: segment.truncated_bytes,
        }))
    }

    pub fn counters(&self) -> PcapCounters {
        self.counters
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, PcapError> {
        match &mut self.format {
            Format::Classic(classic) => classic.next_frame(&mut self.source, &mut self.buffer),
            Format::Ng(ng) => ng.next_frame(&mut self.source, &mut self.buffer),
        }
    }

    fn count(&mut self, passed: Passed) {
        match passed {
            Passed::OtherProtocol => self.counters.other_protocols += 1,
            Passed::Fragment => self.counters.fragments += 1,
            Passed::Unparsed => self.counters.unparsed += 1,
            Passed::Link(link_type) => {
                self.counters.unsupported_link += 1;
                self.first_unsupported
                    .get_or_insert((self.counters.packets, link_type));
            }
        }
    }

    /// A file of which no packet could be looked at is an error, not an empty capture.
    fn at_end(&self) -> Result<Option<PcapPacket<'_>>, PcapError> {
        match self.first_unsupported {
            Some((packet, link_type))
                if self.counters.unsupported_link == self.counters.packets =>
            {
                Err(PcapError::UnsupportedLinkType { packet, link_type })
            }
            _ => Ok(None),
        }
    }
}
