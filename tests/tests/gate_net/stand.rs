//! Two network namespaces, connections between them, and where their TCP stands.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Child;

use dbgov_agent::capture::netns::{self, NetNs};
use dbgov_agent::capture::proc;
use dbgov_agent::gate::inject::{Ends, Injector};
use dbgov_tests::netns::Netns;
use dbgov_tests::{process, wait_for};
use nix::sched::{CloneFlags, setns};

use crate::{MARK, PATIENCE};

/// A namespace of the client's, one of the server's, and a process that lives in the latter.
pub(crate) struct Stand {
    pub(crate) server: Netns,
    pub(crate) client: Netns,
    pub(crate) inhabitant: Child,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let (client, server) = Netns::pair().unwrap();
        let mut command = server.place().command("sleep");
        command.arg("600");
        let inhabitant = process::spawn(command).unwrap();
        let stand = Stand {
            server,
            client,
            inhabitant,
        };
        // `ip netns exec` enters the namespace only after it was started.
        let inode = stand.inside(&stand.server, || netns::own_inode().unwrap());
        wait_for("the namespace is inhabited", PATIENCE, || {
            let pid = stand.inhabitant.id();
            Ok((proc::netns_inode(pid).is_ok_and(|found| found == inode)).then_some(()))
        })
        .unwrap();
        stand
    }

    pub(crate) fn namespace(&self) -> NetNs {
        NetNs {
            inode: proc::netns_inode(self.inhabitant.id()).unwrap(),
            pid: self.inhabitant.id(),
        }
    }

    /// Sockets made by `work` belong to the namespace and can be used anywhere.
    pub(crate) fn inside<T: Send>(&self, netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", netns.name())).unwrap();
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }

    pub(crate) fn set(&self, netns: &Netns, arguments: &[&str]) {
        let mut command = netns.place().command(arguments[0]);
        command.args(&arguments[1..]);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    }

    pub(crate) fn injector(&self) -> Injector {
        Injector::open(Some(self.namespace()), MARK).unwrap()
    }

    /// From the client's namespace to the server's.
    pub(crate) fn connect(&self, bind: &str, to: IpAddr) -> Connection {
        self.connect_from(&self.client, bind, to)
    }

    pub(crate) fn connect_from(&self, from: &Netns, bind: &str, to: IpAddr) -> Connection {
        let listener = self.inside(&self.server, || TcpListener::bind(bind).unwrap());
        let to = SocketAddr::new(to, listener.local_addr().unwrap().port());
        let client = self.inside(from, || TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        let (server, _) = listener.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        let ends = Ends {
            client: server.peer_addr().unwrap(),
            server: server.local_addr().unwrap(),
        };
        Connection {
            client,
            server,
            ends,
        }
    }

    /// The ways a client reaches a server: over the network and over the loopback, IPv4, IPv6, and both by one socket.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let (ipv4, ipv6) = (self.server.ipv4.into(), self.server.ipv6.into());
        vec![
            self.connect("0.0.0.0:0", ipv4),
            self.connect("[::]:0", ipv6),
            // Dual stack: the addresses are IPv4-mapped.
            self.connect("[::]:0", ipv4),
            self.connect_from(&self.server, "127.0.0.1:0", [127, 0, 0, 1].into()),
            self.connect_from(&self.server, "[::1]:0", "::1".parse().unwrap()),
        ]
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.inhabitant, &[]);
    }
}

pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    pub(crate) ends: Ends,
}

impl Connection {
    pub(crate) fn cookie(&self) -> u64 {
        netns::socket_cookie(self.server.as_fd()).unwrap()
    }

    /// As the client would have sent it.
    pub(crate) fn inject(&self, injector: &mut Injector, payload: &[u8], resume: bool) {
        let client = numbers(&self.client);
        injector
            .to_server(
                self.ends,
                client.next,
                client.expected,
                512,
                payload,
                resume,
            )
            .unwrap();
    }

    pub(crate) fn served(&mut self, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        self.server.read_exact(&mut found).unwrap();
        assert_eq!(found, expected);
    }
}

/// Where a socket's TCP stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    /// Sequence number of the next byte it sends.
    pub(crate) next: u32,
    /// Of the next byte it takes.
    pub(crate) expected: u32,
}

/// By way of TCP_REPAIR, which needs root (linux/tcp.h).
pub(crate) fn numbers(stream: &TcpStream) -> Numbers {
    const RECEIVE_QUEUE: libc::c_int = 1;
    const SEND_QUEUE: libc::c_int = 2;
    /// Without a window probe.
    const OFF: libc::c_int = -1;
    let set = |option, value: libc::c_int| set_option(stream, libc::IPPROTO_TCP, option, value);
    let queue = |queue| {
        set(libc::TCP_REPAIR_QUEUE, queue);
        let (mut value, mut length) = (0u32, 4);
        // SAFETY: the descriptor is open; `value` has the 4 bytes that `length` says, both live for the whole call.
        let answer = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_QUEUE_SEQ,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        value
    };
    set(libc::TCP_REPAIR, 1);
    let found = Numbers {
        next: queue(SEND_QUEUE),
        expected: queue(RECEIVE_QUEUE),
    };
    set(libc::TCP_REPAIR, OFF);
    found
}

pub(crate) fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) {
    // SAFETY: the descriptor is open and `value` has the 4 bytes that are named.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Receive window of a socket, bytes (`struct tcp_repair_window`, linux/tcp.h).
pub(crate) fn window(stream: &TcpStream) -> usize {
    const TCP_REPAIR_WINDOW: libc::c_int = 29;
    let mut fields = [0u32; 5];
    let mut length = 20;
    set_option(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
    // SAFETY: the descriptor is open; `fields` has the 20 bytes that `length` says, both live for the whole call.
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_REPAIR_WINDOW,
            fields.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    set_option(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, -1);
    fields[3] as usize
}
