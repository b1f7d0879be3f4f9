//! Map values.

/// The response stream has not begun: a one-byte answer to SSLRequest or GSSENCRequest may come first.
pub const MODE_START: u8 = 0;
/// The kernel follows the message boundaries of the response stream.
pub const MODE_FRAMED: u8 = 1;
/// It does not know them (joined mid-stream, or lost them) and waits for a ReadyForQuery that ends a packet.
pub const MODE_UNSYNCED: u8 = 2;
/// Encrypted: nothing is copied any more.
pub const MODE_OPAQUE: u8 = 3;
/// Not a governed connection after all (the port is governed in another network namespace, or it is a client's).
pub const MODE_IGNORED: u8 = 4;

/// State of one governed connection, by the cookie of the server's socket. Only the kernel programs write it, but for
/// `mode`, which the agent sets to [`MODE_IGNORED`].
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct ConnState {
    /// Payload bytes that arrived, retransmissions included.
    pub request_bytes: u64,
    /// Payload bytes that were not copied, request side.
    pub request_lost_bytes: u64,
    /// Payload bytes sent, retransmissions left out.
    pub response_bytes: u64,
    /// Of them, what was copied to the agent.
    pub response_copied_bytes: u64,
    /// Payload bytes whose messages could not be followed, response side.
    pub response_lost_bytes: u64,
    /// Sequence number of the next response byte not yet looked at.
    pub response_seq: u32,
    /// Bytes of the current response message still to be copied.
    pub keep_left: u32,
    /// Bytes of the current response message still to be passed over.
    pub skip_left: u32,
    /// Offset in the packet of the next byte to look at; a further run (tail call) on the same packet goes on there.
    pub offset: u32,
    /// Offset at which the walk over this packet ends.
    pub end: u32,
    /// Scratch of one run: data bytes and marks in use in the record, and what was left out since the last mark.
    pub out: u32,
    pub marks: u32,
    pub elided_bytes: u32,
    pub elided_rows: u32,
    /// Messages that cross whole and lie next to each other, not yet copied: where they begin and how long they are.
    pub run_at: u32,
    pub run_len: u32,
    /// What of the packet stands in the run's window.
    pub window_at: u32,
    pub window_len: u32,
    /// A message header that was cut by a packet boundary; 5 bytes in use (8, so that a masked index is inside).
    pub header: [u8; 8],
    /// Bytes of it that have come.
    pub header_have: u8,
    pub mode: u8,
    /// Flags of the next record.
    pub flags: u8,
    /// The boundaries were found anew at least once.
    pub resynced: u8,
}

/// [`ConnectInfo`]: the control ring has a record of it, with more.
pub const CONNECT_TOLD: u32 = 1;
/// [`ConnectInfo::flags`]: there are cgroups below those that were looked at ([`crate::TAG_LEVELS_MAX`]); the nearest tag
/// may be theirs.
pub const CONNECT_TAG_DEEPER: u32 = 2;

/// Who called connect(2), kept until the connection is established.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct ConnectInfo {
    pub time_boot_ns: u64,
    pub cgroup_id: u64,
    pub netns_cookie: u64,
    /// Process (thread group) and thread, in the initial pid namespace.
    pub pid: u32,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    pub comm: [u8; 16],
    /// Id of the nearest tagged cgroup's tag; 0 where none is tagged.
    pub tag: u32,
    /// [`CONNECT_TOLD`], [`CONNECT_TAG_DEEPER`].
    pub flags: u32,
}

/// Counters of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct KernelCounters {
    pub request_packets: u64,
    pub request_bytes: u64,
    pub response_packets: u64,
    pub response_bytes: u64,
    pub response_copied_bytes: u64,
    /// Records the packet ring had no room for, and the payload bytes of them.
    pub ring_full: u64,
    pub ring_full_bytes: u64,
    /// Connect and listen events the control ring had no room for.
    pub control_ring_full: u64,
    /// Connections there was no table entry for.
    pub conns_full: u64,
    /// Packets of governed sockets with headers that could not be walked.
    pub unparsed_packets: u64,
    /// Request packets to whose pages others could still write.
    pub shared_packets: u64,
    /// Response streams whose message boundaries were lost.
    pub unframed: u64,
    /// Bytes of records of response messages, whether in use or not.
    pub response_record_bytes: u64,
    /// Packets the gate held, their copy in the ring.
    pub gate_held: u64,
    /// Marked packets it let pass.
    pub gate_released: u64,
    /// Packets it dropped without a copy: no room in the ring, or not to be looked at. TCP sends them again.
    pub gate_dropped: u64,
    /// ... because another program held the connection's lock for too long.
    pub gate_lock_missed: u64,
    /// Packets that would have been looked at and passed because the agent was down (`open`) ...
    pub gate_down_passed: u64,
    /// ... and that were held though it was down (`closed`).
    pub gate_down_held: u64,
}

const _: () = {
    assert!(size_of::<ConnState>() == 104);
    assert!(size_of::<ConnectInfo>() == 64);
    assert!(size_of::<KernelCounters>() == 152);
};

#[cfg(feature = "user")]
mod pod {
    use super::{ConnState, ConnectInfo, KernelCounters};

    // SAFETY: `repr(C)`, integers and arrays of them only, no padding (sizes asserted above), any bit pattern is valid.
    unsafe impl aya::Pod for ConnState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ConnectInfo {}
    // SAFETY: as above.
    unsafe impl aya::Pod for KernelCounters {}
}
