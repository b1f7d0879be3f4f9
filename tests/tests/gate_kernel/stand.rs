//! The kernel half of the gate before a server that only reads.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dbgov_agent::capture::cgroup;
use dbgov_agent::capture::event::{self, Captured, Control, Held};
use dbgov_agent::capture::kernel::{Kernel, LoadOptions, Rings, gate_off};
use dbgov_common::gate::{
    AUTOMATON_HIT, AUTOMATON_START, AUTOMATON_STATES_MAX, Automaton, CLASS_TRIGGER, GateConfig,
    GateControl, GateState, MARK_RESUME,
};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{Result, bail, ensure, wait_for};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::segment::{ACK, FIN, Raw, Segment};

/// Bounds what must come; a dropped segment comes again only after a time-out that doubles each time.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough for a packet that passes to arrive.
pub(crate) const QUIET: Duration = Duration::from_millis(120);
pub(crate) const RING_BYTES: u32 = 1 << 20;

/// A bpffs of the test's own.
pub(crate) struct Bpffs {
    dir: Scratch,
}

impl Bpffs {
    pub(crate) fn new() -> Result<Bpffs> {
        let dir = Scratch::new("bpffs")?;
        mount(
            Some("bpf"),
            dir.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )?;
        Ok(Bpffs { dir })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("dbgov")
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = gate_off(&self.path());
        let _ = umount2(self.dir.path(), MntFlags::MNT_DETACH);
    }
}

pub(crate) fn boot_ns() -> u64 {
    dbgov_agent::clock::boot_ns()
}

pub(crate) fn load(bpffs: &Path, pin: bool) -> Result<(Kernel, Rings)> {
    let mounts = cgroup::mounts()?;
    let Some(root) = cgroup::cgroup2_mount(&mounts) else {
        bail!("no cgroup v2")
    };
    Ok(Kernel::load(&LoadOptions {
        cgroup_root: root.mount_point.clone(),
        packet_ring_bytes: RING_BYTES,
        debug: false,
        command_lines: true,
        bpffs: bpffs.to_owned(),
        pin,
    })?)
}

/// What of a connection came through the ring.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub(crate) cookie: u64,
    pub(crate) request_seq: u32,
    pub(crate) response_seq: u32,
    /// Payloads in the order of their records.
    pub(crate) requests: Vec<(u32, Vec<u8>, Option<Held>)>,
    pub(crate) released: Vec<(u32, u32)>,
    pub(crate) fins: Vec<(u32, Option<Held>)>,
    pub(crate) lost_bytes: u64,
}

pub(crate) struct Stand {
    pub(crate) kernel: Kernel,
    pub(crate) rings: Rings,
    pub(crate) mark: u32,
    pub(crate) listener: TcpListener,
    pub(crate) server: SocketAddr,
}

impl Stand {
    /// Enforcing, one automaton, `DROP` in any case, in slot 0; the agent beats.
    pub(crate) fn new(class: u8) -> Result<Stand> {
        Stand::at("127.0.0.1:0", class, Path::new("/nonexistent"), false)
    }

    pub(crate) fn at(address: &str, class: u8, bpffs: &Path, pin: bool) -> Result<Stand> {
        let (mut kernel, rings) = load(bpffs, pin)?;
        let listener = TcpListener::bind(address)?;
        let server = listener.local_addr()?;
        kernel.govern([server.port()])?;
        let mark = kernel.mark()?;
        kernel.load_automaton(0, &automaton("drop"))?;
        let mut stand = Stand {
            kernel,
            rings,
            mark,
            listener,
            server,
        };
        stand.kernel.beat(boot_ns())?;
        stand.configure(|config| config.class = class)?;
        Ok(stand)
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut GateConfig)) -> Result<()> {
        let mut config = GateConfig {
            heartbeat_timeout_ns: 60_000_000_000,
            mark: self.mark,
            class: CLASS_TRIGGER,
            enforcing: 1,
            ..GateConfig::default()
        };
        change(&mut config);
        Ok(self.kernel.set_gate_config(config)?)
    }

    pub(crate) fn connect(&mut self) -> Result<Conn> {
        let client = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        let (server, _) = self.listener.accept()?;
        server.set_read_timeout(Some(Duration::from_millis(5)))?;
        let mut conn = Conn {
            client_addr: client.local_addr()?,
            server_addr: self.server,
            client,
            server,
            seen: Seen::default(),
            read: Vec::new(),
        };
        let deadline = Instant::now() + TIMEOUT;
        while conn.seen.cookie == 0 {
            ensure!(Instant::now() < deadline, "the connection was not seen");
            self.drain(&mut conn)?;
        }
        Ok(conn)
    }

    /// Reads the ring for one connection.
    pub(crate) fn drain(&mut self, conn: &mut Conn) -> Result<()> {
        while let Some(item) = self.rings.packets.next() {
            conn.take(event::captured(&item)?);
        }
        Ok(())
    }

    /// Records of packets that are held, on the control ring.
    pub(crate) fn wakes(&mut self, cookie: u64) -> usize {
        let mut wakes = 0;
        while let Some(item) = self.rings.control.next() {
            wakes += usize::from(event::control(&item) == Ok(Control::Wake { cookie }));
        }
        wakes
    }

    pub(crate) fn state(&self, conn: &Conn) -> Result<GateState> {
        match self.kernel.gate_state(conn.seen.cookie) {
            Some(state) => Ok(state),
            None => bail!("the gate knows nothing of the connection"),
        }
    }

    pub(crate) fn control(&mut self, conn: &Conn, class: u8, generation: u32) -> Result<()> {
        let control = GateControl {
            class,
            generation,
            ..GateControl::default()
        };
        Ok(self.kernel.set_control(conn.seen.cookie, control)?)
    }

    /// The held record of `payload`, with the drains it takes to get it.
    pub(crate) fn wait_held(&mut self, conn: &mut Conn, payload: &[u8]) -> Result<(u32, Held)> {
        wait_for("a held record", TIMEOUT, || {
            self.drain(conn)?;
            let found = conn
                .seen
                .requests
                .iter()
                .find_map(|(seq, bytes, held)| (bytes == payload).then_some(*seq).zip(*held));
            Ok(found)
        })
    }

    /// Sends bytes as the agent does.
    pub(crate) fn release(
        &self,
        conn: &Conn,
        seq: u32,
        payload: &[u8],
        resume: bool,
    ) -> Result<()> {
        let mark = if resume {
            self.mark | MARK_RESUME
        } else {
            self.mark
        };
        conn.raw(mark)?.send(&conn.segment(seq, payload))
    }
}

/// One connection, both ends of it.
pub(crate) struct Conn {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    client_addr: SocketAddr,
    server_addr: SocketAddr,
    pub(crate) seen: Seen,
    read: Vec<u8>,
}

impl Conn {
    pub(crate) fn take(&mut self, captured: Captured<'_>) {
        let seen = &mut self.seen;
        match captured {
            Captured::Open {
                cookie,
                ends,
                request_seq,
                response_seq,
                ..
            } if ends.remote == self.client_addr => {
                seen.cookie = cookie;
                (seen.request_seq, seen.response_seq) = (request_seq, response_seq);
            }
            Captured::Request {
                cookie,
                seq,
                payload,
                held,
                lost_bytes,
                ..
            } if cookie == seen.cookie => {
                seen.requests.push((seq, payload.to_vec(), held));
                seen.lost_bytes = lost_bytes;
            }
            Captured::Released {
                cookie,
                seq,
                seq_end,
                ..
            } if cookie == seen.cookie => seen.released.push((seq, seq_end)),
            Captured::Fin {
                cookie,
                seq,
                held,
                direction: dbgov_agent::protocol::Direction::Request,
                ..
            } if cookie == seen.cookie => seen.fins.push((seq, held)),
            _ => {}
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.client.write_all(bytes)?)
    }

    /// What the server has read so far, after `QUIET`.
    pub(crate) fn received(&mut self) -> Result<Vec<u8>> {
        self.read_until(QUIET, usize::MAX)
    }

    /// Waits until the server has read as much as `expected` and compares.
    pub(crate) fn expect(&mut self, expected: &[u8]) -> Result<()> {
        let got = self.read_until(TIMEOUT, expected.len())?;
        ensure!(
            got == expected,
            "the server read {:?} instead of {:?}",
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(expected)
        );
        Ok(())
    }

    /// What the server has read, after `time` or as soon as there are `bytes` of it.
    pub(crate) fn read_until(&mut self, time: Duration, bytes: usize) -> Result<Vec<u8>> {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 65536];
        while Instant::now() < deadline && self.read.len() < bytes {
            match self.server.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.read.extend(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(self.read.clone())
    }

    pub(crate) fn segment<'a>(&self, seq: u32, payload: &'a [u8]) -> Segment<'a> {
        Segment {
            seq,
            ack: self.seen.response_seq,
            flags: ACK,
            urgent: 0,
            bad_checksum: false,
            payload,
        }
    }

    pub(crate) fn raw(&self, mark: u32) -> Result<Raw> {
        Raw::new(self.client_addr, self.server_addr, mark)
    }

    /// As the client, but not by its TCP.
    pub(crate) fn forge(&self, seq: u32, payload: &[u8]) -> Result<()> {
        self.raw(0)?.send(&self.segment(seq, payload))
    }

    pub(crate) fn fin(&self, seq: u32) -> Segment<'static> {
        Segment {
            flags: ACK | FIN,
            ..self.segment(seq, b"")
        }
    }
}

/// Hits once `word` has come, in any case, whatever is around it.
pub(crate) fn automaton(word: &str) -> Box<Automaton> {
    let word = word.as_bytes();
    let state = |matched: usize| match matched {
        0 => AUTOMATON_START,
        n if n == word.len() => AUTOMATON_HIT,
        n => n as u16 + 1,
    };
    let mut next = vec![AUTOMATON_HIT; AUTOMATON_STATES_MAX * 256];
    for matched in 0..word.len() {
        for byte in 0..=255u8 {
            let mut text = word[..matched].to_vec();
            text.push(byte.to_ascii_lowercase());
            let longest = (0..=text.len().min(word.len()))
                .rev()
                .find(|n| text.ends_with(&word[..*n]))
                .unwrap_or(0);
            next[usize::from(state(matched)) * 256 + usize::from(byte)] = state(longest);
        }
    }
    let next: Box<[u16; AUTOMATON_STATES_MAX * 256]> =
        next.into_boxed_slice().try_into().expect("its own length");
    // SAFETY: `Automaton` is `repr(C)` with this array as its only field.
    unsafe { Box::from_raw(Box::into_raw(next).cast()) }
}
