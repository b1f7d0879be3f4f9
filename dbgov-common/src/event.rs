//! Ring buffer records, kernel to agent. Each begins with a [`Header`].

use crate::conn::ConnectInfo;
use crate::limits::{RESPONSE_DATA_BYTES, RESPONSE_MARKS_MAX, RESPONSE_SHORT_DATA_BYTES};
use crate::task::TaskFacts;

/// Request payload: [`Header`] and `len` bytes.
pub const KIND_REQUEST: u8 = 1;
/// Request payload that came before its socket existed (the packet that completes the handshake carried data):
/// [`ListenerSegment`].
pub const KIND_LISTENER_REQUEST: u8 = 2;
/// Response messages, rows left out: [`Response`].
pub const KIND_RESPONSE: u8 = 3;
/// A server accepted a connection: [`Opened`].
pub const KIND_OPEN: u8 = 4;
/// First packet of a connection that is older than the programs: [`Opened`].
pub const KIND_SEEN: u8 = 5;
/// A FIN or RST passed: [`Header`].
pub const KIND_FIN: u8 = 6;
/// The server's socket is closed: [`Closed`].
pub const KIND_CLOSE: u8 = 7;
/// A client of this host established a connection to a governed port: [`ClientEstablished`].
pub const KIND_CLIENT: u8 = 8;
/// A process of this host called connect(2) towards a governed port (control ring): [`Connecting`].
pub const KIND_CONNECT: u8 = 9;
/// A process of this host called listen(2) (control ring): [`Listening`].
pub const KIND_LISTEN: u8 = 10;
/// The packet ring is to be read now: the gate holds a packet whose copy is there, or it fills: [`Header`] (control ring,
/// which wakes the agent).
pub const KIND_WAKE: u8 = 11;
/// The messages of a short response packet, of which one piece at the most was left out: [`ResponseShort`].
pub const KIND_RESPONSE_SHORT: u8 = 12;

/// KIND_FIN: which way it went.
pub const FLAG_FROM_SERVER: u8 = 1;
/// KIND_FIN: a RST, not a FIN.
pub const FLAG_RST: u8 = 2;
/// KIND_RESPONSE: the record's first byte is at a message boundary, found anew after the boundaries were lost.
pub const FLAG_RESYNC: u8 = 4;
/// KIND_RESPONSE: the record's first byte is at a message boundary.
pub const FLAG_BOUNDARY: u8 = 8;

/// KIND_RESPONSE: the ring had no room for what came before the record.
pub const FLAG_RING_FULL: u8 = 16;
/// KIND_REQUEST, KIND_FIN of the client: the gate did not let the packet pass.
pub const FLAG_HELD: u8 = 32;
/// KIND_REQUEST without payload: the agent's own, marked packet passed; `seq` to `seq_end` is what it carried.
pub const FLAG_RELEASED: u8 = 64;
/// KIND_REQUEST: others can still write to the packet's pages; what the server reads may differ.
pub const FLAG_SHARED: u8 = 128;

/// Begins every record.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Header {
    pub kind: u8,
    pub flags: u8,
    /// KIND_RESPONSE: marks in use. KIND_RESPONSE_SHORT: bytes of the data before what was left out.
    pub marks: u8,
    pub pad: u8,
    /// Payload bytes in this record.
    pub len: u32,
    /// Of the server's socket; of the client's in KIND_CLIENT and KIND_CONNECT.
    pub cookie: u64,
    /// bpf_ktime_get_boot_ns.
    pub time_boot_ns: u64,
    /// Sequence number of the first payload byte (KIND_RESPONSE and KIND_RESPONSE_SHORT: of the first byte the record
    /// accounts for).
    pub seq: u32,
    /// KIND_RESPONSE, KIND_RESPONSE_SHORT, and KIND_REQUEST with [`FLAG_RELEASED`]: sequence number after the last byte
    /// the record accounts for. With [`FLAG_HELD`]: the window field of the packet.
    pub seq_end: u32,
    /// Acknowledgement number of the packet: what the sender has of the other direction.
    pub ack: u32,
    /// With [`FLAG_RELEASED`]: everything before this sequence number has passed to TCP. With [`FLAG_HELD`]: TCP has
    /// everything before; it can have dropped what passed the gate behind that.
    /// KIND_RESPONSE_SHORT: the rows left out.
    pub passed: u32,
    /// Bytes of this direction of this connection lost so far.
    pub lost_bytes: u64,
}

/// The two ends of a connection as the socket sees them; IPv4 addresses in mapped form (`::ffff:a.b.c.d`).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub local_addr: [u8; 16],
    pub remote_addr: [u8; 16],
    pub local_port: u16,
    pub remote_port: u16,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub header: Header,
    pub tuple: Tuple,
    /// Zero where the kernel cannot tell.
    pub netns_cookie: u64,
    /// Sequence number of the first request byte, KIND_OPEN only.
    pub request_seq: u32,
    /// Sequence number of the first response byte, KIND_OPEN only.
    pub response_seq: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    pub header: Header,
    pub request_bytes: u64,
    pub request_lost_bytes: u64,
    pub response_bytes: u64,
    pub response_copied_bytes: u64,
    pub response_lost_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ClientEstablished {
    pub header: Header,
    pub tuple: Tuple,
    /// All zero where connect(2) was not seen.
    pub connect: ConnectInfo,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connecting {
    pub header: Header,
    pub connect: ConnectInfo,
    pub task: TaskFacts,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    pub header: Header,
    pub port: u32,
    pub pad: u32,
    pub netns_cookie: u64,
}

/// KIND_LISTENER_REQUEST; `header.len` payload bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ListenerSegment {
    pub header: Header,
    pub tuple: Tuple,
}

/// At `at` bytes into the data, `bytes` bytes in which `rows` DataRow or CopyData messages began were left out.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: u32,
    pub rows: u32,
    pub bytes: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Response {
    pub header: Header,
    pub marks: [Mark; RESPONSE_MARKS_MAX],
    pub data: [u8; RESPONSE_DATA_BYTES],
}

/// KIND_RESPONSE_SHORT: of the bytes from `header.seq` to `header.seq_end`, `header.len` cross; the others stood behind
/// the first `header.marks` bytes of the data.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ResponseShort {
    pub header: Header,
    pub data: [u8; RESPONSE_SHORT_DATA_BYTES],
}

const _: () = {
    assert!(size_of::<Header>() == 48);
    assert!(core::mem::offset_of!(Header, cookie) == 8);
    assert!(core::mem::offset_of!(Header, lost_bytes) == 40);
    assert!(size_of::<Tuple>() == 40);
    assert!(size_of::<Opened>() == 104);
    assert!(size_of::<Closed>() == 88);
    assert!(size_of::<ClientEstablished>() == 152);
    assert!(size_of::<Connecting>() == 2192);
    assert!(size_of::<Listening>() == 64);
    assert!(size_of::<ListenerSegment>() == 88);
    assert!(size_of::<Mark>() == 12);
    assert!(size_of::<ResponseShort>() == 176);
    assert!(size_of::<Response>() == 352);
    assert!(core::mem::offset_of!(Response, data) == 96);
};
