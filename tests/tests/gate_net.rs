//! The gate's hands: packets injected into established connections, resets, SOCK_DESTROY. Real sockets in two network
//! namespaces of the test's own; no agent and no kernel programs.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use dbgov_agent::capture::netns::{self, NetNs};
use dbgov_agent::capture::proc;
use dbgov_agent::gate::destroy::{Destroyed, destroy};
use dbgov_agent::gate::inject::{Ends, InjectError, Injector, Injectors};
use dbgov_agent::gate::refusal;
use dbgov_common::gate::MARK_RESUME;
use dbgov_tests::netns::Netns;
use dbgov_tests::{process, wait_for};
use nix::sched::{CloneFlags, setns};

const PATIENCE: Duration = Duration::from_secs(10);
/// Bit 0 is MARK_RESUME's.
const MARK: u32 = 0x6462_6700;

/// A namespace of the client's, one of the server's, and a process that lives in the latter.
struct Stand {
    server: Netns,
    client: Netns,
    inhabitant: Child,
}

impl Stand {
    fn new() -> Self {
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

    fn namespace(&self) -> NetNs {
        NetNs {
            inode: proc::netns_inode(self.inhabitant.id()).unwrap(),
            pid: self.inhabitant.id(),
        }
    }

    /// Sockets made by `work` belong to the namespace and can be used anywhere.
    fn inside<T: Send>(&self, netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
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

    fn set(&self, netns: &Netns, arguments: &[&str]) {
        let mut command = netns.place().command(arguments[0]);
        command.args(&arguments[1..]);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    }

    fn injector(&self) -> Injector {
        Injector::open(Some(self.namespace()), MARK).unwrap()
    }

    /// From the client's namespace to the server's.
    fn connect(&self, bind: &str, to: IpAddr) -> Connection {
        self.connect_from(&self.client, bind, to)
    }

    fn connect_from(&self, from: &Netns, bind: &str, to: IpAddr) -> Connection {
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
    fn connections(&self) -> Vec<Connection> {
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

struct Connection {
    client: TcpStream,
    server: TcpStream,
    ends: Ends,
}

impl Connection {
    fn cookie(&self) -> u64 {
        netns::socket_cookie(self.server.as_fd()).unwrap()
    }

    /// As the client would have sent it.
    fn inject(&self, injector: &mut Injector, payload: &[u8], resume: bool) {
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

    fn served(&mut self, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        self.server.read_exact(&mut found).unwrap();
        assert_eq!(found, expected);
    }
}

/// Where a socket's TCP stands.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    /// Sequence number of the next byte it sends.
    next: u32,
    /// Of the next byte it takes.
    expected: u32,
}

/// By way of TCP_REPAIR, which needs root (linux/tcp.h).
fn numbers(stream: &TcpStream) -> Numbers {
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

fn set_option(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
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

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn injected_bytes_are_read_and_the_clients_own_are_not_read_again() {
    let stand = Stand::new();
    // The strictest settings: a packet from outside that comes over the loopback has the wrong interface.
    for key in ["all", "default", "lo", "leg"] {
        stand.set(
            &stand.server,
            &["sysctl", "-qw", &format!("net.ipv4.conf.{key}.rp_filter=1")],
        );
    }
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        connection.inject(&mut injector, b"SELECT 1", true);
        connection.served(b"SELECT 1");
        // The client sends what the server has already, under the same numbers, and goes on.
        connection.client.write_all(b"SELECT 1").unwrap();
        connection.client.write_all(b"; SELECT 2").unwrap();
        connection.served(b"; SELECT 2");
        connection.server.write_all(b"two").unwrap();
        let mut answer = [0; 3];
        connection.client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"two");
    }
}

#[test]
fn what_was_injected_wins_over_what_the_client_sends_under_the_same_numbers() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    connection.inject(&mut injector, b"'dbgov: no-ddl'", true);
    connection.client.write_all(b"DROP TABLE t   ").unwrap();
    connection.client.write_all(b"!").unwrap();
    connection.served(b"'dbgov: no-ddl'!");
}

#[test]
fn long_payloads_are_cut_to_the_loopbacks_mtu() {
    const LENGTH: usize = 60_000;
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mtu in ["1280", "1500", "65536"] {
        // The injector is open already: it follows.
        stand.set(&stand.server, &["ip", "link", "set", "lo", "mtu", mtu]);
        for mut connection in stand.connections() {
            let payload = bytes(LENGTH);
            connection.inject(&mut injector, &payload, true);
            connection.served(&payload);
        }
    }
}

#[test]
fn a_held_end_of_the_stream_is_released() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        let at = numbers(&connection.client);
        injector
            .end_to_server(connection.ends, at.next, at.expected, 512, b"bye")
            .unwrap();
        let mut all = Vec::new();
        connection.server.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
    }
}

/// Marks of the TCP packets with payload that a raw socket sees arrive.
struct Marks(OwnedFd);

impl Marks {
    fn open(stand: &Stand) -> Self {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
        /// asm-generic/socket.h; Linux 5.19.
        const SO_RCVMARK: libc::c_int = 75;
        let socket = stand.inside(&stand.server, || {
            let protocol = SockProtocol::Tcp;
            socket(
                AddressFamily::Inet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK,
                protocol,
            )
            .unwrap()
        });
        set_option(&socket, libc::SOL_SOCKET, SO_RCVMARK, 1);
        Marks(socket)
    }

    fn take(&self) -> Vec<u32> {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};
        let mut marks = Vec::new();
        let mut packet = [0; 65_536];
        loop {
            let mut room = [std::io::IoSliceMut::new(&mut packet)];
            let mut control = nix::cmsg_space!(u32);
            let Ok(received) = recvmsg::<SockaddrIn>(
                self.0.as_raw_fd(),
                &mut room,
                Some(&mut control),
                MsgFlags::empty(),
            ) else {
                return marks;
            };
            let mark = received.cmsgs().unwrap().find_map(|message| match message {
                ControlMessageOwned::Unknown(unknown) => Some(u32::from_ne_bytes(
                    unknown.data_bytes[..4].try_into().unwrap(),
                )),
                _ => None,
            });
            // More than the headers.
            if received.bytes > 20 + usize::from(received.iovs().next().unwrap()[32] >> 4) * 4 {
                marks.push(mark.unwrap());
            }
        }
    }
}

#[test]
fn only_the_packet_that_ends_a_message_says_so() {
    let stand = Stand::new();
    stand.set(&stand.server, &["ip", "link", "set", "lo", "mtu", "1500"]);
    let mut injector = stand.injector();
    let marks = Marks::open(&stand);
    for resume in [true, false, true] {
        let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
        connection.inject(&mut injector, &bytes(4000), resume);
        connection.served(&bytes(4000));
        let last = if resume { MARK | MARK_RESUME } else { MARK };
        assert_eq!(marks.take(), [MARK, MARK, last]);
        // What the client sends by itself has no mark.
        connection.client.write_all(&bytes(4000)).unwrap();
        connection.client.write_all(b"!").unwrap();
        connection.served(b"!");
        assert!(marks.take().iter().all(|mark| *mark == 0));
    }
}

#[test]
fn both_ends_are_reset() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        let (client, server) = (numbers(&connection.client), numbers(&connection.server));
        // A number that is not the expected one does nothing: another connection cannot be hit by mistake.
        injector
            .rst_to_server(connection.ends, server.expected.wrapping_add(1))
            .unwrap();
        connection.client.write_all(b"still").unwrap();
        connection.served(b"still");
        injector
            .rst_to_server(connection.ends, server.expected.wrapping_add(5))
            .unwrap();
        let error = connection.server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        injector
            .rst_to_client(connection.ends, client.expected)
            .unwrap();
        let error = connection.client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// The whole of a `reset`: the client reads why, then the end; the server's socket ends without having read a byte of
/// the statement.
#[test]
fn a_client_is_told_why_and_both_ends_are_closed() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let message = refusal::fatal("no-destructive-ddl", Some("agents do not"), true);
    for mut connection in stand.connections() {
        let server = numbers(&connection.server);
        injector
            .to_client(
                connection.ends,
                server.next,
                server.expected,
                &message,
                true,
            )
            .unwrap();
        let destroyed = destroy(
            Some(stand.namespace()),
            connection.ends,
            connection.cookie(),
        );
        assert_eq!(destroyed.unwrap(), Destroyed::Destroyed);
        // Message and FIN.
        let after = server.next.wrapping_add(message.len() as u32 + 1);
        injector.rst_to_client(connection.ends, after).unwrap();

        let mut told = Vec::new();
        // The end is a FIN or a reset, as the packets come; what was said before is read in any case.
        let _ = connection.client.read_to_end(&mut told);
        assert_eq!(told, message);
        let error = connection.server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        wait_for("the client cannot send any more", PATIENCE, || {
            Ok(connection.client.write_all(b"x").is_err().then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn only_the_connection_that_is_meant_is_destroyed() {
    let stand = Stand::new();
    let namespace = stand.namespace();
    for mut connection in stand.connections() {
        let (ends, cookie) = (connection.ends, connection.cookie());
        let end = |cookie| destroy(Some(namespace), ends, cookie).unwrap();
        assert_eq!(end(cookie + 1), Destroyed::Gone);
        // Not in this namespace.
        assert_eq!(destroy(None, ends, cookie).unwrap(), Destroyed::Gone);
        connection.client.write_all(b"alive").unwrap();
        connection.served(b"alive");
        assert_eq!(end(cookie), Destroyed::Destroyed);
        assert!(connection.server.read(&mut [0]).is_err());
        assert!(
            connection.client.read(&mut [0]).is_err(),
            "the kernel tells it"
        );
        assert_eq!(end(cookie), Destroyed::Gone);
    }
}

#[test]
fn a_namespace_is_found_by_its_cookie_and_let_go() {
    let stand = Stand::new();
    let cookie = stand.inside(&stand.server, || netns::own_cookie().unwrap());
    let mut injectors = Injectors::new(MARK);
    assert_eq!(netns::find(cookie), Some(stand.namespace()));
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    let injector = injectors.get(cookie, netns::find).unwrap();
    connection.inject(injector, b"one", true);
    connection.served(b"one");
    // Open already: nobody is asked.
    injectors.get(cookie, |_| panic!("asked")).unwrap();
    // What is found for a cookie has to be what is there.
    let wrong = injectors.get(cookie + 1_000_000, |_| Some(stand.namespace()));
    assert!(matches!(wrong, Err(InjectError::NoNamespace)));
    assert!(matches!(
        injectors.get(cookie + 1_000_000, netns::find),
        Err(InjectError::NoNamespace)
    ));
    let own = netns::own_cookie().unwrap();
    injectors
        .get(own, |_| panic!("not asked for the own"))
        .unwrap();
    assert_eq!(injectors.len(), 2);
    injectors.retain(|alive| alive == own);
    assert_eq!(injectors.len(), 1);
    let _ = connection.client.shutdown(Shutdown::Both);
}

#[test]
fn what_cannot_be_sent_is_a_typed_error() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let ends = |client: &str, server: &str| Ends {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    };
    let mixed = ends("10.9.0.1:1", "[fd00::1]:2");
    assert!(matches!(
        injector.to_server(mixed, 0, 0, 0, b"x", true),
        Err(InjectError::Packet(_))
    ));
    // There is no route to it from here.
    let unreachable = ends("198.51.100.1:1", "10.9.0.1:2");
    assert!(matches!(
        injector.to_client(unreachable, 0, 0, b"x", false),
        Err(InjectError::Send(nix::errno::Errno::ENETUNREACH))
    ));
    let gone = NetNs {
        inode: 1,
        pid: std::process::id(),
    };
    assert!(matches!(
        Injector::open(Some(gone), MARK),
        Err(InjectError::Enter(_))
    ));
    let dead = stand.inside(&stand.server, || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
        Injector::open(None, MARK)
    });
    assert!(matches!(dead, Err(InjectError::Loopback(_))));
}

/// Reported, not asserted: how long a release takes.
#[test]
fn a_release_is_quick() {
    const ROUNDS: u32 = 2000;
    let stand = Stand::new();
    let mut injector = stand.injector();
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    let at = numbers(&connection.client);
    let started = std::time::Instant::now();
    for round in 0..ROUNDS {
        injector
            .to_server(
                connection.ends,
                at.next.wrapping_add(round * 8),
                at.expected,
                512,
                b"SELECT 1",
                true,
            )
            .unwrap();
        connection.served(b"SELECT 1");
    }
    println!(
        "release, delivery and read of 8 bytes: {:?}",
        started.elapsed() / ROUNDS
    );
}
