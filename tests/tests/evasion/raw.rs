//! A TCP client of our own at the far end of a TUN device, which sends what no client's kernel would.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use dbgov_tests::netns::Netns;
use dbgov_tests::{Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PATIENCE: Duration = Duration::from_secs(5);
const PACKET_BYTES_MAX: usize = 65536;
/// The numbers wrap around in the start-up packet or in the statement behind it.
const BEFORE_WRAP: u32 = 60;
/// Cases differ by less than this in where they wrap.
const SPREAD: u16 = 64;

/// The client's end of the device.
pub(crate) struct Tun {
    file: File,
}

/// `struct ifreq` (netdevice(7)): the name, then the flags.
type Request = [u8; 40];

nix::ioctl_write_ptr_bad!(tun_set_interface, libc::TUNSETIFF, Request);

impl Tun {
    /// A device in this namespace, with the server's address.
    pub(crate) fn new(netns: &Netns) -> Result<Tun> {
        let namespace = File::open(format!("/run/netns/{}", netns.name()))?;
        let file = std::thread::scope(|scope| {
            let opened = scope.spawn(move || -> Result<File> {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                let file = File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/net/tun")?;
                let mut request: Request = [0; 40];
                request[..4].copy_from_slice(b"tun0");
                let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
                request[16..18].copy_from_slice(&flags.to_ne_bytes());
                // SAFETY: the descriptor is open; `request` has the size of `struct ifreq` and outlives the call.
                unsafe { tun_set_interface(file.as_raw_fd(), &raw const request) }?;
                Ok(file)
            });
            opened.join().unwrap_or_else(|_| bail!("no device"))
        })?;
        for arguments in [
            &["addr", "add", "10.77.0.1/24", "dev", "tun0"][..],
            &["link", "set", "tun0", "up"],
        ] {
            let mut command = netns.place().command("ip");
            ensure!(
                command.args(arguments).status()?.success(),
                "ip {arguments:?}"
            );
        }
        Ok(Tun { file })
    }

    fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.file.write_all(packet)?;
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let milliseconds = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        if poll(&mut fds, PollTimeout::from(milliseconds))? == 0 {
            return Ok(None);
        }
        let mut packet = vec![0; PACKET_BYTES_MAX];
        match self.file.read(&mut packet) {
            Ok(length) => {
                packet.truncate(length);
                Ok(Some(packet))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// One segment; what is not said is as TCP would have it.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) urgent: u16,
    pub(crate) bad_checksum: bool,
    pub(crate) ttl: u8,
    /// So many ticks older than it is.
    pub(crate) older: u32,
    /// Acknowledges so many bytes that the server never sent.
    pub(crate) ahead: u32,
    /// Of no meaning (NOP), in bytes, a multiple of 4.
    pub(crate) ip_options: usize,
    pub(crate) tcp_options: usize,
}

impl Segment {
    pub(crate) fn new(seq: u32, payload: &[u8]) -> Segment {
        Segment {
            seq,
            flags: ACK | PSH,
            payload: payload.to_vec(),
            urgent: 0,
            bad_checksum: false,
            ttl: 64,
            older: 0,
            ahead: 0,
            ip_options: 0,
            tcp_options: 0,
        }
    }
}

/// One connection.
pub(crate) struct Peer<'a> {
    tun: &'a mut Tun,
    port: u16,
    server_port: u16,
    /// Of the next byte we send; cases move it on by themselves.
    pub(crate) next: u32,
    expected: u32,
    /// Ticks of our timestamps, and the server's last.
    ticks: u32,
    echo: u32,
    pub(crate) received: Vec<u8>,
    pub(crate) ended: bool,
}

impl<'a> Peer<'a> {
    /// Nothing was sent yet.
    pub(crate) fn new(tun: &'a mut Tun, port: u16, server_port: u16) -> Peer<'a> {
        Peer {
            tun,
            port,
            server_port,
            next: u32::MAX - BEFORE_WRAP - u32::from(port % SPREAD),
            expected: 0,
            ticks: 1_000_000,
            echo: 0,
            received: Vec::new(),
            ended: false,
        }
    }

    /// A SYN with this payload, until its answer is here.
    pub(crate) fn syn(&mut self, payload: &[u8]) -> Result<()> {
        self.send(&Segment {
            flags: SYN,
            ..Segment::new(self.next, payload)
        })?;
        self.next = self.next.wrapping_add(1);
        let deadline = Instant::now() + PATIENCE;
        while self.expected == 0 {
            ensure!(Instant::now() < deadline, "no answer to the SYN");
            self.poll(Duration::from_millis(50))?;
        }
        Ok(())
    }

    pub(crate) fn acknowledge(&mut self) -> Result<()> {
        let next = self.next;
        self.send(&Segment {
            flags: ACK,
            ..Segment::new(next, &[])
        })
    }

    /// The next bytes, as TCP would send them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.send(&Segment::new(self.next, bytes))?;
        self.next = self.next.wrapping_add(bytes.len() as u32);
        Ok(())
    }

    pub(crate) fn send(&mut self, segment: &Segment) -> Result<()> {
        self.ticks += 1;
        let packet = self.packet(segment);
        self.tun.send(&packet)
    }

    /// All of them, and again after a while, as a client would that gets no answer.
    pub(crate) fn again(&mut self, segments: &[Segment]) -> Result<()> {
        for _ in 0..3 {
            for segment in segments {
                self.send(segment)?;
            }
            self.wait(Duration::from_millis(100), |_| false)?;
        }
        Ok(())
    }

    /// The same in fragments whose payload has at most this many bytes, a multiple of 8.
    pub(crate) fn send_fragments(&mut self, segment: &Segment, bytes: usize) -> Result<()> {
        let packet = self.packet(segment);
        let (header, data) = packet.split_at(20);
        let count = data.len().div_ceil(bytes);
        for (index, piece) in data.chunks(bytes).enumerate().rev() {
            let more = if index + 1 < count { 0x2000 } else { 0 };
            let mut header = header.to_vec();
            header[2..4].copy_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
            header[4..6].copy_from_slice(&(self.ticks as u16).to_be_bytes());
            let place = more | (index * bytes / 8) as u16;
            header[6..8].copy_from_slice(&place.to_be_bytes());
            header[10..12].fill(0);
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            self.tun.send(&[&header, piece].concat())?;
        }
        Ok(())
    }

    fn packet(&self, segment: &Segment) -> Vec<u8> {
        let mut options = vec![1, 1, 8, 10];
        options.extend(self.ticks.wrapping_sub(segment.older).to_be_bytes());
        options.extend(self.echo.to_be_bytes());
        options.extend(vec![1; segment.tcp_options]);
        let mut tcp = Vec::new();
        tcp.extend(self.port.to_be_bytes());
        tcp.extend(self.server_port.to_be_bytes());
        tcp.extend(segment.seq.to_be_bytes());
        tcp.extend(self.expected.wrapping_add(segment.ahead).to_be_bytes());
        let words = (20 + options.len()) / 4;
        tcp.extend([(words as u8) << 4, segment.flags, 0x80, 0, 0, 0]);
        tcp.extend(segment.urgent.to_be_bytes());
        tcp.extend(options);
        tcp.extend(&segment.payload);
        let mut pseudo = [CLIENT.octets(), SERVER.octets()].concat();
        pseudo.extend([0, 6]);
        pseudo.extend((tcp.len() as u16).to_be_bytes());
        let mut sum = checksum(&[&pseudo[..], &tcp[..]].concat());
        if segment.bad_checksum {
            sum ^= 0x5555;
        }
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x40 | (5 + segment.ip_options / 4) as u8, 0];
        ip.extend(((20 + segment.ip_options + tcp.len()) as u16).to_be_bytes());
        ip.extend([0, 0, 0, 0, segment.ttl, 6, 0, 0]);
        ip.extend([CLIENT.octets(), SERVER.octets()].concat());
        ip.extend(vec![1; segment.ip_options]);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [ip, tcp].concat()
    }

    /// Takes what the server sends, for at most so long; false if nothing came.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Result<bool> {
        let Some(packet) = self.tun.receive(timeout)? else {
            return Ok(false);
        };
        if packet[0] >> 4 != 4 || packet[9] != 6 {
            return Ok(true);
        }
        let tcp = &packet[usize::from(packet[0] & 15) * 4..];
        if u16::from_be_bytes([tcp[2], tcp[3]]) != self.port {
            return Ok(true);
        }
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let (flags, payload) = (tcp[13], &tcp[usize::from(tcp[12] >> 4) * 4..]);
        self.take_timestamp(&tcp[20..usize::from(tcp[12] >> 4) * 4]);
        if flags & RST != 0 {
            self.ended = true;
        } else if flags & SYN != 0 {
            self.expected = seq.wrapping_add(1);
        } else if seq == self.expected {
            self.received.extend_from_slice(payload);
            self.expected = seq.wrapping_add(payload.len() as u32);
            if flags & FIN != 0 {
                self.expected = self.expected.wrapping_add(1);
                self.ended = true;
            }
        }
        if flags & RST == 0 && (!payload.is_empty() || flags & FIN != 0) {
            self.acknowledge()?;
        }
        Ok(true)
    }

    fn take_timestamp(&mut self, options: &[u8]) {
        let mut at = 0;
        while let Some(kind) = options.get(at) {
            match kind {
                0 => return,
                1 => at += 1,
                8 => {
                    if let Some([a, b, c, d]) = options.get(at + 2..at + 6) {
                        self.echo = u32::from_be_bytes([*a, *b, *c, *d]);
                    }
                    return;
                }
                _ => at += usize::from(options.get(at + 1).copied().unwrap_or(2).max(2)),
            }
        }
    }

    /// Until `done` says so of what was received, or the connection ends.
    pub(crate) fn wait(&mut self, timeout: Duration, done: impl Fn(&[u8]) -> bool) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        while !done(&self.received) {
            if self.ended || Instant::now() > deadline {
                return Ok(done(&self.received));
            }
            self.poll(Duration::from_millis(20))?;
        }
        Ok(true)
    }

    /// Start-up to the first ReadyForQuery.
    pub(crate) fn start(&mut self, startup: &[u8]) -> Result<()> {
        self.write(startup)?;
        if !self.wait(PATIENCE, is_ready)? {
            bail!("not ready: {:?}", String::from_utf8_lossy(&self.received));
        }
        self.received.clear();
        Ok(())
    }
}

impl Drop for Peer<'_> {
    /// The server is not left with half a connection.
    fn drop(&mut self) {
        let reset = Segment {
            flags: RST | ACK,
            ..Segment::new(self.next, &[])
        };
        let _ = self.send(&reset);
    }
}

/// ReadyForQuery stands at the end.
pub(crate) fn is_ready(received: &[u8]) -> bool {
    received.len() >= 6 && received[received.len() - 6..].starts_with(b"Z\0\0\0\x05")
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
