//! Sizes both sides must agree on, each with its unit and its reason.

/// Words of the port bitmap: one bit for each TCP port.
pub const PORT_BITMAP_WORDS: u32 = 65536 / 64;

/// Bytes of the ring buffer for packets. A power of two; the agent may choose another at load time.
/// At 20,000 statements a second (about 0.7 KiB each) this is a second of the agent not running.
pub const PACKET_RING_BYTES_DEFAULT: u32 = 16 << 20;

/// Bytes of the ring buffer for connect and listen events, which the agent reads at once: 900 connects of 2.2 KiB, with
/// what is read of the process. One that finds no room is told without that.
pub const CONTROL_RING_BYTES: u32 = 2 << 20;

/// Governed connections the kernel keeps state for. A connection beyond is counted and recorded as a gap.
pub const CONNS_MAX: u32 = 65_536;

/// Sockets between connect(2) and established; the oldest goes first.
pub const CONNECTS_MAX: u32 = 16_384;

/// Cgroups that can be tagged at once: some hundred runs of agents beside the tags of the configuration.
pub const TAGS_MAX: u32 = 8192;

/// Cgroups above a process that are looked at for a tag. Kubernetes nests five to eight deep.
pub const TAG_LEVELS_MAX: u32 = 32;

/// Payload bytes in one request record, by class: a packet takes the smallest that holds it, so that a short query
/// does not take 16 KiB of the ring. Powers of two, for the verifier's sake.
pub const REQUEST_CLASS_BYTES: [usize; 5] = [128, 256, 1024, 4096, 16384];

/// Records one packet may be cut into: 33 x 16 KiB covers a BIG TCP packet of 512 KiB (Linux 5.19 / 6.3).
pub const REQUEST_CHUNKS_MAX: u32 = 33;

/// Bytes of response messages in one record.
pub const RESPONSE_DATA_BYTES: usize = 256;

/// Bytes one copy into a response record moves at the most; half the record, so that a record that is less than half
/// full always has room.
pub const RESPONSE_COPY_BYTES: usize = RESPONSE_DATA_BYTES / 2;

/// Places in one response record at which bytes were left out.
pub const RESPONSE_MARKS_MAX: usize = 4;

/// Payload bytes of a packet that is read in one go: rows of a point query, its tag and ReadyForQuery are about 100.
/// As much as the stack of the programs has left.
pub const RESPONSE_SHORT_PACKET_BYTES: usize = 128;

/// Messages in it: the verifier follows the loop over them.
pub const RESPONSE_SHORT_MESSAGES_MAX: u32 = 6;

/// Bytes of messages in its record, half of it for those before what is left out: a tag and ReadyForQuery are about 20.
pub const RESPONSE_SHORT_DATA_BYTES: usize = 128;

/// Bytes of an ErrorResponse, ParameterStatus or ParameterDescription body that cross to the agent; the rest is elided.
pub const RESPONSE_BODY_BYTES_MAX: u32 = 2048;

/// Steps of one run over response messages (a message takes one to three). 64 KiB of the smallest DataRow (7 bytes)
/// take 19,000; BIG TCP packets eight times that. Only a bound: a run ends with the packet or when its record is full.
pub const RESPONSE_STEPS_MAX: u32 = 1 << 18;

/// The same where the kernel lacks bpf_loop (before 5.17) and the verifier follows every pass of the loop. The program
/// calls itself at most 33 times, so that a packet with more than about 1,000 messages loses its boundaries there.
pub const RESPONSE_STEPS_BOUNDED: u32 = 64;
